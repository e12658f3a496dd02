//! twilight-gateway's raw mode: every message is taken from the stream and counted, none is parsed.

use std::cell::RefCell;
use std::rc::Rc;

use futures_util::StreamExt;
use tokio::sync::oneshot;
use tokio::task::spawn_local;
use twilight_gateway::queue::Queue;
use twilight_gateway::{ConfigBuilder, Intents, Message, Shard, ShardId};

use crate::meter::Meter;
use crate::row::{Packing, Row};

/// A queue that lets everyone identify at once.
struct Open;

impl Queue for Open {
    fn enqueue(&self, _: u32) -> oneshot::Receiver<()> {
        let (turn, taken) = oneshot::channel();
        // A shard that is gone needs no turn.
        let _ = turn.send(());
        taken
    }
}

/// Its compression is chosen when it is compiled, and this workspace compiles it with zstd; text passes in any case.
pub(crate) fn can(packing: Packing) -> bool {
    packing != Packing::Zlib
}

/// HELLO and READY of every shard are messages, too.
pub(crate) fn extra(row: &Row) -> u64 {
    2 * u64::from(row.shards)
}

/// Connects every shard and reads for as long as the process lives.
pub(crate) fn start(row: Row, port: u16, meter: Meter) {
    let meter = Rc::new(RefCell::new(meter));
    for number in 0..row.shards {
        let config = ConfigBuilder::new("bench".to_owned(), Intents::GUILDS)
            .proxy_url(format!("ws://127.0.0.1:{port}"))
            .queue(Open)
            .build();
        spawn_local(shard(Shard::with_config(ShardId::new(number, row.shards), config), Rc::clone(&meter)));
    }
}

async fn shard(mut shard: Shard<Open>, meter: Rc<RefCell<Meter>>) {
    while let Some(message) = shard.next().await {
        match message {
            Ok(Message::Text(_)) => meter.borrow_mut().add(1),
            other => return eprintln!("twilight: {other:?}"),
        }
    }
}
