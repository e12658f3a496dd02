//! zlib-stream and zstd-stream: one context a connection, one flushed message a frame, a new context for a resume.

use flate2::{Decompress, FlushDecompress};
use futures_util::{SinkExt, StreamExt};
use pilothouse_sandbox::{GuildSize, Rate, intents};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use zstd_safe::{DCtx, InBuffer, OutBuffer};

use crate::client::{identify, resume, sandbox};

const MAX_MESSAGE: usize = 1 << 20;

enum Decoder {
    Zlib(Decompress),
    Zstd(DCtx<'static>),
}

impl Decoder {
    fn new(scheme: &str) -> Self {
        if scheme == "zlib-stream" { Self::Zlib(Decompress::new(true)) } else { Self::Zstd(DCtx::create()) }
    }

    fn decode(&mut self, packed: &[u8]) -> Value {
        let mut plain = Vec::with_capacity(MAX_MESSAGE);
        match self {
            Self::Zlib(context) => {
                assert!(packed.ends_with(&[0, 0, 0xFF, 0xFF]), "a message ends with a flush");
                context.decompress_vec(packed, &mut plain, FlushDecompress::Sync).expect("the stream is sound");
            }
            Self::Zstd(context) => {
                let mut input = InBuffer::around(packed);
                while input.pos() < packed.len() {
                    let end = plain.len();
                    let mut output = OutBuffer::around_pos(&mut plain, end);
                    context.decompress_stream(&mut output, &mut input).expect("the stream is sound");
                }
            }
        }
        serde_json::from_slice(&plain).expect("a message is one payload")
    }
}

struct Packed {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    decoder: Decoder,
}

impl Packed {
    async fn connect(url: &str, scheme: &str) -> Self {
        let (socket, _) =
            connect_async(format!("{url}/?v=10&encoding=json&compress={scheme}")).await.expect("accepted");
        Self { socket, decoder: Decoder::new(scheme) }
    }

    async fn send(&mut self, payload: Value) {
        self.socket.send(Message::text(payload.to_string())).await.expect("the socket is open");
    }

    async fn next(&mut self) -> Value {
        match self.socket.next().await.expect("the stream goes on").expect("the stream is sound") {
            Message::Binary(packed) => self.decoder.decode(&packed),
            other => panic!("not a compressed message: {other:?}"),
        }
    }

    /// Dispatches until one of `seq`; their numbers have no gap.
    async fn read_to(&mut self, mut from: u64, seq: u64) -> Value {
        loop {
            let payload = self.next().await;
            if let Some(s) = payload["s"].as_u64() {
                assert_eq!(s, from + 1);
                from = s;
            }
            if from >= seq {
                return payload;
            }
        }
    }
}

async fn stream_and_resume(scheme: &str) {
    let sandbox = sandbox(|config| {
        config.rate = Rate::PerSecond(5000.0);
        config.guild_size = GuildSize { big_every: 3, ..GuildSize::default() };
    })
    .await;
    let mut packed = Packed::connect(sandbox.gateway_url(), scheme).await;
    packed.send(identify(0, 1, intents::ALL)).await;
    let ready = packed.read_to(0, 1).await;
    packed.read_to(1, 3000).await;
    let mut resumed = Packed::connect(sandbox.resume_url(), scheme).await;
    resumed.send(resume(ready["d"]["session_id"].as_str().expect("READY names its session"), 2500)).await;
    resumed.read_to(2500, 5000).await;
    assert_eq!(sandbox.status().resumes, 1);
}

#[tokio::test]
async fn zlib_stream_carries_thousands_of_events_and_a_resume() {
    stream_and_resume("zlib-stream").await;
}

#[tokio::test]
async fn zstd_stream_carries_thousands_of_events_and_a_resume() {
    stream_and_resume("zstd-stream").await;
}
