//! Deliveries as a sink's queue would hand them to a transport: a guild's one after the other, guilds side by side,
//! each until it is taken.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;
use pilothouse_agent::gateway::kind::EventKind;
use pilothouse_agent::pipeline::Origin;
use pilothouse_agent::sinks::delivery::{Delivery, Outcome, Transport};
use pilothouse_shared::ids::GuildId;
use tokio::time::timeout;

/// The shard of every delivery here.
pub(crate) const SHARD: u32 = 7;

/// `events` events for each of `guilds` guilds, the first guild being none.
pub(crate) fn deliveries(guilds: u64, events: u64) -> Vec<Vec<Delivery>> {
    let origin = Rc::new(Origin { generation: 1, shard: SHARD, session: "5e551017".into() });
    let of_guild = |guild: u64| (0..events).map(|n| delivery(&origin, guild, 1 + guild + n * guilds, "hi")).collect();
    (0..guilds).map(of_guild).collect()
}

/// One delivery alone.
pub(crate) fn single(seq: u64, content: &str) -> Delivery {
    let origin = Rc::new(Origin { generation: 1, shard: SHARD, session: "51291e".into() });
    delivery(&origin, 1, seq, content)
}

fn delivery(origin: &Rc<Origin>, guild: u64, seq: u64, content: &str) -> Delivery {
    let of = if guild == 0 { String::new() } else { format!("\"guild_id\":\"{guild}\",") };
    let payload = format!("{{\"t\":\"MESSAGE_CREATE\",\"s\":{seq},\"op\":0,\"d\":{{{of}\"content\":\"{content}\"}}}}");
    Delivery {
        origin: Rc::clone(origin),
        stream: SHARD,
        seq,
        part: 0,
        kind: EventKind::of(b"MESSAGE_CREATE"),
        guild: (guild > 0).then_some(GuildId(guild)),
        received_ms: 1_700_000_000_123 + seq,
        payload: payload.into(),
    }
}

/// The body that every transport gives for a delivery.
pub(crate) fn body(delivery: &Delivery) -> String {
    let payload = std::str::from_utf8(&delivery.payload).expect("JSON is UTF-8");
    format!("{{\"payload\":{payload},\"shardId\":{SHARD}}}")
}

/// Longest wait for everything to be taken.
const PATIENCE: Duration = Duration::from_secs(60);

/// Delivers everything, repeating what fails; the reasons of the failures.
pub(crate) async fn deliver_all(transport: &impl Transport, guilds: &[Vec<Delivery>]) -> BTreeSet<String> {
    let reasons = RefCell::new(BTreeSet::new());
    let one_guild = async |deliveries: &Vec<Delivery>| {
        for delivery in deliveries {
            while let Some(reason) = attempt(transport, delivery).await {
                reasons.borrow_mut().insert(reason);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    };
    let all = join_all(guilds.iter().map(one_guild));
    assert!(timeout(PATIENCE, all).await.is_ok(), "not everything is taken in {PATIENCE:?}: {:?}", reasons.borrow());
    reasons.into_inner()
}

/// Attempts once; why it failed.
pub(crate) async fn attempt(transport: &impl Transport, delivery: &Delivery) -> Option<String> {
    match transport.deliver(std::slice::from_ref(delivery)).await {
        Outcome::Accepted => None,
        Outcome::Failed { reason, .. } => Some(reason),
        Outcome::Refused(reason) => panic!("refused for good: {reason}"),
    }
}

/// What a consumer got: id and body, in order.
pub(crate) type Got = Vec<(String, String)>;

/// Checks that `got` is every delivery, byte for byte and each guild's in order; how many came more than once.
pub(crate) fn repeated(got: &Got, guilds: &[Vec<Delivery>]) -> usize {
    let mut first: HashMap<&str, usize> = HashMap::new();
    for (at, (id, _)) in got.iter().enumerate() {
        first.entry(id).or_insert(at);
    }
    for deliveries in guilds {
        let mut before = 0;
        for delivery in deliveries {
            let id = delivery.id().to_string();
            let at = *first.get(id.as_str()).unwrap_or_else(|| panic!("{id} is lost"));
            assert_eq!(got[at].1, body(delivery), "{id}");
            assert!(at >= before, "{id} came before the event of its guild that was before it");
            before = at;
        }
    }
    assert_eq!(first.len(), guilds.iter().map(Vec::len).sum::<usize>(), "nothing else came");
    got.len() - first.len()
}
