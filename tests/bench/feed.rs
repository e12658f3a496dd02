//! The server: sends prepared bytes, so that it costs as little as possible and the client is what is measured.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::prepared::Prepared;
use crate::row::{PACE, Row};

/// Streams with different events; connections take turns. More would only cost memory.
const DISTINCT: u64 = 4;
/// Connections that wait for their handshake.
const BACKLOG: usize = 4_096;
/// From the last READY to the first event.
const PAUSE: Duration = Duration::from_millis(400);

/// Serves one client after the other until the parent ends this process.
pub(crate) fn run(row: &Row) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let streams = u64::from(row.shards).min(DISTINCT);
    let prepared: Vec<_> = (0..streams).map(|seed| Arc::new(Prepared::new(row, seed + 1, port))).collect();
    let (raw, wire) = prepared[0].sizes();
    println!("{port} {raw} {wire}");
    let (accept, accepted) = sync_channel(BACKLOG);
    // Accepting at once: a full queue of the kernel would cost a client a second.
    thread::spawn(move || listener.incoming().flatten().try_for_each(|stream| accept.send(stream)));
    loop {
        serve(row, &prepared, &accepted)?;
    }
}

fn serve(row: &Row, prepared: &[Arc<Prepared>], accepted: &Receiver<TcpStream>) -> anyhow::Result<()> {
    let mut streams = Vec::new();
    for index in 0..row.shards as usize {
        let mut stream = accepted.recv().context("the listener ended")?;
        greet(&mut stream, &prepared[index % prepared.len()])?;
        streams.push(stream);
    }
    for (index, stream) in streams.iter_mut().enumerate() {
        read_frame(stream)?;
        stream.write_all(prepared[index % prepared.len()].ready())?;
    }
    thread::sleep(PAUSE);
    if row.paced {
        pace(row, prepared, &mut streams)?
    } else {
        streams = flood(prepared, streams)?
    }
    // The client closes, by ending.
    streams.iter_mut().for_each(|stream| while stream.read(&mut [0; 256]).is_ok_and(|count| count > 0) {});
    Ok(())
}

/// The WebSocket handshake, and HELLO right behind it.
fn greet(stream: &mut TcpStream, prepared: &Prepared) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut bytes = [0; 1_024];
        let count = stream.read(&mut bytes)?;
        if count == 0 {
            bail!("the client left during the handshake");
        }
        request.extend_from_slice(&bytes[..count]);
    }
    let request = String::from_utf8(request)?;
    let key = request
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
        .context("a handshake without a key")?
        .1;
    let accept = derive_accept_key(key.as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(&[answer.as_bytes(), prepared.hello()].concat())?;
    Ok(())
}

/// Reads one masked frame, the client's IDENTIFY.
fn read_frame(stream: &mut TcpStream) -> anyhow::Result<()> {
    let mut header = [0; 2];
    stream.read_exact(&mut header).context("waiting for IDENTIFY")?;
    let mut size = u64::from(header[1] & 0x7f);
    if size == 126 {
        stream.read_exact(&mut header)?;
        size = u64::from(u16::from_be_bytes(header));
    }
    let mut rest = Vec::new();
    stream.take(size + 4).read_to_end(&mut rest)?;
    Ok(())
}

/// Writes single events, evenly spaced, to shards in random order.
fn pace(row: &Row, prepared: &[Arc<Prepared>], streams: &mut [TcpStream]) -> anyhow::Result<()> {
    let mut order: Vec<usize> = (0..row.events() as usize).map(|at| at % streams.len()).collect();
    fastrand::Rng::with_seed(7).shuffle(&mut order);
    let mut sent = vec![0; streams.len()];
    let begin = Instant::now();
    for (at, index) in order.into_iter().enumerate() {
        let due = begin + Duration::from_nanos(1_000_000_000 / PACE * at as u64);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        streams[index].write_all(prepared[index % prepared.len()].event(sent[index]))?;
        sent[index] += 1;
    }
    Ok(())
}

/// Writes as fast as the sockets take.
fn flood(prepared: &[Arc<Prepared>], streams: Vec<TcpStream>) -> anyhow::Result<Vec<TcpStream>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let flooded: anyhow::Result<Vec<TcpStream>> = runtime.block_on(async {
        let mut tasks = Vec::new();
        for (index, stream) in streams.into_iter().enumerate() {
            let prepared = Arc::clone(&prepared[index % prepared.len()]);
            stream.set_nonblocking(true)?;
            let mut stream = tokio::net::TcpStream::from_std(stream)?;
            tasks.push(tokio::spawn(async move {
                stream.write_all(prepared.slice(prepared.events())).await?;
                stream.into_std()
            }));
        }
        let mut streams = Vec::new();
        for task in tasks {
            streams.push(task.await??);
        }
        Ok(streams)
    });
    let streams = flooded?;
    streams.iter().try_for_each(|stream| stream.set_nonblocking(false))?;
    Ok(streams)
}
