//! The sinks' ways to real message brokers: nothing is lost when they are killed, full, closed or wrongly set up. And the
//! consumers of `assets/consumers/`, fed by the real thing.

mod amqp;
mod consumers;
mod contract;
mod delivery;
mod feed;
mod nats;
mod secure;
