//! A turn's dispatches on their way through the stages, while any of them is on.

use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use pilothouse_shared::stage::StageName;

use super::connection::{Buffers, Dispatch};
use super::context::{Context, Shard};
use crate::gateway::guilds::GuildNote;
use crate::gateway::kind::EventKind;
use crate::pipeline::stages::{Seen, Stages, Verdict, renamed, vanished};
use crate::pipeline::{Event, Lane};

/// Opens every dispatch in `lane` for as many confirmations as it will get, and leaves what goes on in the buffers'
/// events.
pub(super) fn take(
    shard: &Shard,
    context: &Context,
    lane: &Rc<Lane>,
    dispatches: &mut Vec<Dispatch>,
    buffers: &mut Buffers,
    now: Instant,
) {
    let shared = buffers.share(dispatches.last().map_or(0, |dispatch| dispatch.payload.end));
    let events = &mut buffers.events;
    let user = shard.machine.borrow().session().map_or(0, |session| session.user);
    let stages = &mut *context.stages.borrow_mut();
    let sinks = u32::try_from(context.sinks.len()).expect("the configuration allows few sinks");
    for Dispatch { kind, seq, payload, note } in dispatches.drain(..) {
        let told = events.len();
        let bytes = &shared[payload.clone()];
        let event = |kind, payload| Event { lane: Rc::clone(lane), seq, kind, part: 0, payload, received: now };
        match stages.apply(&Seen { kind, payload: bytes, note, user, now }) {
            Verdict::Keep => events.push(event(kind, shared.slice(payload))),
            Verdict::Rename(kind) => events.push(event(kind, renamed(bytes, kind).into())),
            Verdict::Drop => {}
        }
        if kind == EventKind::READY && stages.is_on(StageName::GuildLifecycle) {
            let gone = shard.machine.borrow_mut().take_vanished();
            events.extend(make_up(stages, lane, &gone, seq, now));
        }
        let told = u32::try_from(events.len() - told).expect("a shard has fewer guilds");
        lane.open(seq, now, sinks * told);
    }
}

/// A GUILD_DELETE for each guild that this READY does not list any more.
fn make_up(stages: &mut Stages, lane: &Rc<Lane>, gone: &[u64], seq: u64, now: Instant) -> Vec<Event> {
    let (kind, note) = (EventKind::GUILD_DELETE, GuildNote::Removed);
    let payloads = (1..).zip(gone).map(|(part, guild)| (part, Bytes::from(vanished(*guild, seq))));
    let events =
        payloads.map(|(part, payload)| Event { lane: Rc::clone(lane), seq, kind, part, payload, received: now });
    let kept =
        |event: &Event| stages.apply(&Seen { kind, payload: &event.payload, note, user: 0, now }) == Verdict::Keep;
    events.filter(kept).collect()
}
