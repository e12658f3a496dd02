//! twilight-gateway, which nobody here wrote, against the sandbox: READY, events under zlib and zstd, resume, typed
//! decoding.

use std::collections::BTreeSet;
use std::error::Error;
use std::time::Duration;

use futures_util::StreamExt;
use pilothouse_sandbox::{FaultKind, Rate, Sandbox, SandboxConfig};
use tokio::time::timeout;
use twilight_gateway::error::{ReceiveMessageError, ReceiveMessageErrorType};
use twilight_gateway::{Event, EventTypeFlags, StreamExt as _};

const PATIENCE: Duration = Duration::from_secs(20);

async fn sandbox() -> Sandbox {
    let config = SandboxConfig { guilds: 20, rate: Rate::PerSecond(1000.0), ..SandboxConfig::default() };
    Sandbox::start(config).await.expect("the sandbox starts")
}

/// One version of twilight: its shard, and the test that it gets every event and resumes.
macro_rules! peer {
    ($compression:ident, $twilight:ident) => {
        mod $compression {
            use $twilight::{ConfigBuilder, Intents, Message, Shard, ShardId};

            use super::*;

            pub(super) fn shard(sandbox: &Sandbox) -> Shard {
                let config = ConfigBuilder::new("sandbox-token".to_owned(), Intents::all());
                Shard::with_config(ShardId::ONE, config.proxy_url(sandbox.gateway_url().to_owned()).build())
            }

            /// Hands every dispatch to the sandbox until `done`.
            async fn deliver(sandbox: &Sandbox, shard: &mut Shard, done: impl Fn() -> bool) {
                while !done() {
                    let Ok(next) = timeout(Duration::from_millis(50), shard.next()).await else { continue };
                    match next.expect("the shard goes on") {
                        Ok(Message::Text(text)) => sandbox.received(text.as_bytes()),
                        Ok(Message::Close(_)) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }

            #[tokio::test]
            async fn twilight_gets_every_event_and_resumes_after_op_7() {
                let sandbox = sandbox().await;
                let mut shard = shard(&sandbox);
                let enough = || sandbox.verdict().received >= 300;
                timeout(PATIENCE, deliver(&sandbox, &mut shard, enough)).await.expect("events come");
                sandbox.fault(FaultKind::Reconnect);
                let resumed = || sandbox.status().resumes == 1 && sandbox.verdict().received >= 600;
                timeout(PATIENCE, deliver(&sandbox, &mut shard, resumed)).await.expect("the session is resumed");
                sandbox.stop_traffic();
                let all = || sandbox.status().outstanding == 0;
                timeout(PATIENCE, deliver(&sandbox, &mut shard, all)).await.expect("all arrive");
                let (verdict, status) = (sandbox.verdict(), sandbox.status());
                assert!(verdict.clean(), "{verdict:?} {:?}", status.violations);
                assert_eq!((status.identifies, status.resumes, status.resumes_elsewhere), (1, 1, 0));
            }
        }
    };
}

peer!(zlib, twilight_gateway_zlib);
peer!(zstd, twilight_gateway);

/// Type and reason of a decoding error, without what differs by event.
fn explain(error: ReceiveMessageError) -> String {
    // twilight's `into_parts` gives no source away.
    let source = error.source().map(ToString::to_string).unwrap_or_default();
    let source = source.split(" at line").next().unwrap_or_default();
    match error.kind() {
        ReceiveMessageErrorType::Deserializing { event } => {
            let kind = event.split('"').nth(3).unwrap_or_default();
            format!("{kind}: {}", source)
        }
        other => format!("{other:?}: {source}"),
    }
}

#[tokio::test]
async fn every_event_decodes_into_twilights_types() {
    let sandbox = sandbox().await;
    let mut shard = zstd::shard(&sandbox);
    let (mut seen, mut failures) = (BTreeSet::new(), BTreeSet::new());
    let decode = async {
        for _ in 0..6000 {
            match shard.next_event(EventTypeFlags::all()).await.expect("the shard goes on") {
                Ok(Event::GatewayClose(frame)) => panic!("{frame:?}"),
                Ok(event) => drop(seen.insert(event.kind().name().unwrap_or("control").to_owned())),
                Err(error) => drop(failures.insert(explain(error))),
            }
        }
    };
    timeout(PATIENCE, decode).await.expect("events come");
    assert!(failures.is_empty(), "{failures:#?}");
    let sent: BTreeSet<String> = sandbox.verdict().by_type.into_keys().map(str::to_owned).collect();
    assert!(sent.is_subset(&seen), "sent {sent:?}, decoded {seen:?}");
}
