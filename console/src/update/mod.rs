//! What each message does to the model and what is asked of the world. PURE.
//!
//! `keys` steers the screens, `line` runs what was typed, `link` takes in what the agent tells.

mod keys;
mod line;
mod link;

pub use self::line::{completions, summary};

use pilothouse_shared::wire::ToAgent;

use crate::message::{Effect, Message};
use crate::model::nav::Screen;
use crate::model::{Detail, Freshness, Link, Model, Notice, OLD_MS, STALE_MS, freshness};

/// Takes a message in; `now` is the console's clock, Unix milliseconds.
pub fn update(model: &mut Model, message: Message, now: u64) -> Vec<Effect> {
    let mut effects = match message {
        Message::Key(key) => keys::key(model, key, now),
        Message::Paste(text) => keys::paste(model, &text),
        Message::Mouse(mouse) => keys::mouse(model, mouse, now),
        Message::Resize(width, height) => resize(model, width, height),
        Message::Link(event) => link::event(model, event, now),
        Message::Tick => Vec::new(),
    };
    model.notice.take_if(|notice| notice.until <= now);
    follow_screen(model);
    effects.extend(subscribe(model));
    effects
}

/// When the picture changes next although nothing happens: a countdown, an age, a notice that goes.
pub fn deadline(model: &Model, now: u64) -> Option<u64> {
    let countdown = match model.link {
        Link::Connecting { until, .. } => next_step_down(until, now),
        Link::Down { retry_at, .. } => retry_at.and_then(|at| next_step_down(at, now)),
        Link::Up { .. } => None,
    };
    let notice = model.notice.as_ref().map(|notice| notice.until);
    let age = model.overview.as_ref().map(|(_, received)| next_age(*received, now));
    [countdown, notice, age].into_iter().flatten().min().map(|at| at.max(now + 1))
}

/// A countdown shows whole seconds, rounded up.
fn next_step_down(target: u64, now: u64) -> Option<u64> {
    let left = target.checked_sub(now).filter(|left| *left > 0)?;
    Some(target - (left - 1) / 1_000 * 1_000)
}

fn next_age(received: u64, now: u64) -> u64 {
    match freshness(received, now) {
        Freshness::Fresh => received + OLD_MS + 1,
        Freshness::Old => received + STALE_MS + 1,
        Freshness::Stale => received + (now.saturating_sub(received) / 1_000 + 1) * 1_000,
    }
}

/// Says something for a few seconds.
fn notify(model: &mut Model, text: impl Into<String>, good: bool, now: u64) {
    let lasts = if good { 6_000 } else { 12_000 };
    model.notice = Some(Notice { text: text.into(), good, until: now + lasts });
}

fn resize(model: &mut Model, width: u16, height: u16) -> Vec<Effect> {
    model.size = (width, height);
    model.follow_cursor();
    Vec::new()
}

/// What is kept for one shard belongs to the shard on the screen.
fn follow_screen(model: &mut Model) {
    if let Screen::Shard(id) = model.nav.screen() {
        model.shards.cursor = id;
        if model.detail.id != id || model.detail.last.is_none() && model.detail.scroll > 0 {
            model.detail = Detail { id, ..Detail::default() };
        }
    }
}

/// Asks for what the screen shows, when that changed.
fn subscribe(model: &mut Model) -> Option<Effect> {
    let wanted = model.subscription();
    if !model.is_up() || model.hello.is_none() || model.subscribed.as_ref() == Some(&wanted) {
        return None;
    }
    model.fleet_at = model.fleet_seen();
    model.fleet.map_whole &= wanted.map;
    model.shards.listed.take_if(|listed| wanted.page.as_ref().is_none_or(|page| !page.is_of_list(listed)));
    model.subscribed = Some(wanted.clone());
    Some(Effect::Send(ToAgent::Subscribe(wanted)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn countdowns_step_each_second_and_end() {
        assert_eq!(next_step_down(5_000, 0), Some(1_000));
        assert_eq!(next_step_down(5_000, 1_000), Some(2_000));
        assert_eq!(next_step_down(5_000, 1_500), Some(2_000));
        assert_eq!(next_step_down(5_000, 4_999), Some(5_000));
        assert_eq!(next_step_down(5_000, 5_000), None);
    }

    #[test]
    fn ages_step_at_their_limits() {
        assert_eq!(next_age(0, 100), OLD_MS + 1);
        assert_eq!(next_age(0, OLD_MS + 1), STALE_MS + 1);
        assert_eq!(next_age(0, 12_345), 13_000);
    }
}
