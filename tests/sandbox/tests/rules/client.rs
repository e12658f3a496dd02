//! A plain gateway client for the tests: tokio-tungstenite, no logic of its own.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use pilothouse_sandbox::{Sandbox, SandboxConfig, intents};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub(crate) seq: u64,
    pub(crate) session_id: String,
    pub(crate) resume_url: String,
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Code(u16),
    Lost,
}

impl Client {
    /// Connects and takes HELLO.
    pub(crate) async fn connect(url: &str, query: &str) -> Client {
        Client::connect_without_hello(url, query).await.greeted().await
    }

    /// Takes HELLO from a connection that is open.
    pub(crate) async fn over(socket: WebSocketStream<MaybeTlsStream<TcpStream>>) -> Client {
        Client { socket, seq: 0, session_id: String::new(), resume_url: String::new() }.greeted().await
    }

    async fn greeted(mut self) -> Client {
        let hello = self.next().await;
        assert_eq!(hello["op"], 10);
        self
    }

    pub(crate) async fn connect_without_hello(url: &str, query: &str) -> Client {
        let (socket, _) = connect_async(format!("{url}/?{query}")).await.expect("the sandbox accepts");
        Client { socket, seq: 0, session_id: String::new(), resume_url: String::new() }
    }

    /// Connects, identifies and takes READY.
    pub(crate) async fn ready(sandbox: &Sandbox, shard: u32, total: u32) -> Client {
        let mut client = Client::connect(sandbox.gateway_url(), "v=10&encoding=json").await;
        client.send(identify(shard, total, intents::ALL)).await;
        let ready = client.until("READY").await;
        assert_eq!(ready["d"]["shard"], json!([shard, total]));
        client
    }

    /// Resumes on a new connection at `seq`.
    pub(crate) async fn resumed(&self, query: &str, seq: u64) -> Client {
        let mut client = Client::connect(&self.resume_url, query).await;
        client.session_id.clone_from(&self.session_id);
        client.resume_url.clone_from(&self.resume_url);
        client.send(resume(&self.session_id, seq)).await;
        client
    }

    pub(crate) async fn send(&mut self, payload: Value) {
        self.send_text(payload.to_string()).await;
    }

    pub(crate) async fn send_text(&mut self, text: String) {
        self.socket.send(Message::text(text)).await.expect("the socket is open");
    }

    pub(crate) async fn close(mut self, code: u16) {
        let frame = tokio_tungstenite::tungstenite::protocol::CloseFrame { code: code.into(), reason: "".into() };
        let _ = self.socket.close(Some(frame)).await;
        while let Ok(Some(Ok(_))) = timeout(PATIENCE, self.socket.next()).await {}
    }

    /// The next payload, by which the sequence moves.
    pub(crate) async fn next(&mut self) -> Value {
        loop {
            let message = timeout(PATIENCE, self.socket.next()).await.expect("something comes in time");
            match message.expect("the stream goes on").expect("the stream is sound") {
                Message::Text(text) => return self.note(serde_json::from_str(&text).expect("payloads are JSON")),
                Message::Close(frame) => panic!("closed: {frame:?}"),
                _ => {}
            }
        }
    }

    fn note(&mut self, payload: Value) -> Value {
        if let Some(seq) = payload["s"].as_u64() {
            assert_eq!(seq, self.seq.max(seq - 1) + 1, "sequence numbers have no gaps");
            self.seq = seq;
        }
        if payload["t"] == "READY" {
            self.session_id = payload["d"]["session_id"].as_str().expect("READY has an id").to_owned();
            self.resume_url = payload["d"]["resume_gateway_url"].as_str().expect("READY has a URL").to_owned();
        }
        payload
    }

    /// Payloads until a dispatch of this type, which is returned.
    pub(crate) async fn until(&mut self, kind: &str) -> Value {
        loop {
            let payload = self.next().await;
            if payload["t"] == kind {
                return payload;
            }
        }
    }

    /// Payloads until this opcode, whose payload is returned.
    pub(crate) async fn until_op(&mut self, op: u64) -> Value {
        loop {
            let payload = self.next().await;
            if payload["op"] == op {
                return payload;
            }
        }
    }

    /// Whether nothing more comes for a while.
    pub(crate) async fn is_quiet(&mut self, time: Duration) -> bool {
        timeout(time, self.socket.next()).await.is_err()
    }

    /// Reads to the end.
    pub(crate) async fn end(&mut self) -> Ended {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("the end comes in time") {
                Some(Ok(Message::Close(Some(frame)))) => return Ended::Code(frame.code.into()),
                Some(Ok(_)) => {}
                Some(Err(Error::Protocol(_) | Error::Io(_))) | None => return Ended::Lost,
                Some(Err(error)) => panic!("{error}"),
            }
        }
    }
}

pub(crate) fn identify(shard: u32, total: u32, intents: u64) -> Value {
    let properties = json!({"os": "linux", "browser": "test", "device": "test"});
    let d =
        json!({"token": "Bot sandbox-token", "intents": intents, "properties": properties, "shard": [shard, total]});
    json!({"op": 2, "d": d})
}

pub(crate) fn resume(session_id: &str, seq: u64) -> Value {
    json!({"op": 6, "d": {"token": "Bot sandbox-token", "session_id": session_id, "seq": seq}})
}

/// A sandbox whose identify window does not slow tests down.
pub(crate) async fn sandbox(change: impl FnOnce(&mut SandboxConfig)) -> Sandbox {
    let mut config =
        SandboxConfig { guilds: 8, max_concurrency: 16, identify_window: Duration::ZERO, ..SandboxConfig::default() };
    change(&mut config);
    Sandbox::start(config).await.expect("the sandbox starts")
}

/// Waits for the status to become so: a client can see a close before the sandbox has put the session away.
pub(crate) async fn until(sandbox: &Sandbox, so: impl Fn(&pilothouse_sandbox::Status) -> bool) {
    let waiting = async {
        while !so(&sandbox.status()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("the status becomes so in time");
}

/// One HTTP request on a connection of its own; an error is a connection that was refused or cut.
pub(crate) async fn http(method: &str, url: &str, authorization: &str, body: &str) -> std::io::Result<(u16, String)> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (host, path) = url.trim_start_matches("http://").split_once('/').unwrap_or((&url["http://".len()..], ""));
    let mut stream = TcpStream::connect(host).await?;
    let len = body.len();
    let request = format!(
        "{method} /{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {authorization}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {len}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or(std::io::ErrorKind::InvalidData)?, body.to_owned()))
}
