//! The heartbeat of one connection: when to beat, whether the last beat was acknowledged, the round trip.

use std::time::{Duration, Instant};

/// Heartbeats from HELLO to the end of the connection.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    interval: Duration,
    next: Instant,
    /// When the beat that is not acknowledged yet was sent.
    pending: Option<Instant>,
    held: bool,
}

/// What a heartbeat timer asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Beat {
    /// Send op 1.
    Send,
    /// The last beat was never acknowledged: the connection is a zombie.
    Zombie,
}

impl Heartbeat {
    /// Starts at HELLO; the first beat comes after `interval × jitter`, jitter in 0..1 (Discord, "Sending Heartbeats").
    pub fn start(interval: Duration, jitter: f64, now: Instant) -> Self {
        Self { interval, next: now + interval.mul_f64(jitter), pending: None, held: false }
    }

    /// When the next beat is due.
    pub fn due(&self) -> Instant {
        self.next
    }

    /// The timer went off at `now`.
    pub fn beat(&mut self, now: Instant) -> Beat {
        if self.pending.is_some() && !self.held {
            return Beat::Zombie;
        }
        self.next = now + self.interval;
        self.pending = Some(now);
        Beat::Send
    }

    /// Discord asked for a beat: it is sent at once and counts as one that awaits its acknowledgement.
    pub fn requested(&mut self, now: Instant) {
        self.pending.get_or_insert(now);
    }

    /// Op 11 came; the round trip, where a beat was pending. Nothing else counts as an acknowledgement.
    pub fn acknowledged(&mut self, now: Instant) -> Option<Duration> {
        self.pending.take().map(|sent| now.saturating_duration_since(sent))
    }

    /// The agent stops or goes on reading its socket. While it does not read, acknowledgements lie unread, so none is
    /// missed; beats go on.
    pub fn held(&mut self, held: bool) {
        self.held = held;
        if !held {
            self.pending = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_beat_is_jittered_and_a_missing_ack_makes_a_zombie() {
        let start = Instant::now();
        let interval = Duration::from_secs(40);
        let mut heartbeat = Heartbeat::start(interval, 0.25, start);
        assert_eq!(heartbeat.due(), start + Duration::from_secs(10));
        assert_eq!(heartbeat.beat(heartbeat.due()), Beat::Send);
        assert_eq!(heartbeat.due(), start + Duration::from_secs(50));
        let ack = start + Duration::from_secs(11);
        assert_eq!(heartbeat.acknowledged(ack), Some(Duration::from_secs(1)));
        assert_eq!(heartbeat.acknowledged(ack), None);
        assert_eq!(heartbeat.beat(heartbeat.due()), Beat::Send);
        assert_eq!(heartbeat.beat(heartbeat.due()), Beat::Zombie);
    }

    #[test]
    fn acks_that_we_do_not_read_are_not_missed() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::start(Duration::from_secs(40), 0.0, start);
        heartbeat.beat(start);
        heartbeat.held(true);
        assert_eq!(heartbeat.beat(heartbeat.due()), Beat::Send);
        assert_eq!(heartbeat.beat(heartbeat.due()), Beat::Send);
        heartbeat.held(false);
        assert_eq!(heartbeat.beat(heartbeat.due()), Beat::Send);
        assert_eq!(heartbeat.beat(heartbeat.due()), Beat::Zombie);
    }
}
