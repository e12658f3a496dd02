//! The bot endpoint: takes `{"payload":{op,t,s,d},"shardId":n}` by POST into the ledger, and behaves as badly as told.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::fault::BotMode;
use crate::gateway::open_door;
use crate::http::{self, Request};
use crate::hub::Hub;

/// Serves the endpoint for ever, on the same port whenever it is up.
pub(crate) async fn serve(hub: Arc<Hub>, authorization: Option<String>, listener: TcpListener) {
    let port = listener.local_addr().map_or(0, |address| address.port());
    let authorization: Option<Arc<str>> = authorization.map(Into::into);
    let mut mode = hub.bot.subscribe();
    let mut listener = Some(listener);
    loop {
        if *mode.borrow_and_update() == BotMode::Down {
            listener = None;
            let _ = mode.changed().await;
            continue;
        }
        if listener.is_none() {
            listener = open_door(port).ok();
        }
        let Some(open) = &listener else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        tokio::select! {
            accepted = open.accept() => if let Ok((stream, _)) = accepted {
                tokio::spawn(converse(Arc::clone(&hub), authorization.clone(), stream));
            },
            _ = mode.changed() => {}
        }
    }
}

/// One kept-alive connection; it is cut when the bot goes down.
async fn converse(hub: Arc<Hub>, authorization: Option<Arc<str>>, mut stream: TcpStream) {
    let mut mode = hub.bot.subscribe();
    let mut buffer = Vec::with_capacity(16 * 1024);
    let _ = stream.set_nodelay(true);
    loop {
        let down = mode.wait_for(|mode| *mode == BotMode::Down);
        let request = tokio::select! {
            request = next_request(&mut stream, &mut buffer) => request,
            _ = down => return,
        };
        let Some(request) = request else { return };
        let authorized =
            authorization.as_deref().is_none_or(|expected| request.authorization.as_deref() == Some(expected));
        let current = *mode.borrow();
        let answer = if authorized { answer(&hub, current, &request, &buffer).await } else { Some(status(401, None)) };
        let Some(answer) = answer else { return };
        buffer.drain(..request.len);
        if stream.write_all(answer.as_bytes()).await.is_err() || request.close {
            return;
        }
    }
}

async fn next_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Request> {
    loop {
        if let Some(request) = http::parse(buffer).ok()? {
            return Some(request);
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

/// The response, or none to cut the connection.
async fn answer(hub: &Hub, mode: BotMode, request: &Request, buffer: &[u8]) -> Option<String> {
    match mode {
        BotMode::Up => {
            take(hub, request, buffer);
            Some(status(204, None))
        }
        BotMode::Slow { ms } => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            take(hub, request, buffer);
            Some(status(204, None))
        }
        BotMode::Status { status: code, retry_after } => Some(status(code, retry_after)),
        BotMode::TakeAndCut => {
            take(hub, request, buffer);
            None
        }
        BotMode::Hang => {
            let mut mode = hub.bot.subscribe();
            let _ = mode.wait_for(|mode| *mode != BotMode::Hang).await;
            None
        }
        BotMode::Down => None,
    }
}

fn take(hub: &Hub, request: &Request, buffer: &[u8]) {
    let body = request.body.bytes(buffer);
    if request.lines {
        body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).for_each(|line| hub.received(line));
    } else {
        hub.received(body);
    }
}

fn status(code: u16, retry_after: Option<u32>) -> String {
    let retry_after = retry_after.map(|seconds| format!("Retry-After: {seconds}\r\n")).unwrap_or_default();
    // 204 must not have a length (RFC 9110, 8.6).
    let length = if code == 204 { "" } else { "Content-Length: 0\r\n" };
    format!("HTTP/1.1 {code} Sandbox\r\n{retry_after}{length}\r\n")
}
