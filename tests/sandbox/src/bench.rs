//! How fast the sandbox sends: floods readers that drop every byte, and counts. It prints; nothing is asserted.

use std::fmt;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::{Compression, Rate, Sandbox, SandboxConfig};

/// Events and bytes of one measurement.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    compression: Compression,
    shards: u32,
    events: u64,
    bytes: u64,
    elapsed: Duration,
}

impl Figures {
    /// Events a second.
    pub fn events_per_second(&self) -> f64 {
        self.events as f64 / self.elapsed.as_secs_f64()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = self.bytes as f64 / 1e6 / self.elapsed.as_secs_f64();
        let rate = self.events_per_second();
        write!(f, "{:?}, {} shards: {rate:.0} events/s, {megabytes:.0} MB/s on the wire", self.compression, self.shards)
    }
}

/// Floods `shards` connections for `time`.
///
/// # Errors
/// The sandbox does not start or a reader cannot connect.
pub async fn flood(compression: Compression, shards: u32, time: Duration) -> anyhow::Result<Figures> {
    let sandbox = Sandbox::start(SandboxConfig {
        guilds: shards * 100,
        shards,
        max_concurrency: shards,
        replay_bound: 256,
        ..SandboxConfig::default()
    })
    .await?;
    let readers: Vec<_> = (0..shards)
        .map(|shard| connect(sandbox.gateway_url(), compression, shard, shards))
        .collect::<Result<_, _>>()?;
    let readers: Vec<_> = readers.into_iter().map(|stream| std::thread::spawn(move || drain(stream))).collect();
    anyhow::ensure!(sandbox.connected(shards as usize, Duration::from_secs(5)).await, "readers were not accepted");
    let (before, started) = (sandbox.verdict().sent, Instant::now());
    sandbox.set_rate(Rate::Flood);
    tokio::time::sleep(time).await;
    let (events, elapsed) = (sandbox.verdict().sent - before, started.elapsed());
    sandbox.stop();
    let bytes = readers.into_iter().filter_map(|reader| reader.join().ok()).sum();
    Ok(Figures { compression, shards, events, bytes, elapsed })
}

/// A client without a WebSocket library: the upgrade and one masked identify.
fn connect(url: &str, compression: Compression, shard: u32, total: u32) -> anyhow::Result<TcpStream> {
    let host = url.strip_prefix("ws://").context("a ws:// URL")?;
    let compress = match compression {
        Compression::None => "",
        Compression::ZlibStream => "&compress=zlib-stream",
        Compression::ZstdStream => "&compress=zstd-stream",
    };
    let mut stream = TcpStream::connect(host)?;
    write!(
        stream,
        "GET /?v=10&encoding=json{compress} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )?;
    let identify = format!(
        r#"{{"op":2,"d":{{"token":"Bot sandbox-token","intents":53608447,"properties":{{}},"shard":[{shard},{total}]}}}}"#
    );
    let len = u16::try_from(identify.len())?.to_be_bytes();
    // A mask of zeroes leaves the payload as it is.
    stream.write_all(&[&[0x81, 0xFE, len[0], len[1], 0, 0, 0, 0], identify.as_bytes()].concat())?;
    Ok(stream)
}

fn drain(mut stream: TcpStream) -> u64 {
    let mut buffer = vec![0; 256 * 1024];
    let mut bytes = 0;
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        bytes += read as u64;
    }
    bytes
}
