//! Lets a few of many pass to whoever watches: a bounded queue behind an allowance, so that what is watched never waits
//! and what is left out is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

/// What may pass at once, and may wait to be taken.
const BURST: u32 = 20;
/// The allowance grows by [`GROWTH`] in this time: with the burst at most 50 pass in any second.
const EVERY: Duration = Duration::from_millis(100);
const GROWTH: u32 = 3;

/// Where something that happens is offered.
#[derive(Debug)]
pub struct Tap<T> {
    valve: Arc<Valve>,
    queue: mpsc::Sender<T>,
}

/// Where it is seen; dropping it closes the tap.
#[derive(Debug)]
pub struct Watch<T> {
    valve: Arc<Valve>,
    queue: mpsc::Receiver<T>,
    grown: Instant,
}

#[derive(Debug)]
struct Valve {
    allowance: AtomicU32,
    left_out: AtomicU64,
}

/// A tap and what watches it.
pub fn tap<T>(now: Instant) -> (Tap<T>, Watch<T>) {
    let valve = Arc::new(Valve { allowance: AtomicU32::new(BURST), left_out: AtomicU64::new(0) });
    let (sender, queue) = mpsc::channel(BURST as usize);
    (Tap { valve: Arc::clone(&valve), queue: sender }, Watch { valve, queue, grown: now })
}

impl<T> Clone for Tap<T> {
    fn clone(&self) -> Self {
        Self { valve: Arc::clone(&self.valve), queue: self.queue.clone() }
    }
}

impl<T> Tap<T> {
    /// Shows something, or counts it as left out; what is left out is not made.
    pub fn offer(&self, make: impl FnOnce() -> T) {
        let less = |left: u32| left.checked_sub(1);
        let may = self.valve.allowance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok();
        if !may || self.queue.try_send(make()).is_err() {
            self.valve.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether anybody watches still.
    pub fn is_watched(&self) -> bool {
        !self.queue.is_closed()
    }
}

impl<T> Watch<T> {
    /// What came since the last call: how much in all, and what of it is shown.
    pub fn take(&mut self, now: Instant) -> (u64, Vec<T>) {
        let shown: Vec<T> = std::iter::from_fn(|| self.queue.try_recv().ok()).collect();
        self.grow(now);
        (shown.len() as u64 + self.valve.left_out.swap(0, Ordering::Relaxed), shown)
    }

    fn grow(&mut self, now: Instant) {
        let steps = now.saturating_duration_since(self.grown).as_millis() / EVERY.as_millis();
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        self.grown += EVERY.saturating_mul(steps);
        let more = |left: u32| Some(left.saturating_add(steps.saturating_mul(GROWTH)).min(BURST));
        // It always has a next value.
        let _ = self.valve.allowance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifty_a_second_are_shown_and_the_rest_is_counted() {
        let start = Instant::now();
        let (tap, mut watch) = tap(start);
        let (mut all, mut shown) = (0, Vec::new());
        for tick in 0..30_u32 {
            (0..100).for_each(|number| tap.offer(|| tick * 100 + number));
            let (matched, some) = watch.take(start + EVERY * tick);
            all += matched;
            shown.push(some.len());
        }
        assert_eq!(all, 3_000);
        for second in shown.windows(10) {
            assert!(second.iter().sum::<usize>() <= 50, "{shown:?}");
        }
        assert!(shown[10..].iter().all(|count| *count == 3), "evenly spread: {shown:?}");
    }

    #[test]
    fn a_watch_that_does_not_look_holds_a_burst_and_no_more() {
        let start = Instant::now();
        let (tap, mut watch) = tap(start);
        let mut made = 0;
        (0..10_000).for_each(|_| tap.offer(|| made += 1));
        assert_eq!(made, BURST, "what is left out is not made");
        let (matched, shown) = watch.take(start + Duration::from_secs(3_600));
        assert_eq!((matched, shown.len()), (10_000, BURST as usize));
        assert!(tap.is_watched());
        drop(watch);
        assert!(!tap.is_watched());
        tap.offer(|| ());
    }
}
