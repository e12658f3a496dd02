//! Rates over time, as this console received them: one sample a second, half an hour at most. PURE.

use std::collections::VecDeque;

/// What was measured in one second.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sample {
    /// Unix second.
    pub second: u64,
    /// Dispatches received.
    pub rate: u32,
    /// Latency: microseconds (agent, 99th percentile) or milliseconds (shard, heartbeat).
    pub latency: Option<u32>,
}

/// Samples in order of time; seconds in which nothing came are missing.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct History {
    samples: VecDeque<Sample>,
}

/// Half an hour.
const MOST: usize = 1_800;

impl History {
    /// Adds a sample; a second one of the same second replaces the first, an older one is ignored.
    pub fn push(&mut self, sample: Sample) {
        match self.samples.back() {
            Some(last) if last.second > sample.second => return,
            Some(last) if last.second == sample.second => drop(self.samples.pop_back()),
            _ => {}
        }
        if self.samples.len() == MOST {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// The last sample.
    pub fn last(&self) -> Option<Sample> {
        self.samples.back().copied()
    }

    /// `columns` means over `step` seconds each, the last one ending at `until`; none where nothing was received.
    /// Columns begin at multiples of `step`, so that a moving clock moves them and does not reshape them.
    pub fn columns(&self, until: u64, columns: usize, step: u64, of: fn(&Sample) -> Option<u32>) -> Vec<Option<u64>> {
        let step = step.max(1);
        let first = (until / step + 1).saturating_sub(columns as u64);
        let mut sums = vec![(0_u64, 0_u64); columns];
        for sample in &self.samples {
            let column = (sample.second / step).checked_sub(first).and_then(|index| sums.get_mut(index as usize));
            if let (Some((sum, count)), Some(value)) = (column, of(sample)) {
                *sum += u64::from(value);
                *count += 1;
            }
        }
        sums.into_iter().map(|(sum, count)| sum.checked_div(count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(second: u64, rate: u32) -> Sample {
        Sample { second, rate, latency: None }
    }

    #[test]
    fn columns_are_means_and_gaps_stay_gaps() {
        let mut history = History::default();
        for (second, rate) in [(100, 10), (101, 30), (104, 50), (104, 60), (103, 1)] {
            history.push(sample(second, rate));
        }
        let rate = |sample: &Sample| Some(sample.rate);
        assert_eq!(history.columns(104, 5, 1, rate), [Some(10), Some(30), None, None, Some(60)]);
        assert_eq!(history.columns(105, 3, 2, rate), [Some(20), None, Some(60)]);
        assert_eq!(history.columns(105, 3, 2, |sample| sample.latency), [None; 3]);
    }

    #[test]
    fn it_keeps_half_an_hour() {
        let mut history = History::default();
        (0..4_000).for_each(|second| history.push(sample(second, 1)));
        assert_eq!(history.samples.len(), MOST);
        assert_eq!(history.last().map(|last| last.second), Some(3_999));
    }
}
