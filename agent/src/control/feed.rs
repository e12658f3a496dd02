//! PURE: what a console is to be told next, from what it was told last. A console that could not be told for a
//! while is told the newest: nothing waits for it but the snapshot it last saw.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pilothouse_shared::page::{List, Page, changed, whole, write_order};
use pilothouse_shared::snapshot::ShardRow;
use pilothouse_shared::wire::{FromAgent, Subscription};

use crate::telemetry::snapshot::Snapshot;

#[cfg(test)]
mod tests;

/// Rows in one frame at most.
const CHUNK: usize = 256;
/// A bit below half a second and a second: snapshots come on the half second, give or take.
const HALF_SECOND: Duration = Duration::from_millis(400);
const SECOND: Duration = Duration::from_millis(900);
const TWO_SECONDS: Duration = Duration::from_millis(1_900);
/// Bytes of an order that is told each second; a longer one is told every two.
const SHORT_ORDER: usize = 4_096;
/// Bytes of JSON round a run of letters, beside its number.
const RUN: usize = 6;

/// The state of one console's subscription.
#[derive(Default)]
pub(super) struct Feed {
    wants: Subscription,
    overview: Option<Instant>,
    map: Option<MapTold>,
    list: Option<List>,
    page: Option<PageTold>,
    detail: Option<Instant>,
}

/// The letters that were told, by shard.
struct MapTold {
    at: Instant,
    letters: Vec<u8>,
}

/// The page that was told: its list's order and since when, its rows, and as of which snapshot.
struct PageTold {
    at: Instant,
    order: Vec<u32>,
    ordered: Instant,
    rows: Vec<u32>,
    base: Arc<Snapshot>,
}

impl Feed {
    /// Replaces the subscription. What stays subscribed goes on where it was.
    ///
    /// # Errors
    /// What of it cannot be understood; then nothing has changed.
    pub(super) fn subscribe(&mut self, wants: Subscription) -> Result<(), String> {
        let list = wants.page.as_ref().map(List::of).transpose().map_err(|wrong| format!("the page: {wrong}"))?;
        self.overview.take_if(|_| !wants.overview);
        self.map.take_if(|_| !wants.map);
        self.detail.take_if(|_| wants.detail != self.wants.detail);
        self.turn_page(wants.page.as_ref());
        (self.list, self.wants) = (list, wants);
        Ok(())
    }

    /// Another page of the same list is told at once, in what is new on it; another list begins anew.
    fn turn_page(&mut self, page: Option<&Page>) {
        let (Some(before), Some(told)) = (&self.wants.page, &mut self.page) else { return };
        if page == Some(before) {
            return;
        }
        match (page.filter(|page| page.is_of_list(before)), told.at.checked_sub(SECOND)) {
            (Some(_), Some(early)) => told.at = early,
            _ => self.page = None,
        }
    }

    /// The totals, when they are due.
    pub(super) fn overview(&mut self, snapshot: &Snapshot, now: Instant) -> Option<FromAgent> {
        let due = self.wants.overview && due(&mut self.overview, SECOND, now);
        due.then(|| FromAgent::Overview(Box::new(snapshot.overview.clone())))
    }

    /// The states, when they are due and any changed.
    pub(super) fn map(&mut self, snapshot: &Snapshot, now: Instant) -> Option<FromAgent> {
        let is_due = self.map.as_ref().is_none_or(|told| now.duration_since(told.at) >= HALF_SECOND);
        if !self.wants.map || !is_due {
            return None;
        }
        let letters = letters(snapshot);
        let told = self.map.replace(MapTold { at: now, letters: letters.clone() });
        let whole = || vec![(0, text(&letters))];
        let changes = told.filter(|told| told.letters.len() == letters.len()).map(|told| runs(&told.letters, &letters));
        let (full, states) = match changes {
            Some(runs) if runs.is_empty() => return None,
            Some(runs) if size(&runs) <= letters.len() => (false, runs),
            _ => (true, whole()),
        };
        Some(FromAgent::Map { total: snapshot.overview.generation.total, full, states })
    }

    /// The page in frames, when it is due and anything on it changed.
    pub(super) fn page(&mut self, snapshot: &Arc<Snapshot>, now: Instant) -> Frames {
        let is_due = self.page.as_ref().is_none_or(|told| now.duration_since(told.at) >= SECOND);
        match (&self.wants.page, &self.list) {
            (Some(page), Some(list)) if is_due => {
                let before = self.page.take().filter(|told| is_of_same_shards(&told.base, snapshot));
                let (order, ordered) = order(list.ids(&snapshot.rows), before.as_ref(), now);
                let rows = page.part(&order).to_vec();
                let told = PageTold { at: now, order, ordered, rows, base: Arc::clone(snapshot) };
                let frames = Frames::between(page, before, &told);
                self.page = Some(told);
                frames
            }
            _ => Frames::default(),
        }
    }

    /// The shard whose detail is due.
    pub(super) fn detail(&mut self, now: Instant) -> Option<u32> {
        let shard = self.wants.detail?;
        due(&mut self.detail, SECOND, now).then_some(shard)
    }
}

/// A page's frames, each made when it is asked for: one at a time takes memory.
#[derive(Default)]
pub(super) struct Frames {
    of: Page,
    order: Option<String>,
    /// Rows to tell with their former selves, and those of no change left out.
    rows: std::vec::IntoIter<(Option<usize>, usize)>,
    before: Arc<Snapshot>,
    after: Arc<Snapshot>,
    /// Frames to come.
    left: usize,
}

impl Frames {
    fn between(of: &Page, told: Option<PageTold>, now: &PageTold) -> Self {
        let (before, known, order) =
            told.map_or_else(Default::default, |told| (told.base, told.rows, Some(told.order)));
        let known: std::collections::HashSet<u32> = known.into_iter().collect();
        let former = |id: &u32| known.contains(id).then(|| index(&before, *id)).flatten();
        let pairs = now.rows.iter().filter_map(|id| Some((former(id), index(&now.base, *id)?)));
        let new = pairs.filter(|(old, new)| old.is_none_or(|old| before.rows[old] != now.base.rows[*new]));
        let rows: Vec<_> = new.collect();
        let order = (order.as_ref() != Some(&now.order)).then(|| write_order(&now.order));
        let left = rows.len().div_ceil(CHUNK).max(usize::from(order.is_some()));
        Self { of: of.clone(), order, rows: rows.into_iter(), before, after: Arc::clone(&now.base), left }
    }
}

impl Iterator for Frames {
    type Item = FromAgent;

    fn next(&mut self) -> Option<FromAgent> {
        self.left = self.left.checked_sub(1)?;
        let (before, after) = (&self.before, &self.after);
        let row = |(old, new): (Option<usize>, usize)| match old {
            Some(old) => changed(&before.rows[old], &after.rows[new]),
            None => whole(&after.rows[new]),
        };
        Some(FromAgent::Page {
            of: self.of.clone(),
            total: after.overview.generation.total,
            order: self.order.take(),
            follow: u32::try_from(self.left).unwrap_or(u32::MAX),
            rows: self.rows.by_ref().take(CHUNK).map(row).collect(),
        })
    }
}

/// The order to tell: the new one, or the former while that is long and young.
fn order(new: Vec<u32>, before: Option<&PageTold>, now: Instant) -> (Vec<u32>, Instant) {
    match before {
        Some(before) if before.order == new => (new, before.ordered),
        Some(PageTold { order, ordered, .. })
            if now.duration_since(*ordered) < TWO_SECONDS && write_order(&new).len() > SHORT_ORDER =>
        {
            (order.clone(), *ordered)
        }
        _ => (new, now),
    }
}

fn index(snapshot: &Snapshot, id: u32) -> Option<usize> {
    snapshot.rows.binary_search_by_key(&id, |row: &ShardRow| row.id).ok()
}

fn is_of_same_shards(old: &Snapshot, new: &Snapshot) -> bool {
    old.overview.generation.total == new.overview.generation.total
}

/// A letter for each shard there should be.
fn letters(snapshot: &Snapshot) -> Vec<u8> {
    let mut letters = vec![b'?'; snapshot.overview.generation.total as usize];
    for row in &snapshot.rows {
        if let Some(letter) = letters.get_mut(row.id as usize) {
            *letter = u8::try_from(row.state.letter()).expect("the letters are ASCII");
        }
    }
    letters
}

/// Where letters differ: the first shard, and the new letters from it on.
fn runs(old: &[u8], new: &[u8]) -> Vec<(u32, String)> {
    let mut runs = Vec::new();
    let mut at = 0;
    while at < new.len() {
        let count = old[at..].iter().zip(&new[at..]).take_while(|(old, new)| old != new).count();
        if count > 0 {
            runs.push((u32::try_from(at).expect("a u32 of shards"), text(&new[at..at + count])));
        }
        at += count + 1;
    }
    runs
}

fn text(letters: &[u8]) -> String {
    letters.iter().copied().map(char::from).collect()
}

/// Bytes of runs as JSON.
fn size(runs: &[(u32, String)]) -> usize {
    runs.iter().map(|(first, letters)| letters.len() + RUN + first.checked_ilog10().unwrap_or(0) as usize + 1).sum()
}

fn due(last: &mut Option<Instant>, every: Duration, now: Instant) -> bool {
    let due = last.is_none_or(|last| now.duration_since(last) >= every);
    if due {
        *last = Some(now);
    }
    due
}
