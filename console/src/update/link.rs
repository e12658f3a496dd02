//! What the link's news do to the model. PURE.

use pilothouse_shared::page::{Page, read_order};
use pilothouse_shared::snapshot::{Overview, ShardDetail};
use pilothouse_shared::wire::FromAgent;

use super::{line, notify};
use crate::format;
use crate::message::{Effect, LinkEvent};
use crate::model::history::Sample;
use crate::model::{Due, Hello, Link, Model};

pub(super) fn event(model: &mut Model, event: LinkEvent, now: u64) -> Vec<Effect> {
    match event {
        LinkEvent::Connecting { attempt, limit_ms } => {
            model.link = Link::Connecting { attempt, until: now + limit_ms };
        }
        LinkEvent::Open => opened(model, now),
        LinkEvent::Frame(frame) => {
            model.heard_at = Some(now);
            return self::frame(model, *frame, now);
        }
        LinkEvent::Rtt(ms) => {
            if let Link::Up { rtt, .. } = &mut model.link {
                *rtt = Some(ms);
            }
        }
        LinkEvent::Stuck => {
            model.subscribed = None;
            notify(model, "the link is stuck: nothing was sent", false, now);
        }
        LinkEvent::Down { reason, wait_ms } => down(model, &reason, wait_ms, now),
    }
    Vec::new()
}

fn opened(model: &mut Model, now: u64) {
    model.link = Link::Up { since: now, rtt: None };
    model.subscribed = None;
}

fn down(model: &mut Model, reason: &str, wait_ms: Option<u64>, now: u64) {
    model.fleet_at = model.fleet_seen();
    model.fleet.map_whole = false;
    model.shards.listed = None;
    model.link = Link::Down { reason: format::clean(reason), retry_at: wait_ms.map(|wait| now + wait) };
    model.subscribed = None;
    let unanswered = std::mem::take(&mut model.due);
    // What applies a plan is sent again: it is done once, however often it is sent.
    let (again, lost): (Vec<Due>, Vec<Due>) = unanswered.into_iter().partition(|due| due.apply.is_some());
    model.due = again;
    match (model.due.last(), lost.last()) {
        (Some(due), _) => notify(model, format!("no answer to {:?} yet: it is asked for again", due.line), false, now),
        (None, Some(due)) => notify(model, format!("no answer to {:?}: the link went down", due.line), false, now),
        (None, None) => {}
    }
}

fn frame(model: &mut Model, frame: FromAgent, now: u64) -> Vec<Effect> {
    match frame {
        FromAgent::Hello { agent, fleet, version, role, .. } => {
            model.hello = Some(Hello { agent, fleet, version, role });
            return model.due.iter().filter_map(|due| due.apply.clone()).map(Effect::Send).collect();
        }
        FromAgent::Overview(overview) => self::overview(model, overview, now),
        FromAgent::Map { total, full, states } => {
            model.fleet.apply_map(total, full, &states);
            keep_cursor(model);
        }
        FromAgent::Page { of, total, order, follow, rows } => {
            // One of a list that is no longer asked for was on its way.
            if model.subscription().page.is_some_and(|page| page.is_of_list(&of)) {
                model.fleet.apply_rows(total, rows);
                page(model, of, order, follow, now);
            }
        }
        FromAgent::Tail { matched, events } => model.events.stream.push(matched, events),
        FromAgent::Logs { matched, lines } => model.logs.stream.push(matched, lines),
        FromAgent::Detail(detail) => self::detail(model, detail, now),
        FromAgent::Plan { id, plan } => line::planned(model, id, plan, now),
        FromAgent::Progress { done, of, .. } => notify(model, format!("{done} of {of} done"), true, now),
        FromAgent::Result { id, ok, text } => line::answer(model, id, ok, &text, now),
        // The link ends next, with this reason.
        FromAgent::Bye { .. } => {}
    }
    Vec::new()
}

fn overview(model: &mut Model, overview: Box<Overview>, now: u64) {
    if overview.at > 0 {
        model.clock_ahead = i64::try_from(overview.at).unwrap_or(0) - i64::try_from(now).unwrap_or(0);
    }
    model.history.push(Sample { second: now / 1_000, rate: overview.in_per_s, latency: Some(overview.p99_us) });
    model.finding = model.finding.min(overview.findings.len().saturating_sub(1));
    model.overview = Some((overview, now));
}

fn page(model: &mut Model, of: Page, order: Option<String>, follow: u32, now: u64) {
    keep_cursor(model);
    if let Some(order) = order.and_then(|text| read_order(&text, model.fleet.total())) {
        model.set_order(order);
    }
    if follow == 0 {
        model.rows_at = Some(now);
        let part = of.part(&model.shards.order).to_vec();
        model.fleet.keep_rows(&part);
        model.shards.listed = Some(of);
    }
}

fn detail(model: &mut Model, detail: Box<ShardDetail>, now: u64) {
    if detail.row.id != model.detail.id {
        return;
    }
    let row = &detail.row;
    model.detail.history.push(Sample { second: now / 1_000, rate: row.events_per_s, latency: row.latency_ms });
    model.detail.last = Some((detail, now));
}

fn keep_cursor(model: &mut Model) {
    model.shards.cursor = model.shards.cursor.min(model.fleet.total().saturating_sub(1));
}
