//! Lines as they came, and where in them one reads: at the newest, or held at one while others come below. PURE.

use std::collections::VecDeque;

/// Lines that are kept.
const MOST: usize = 1_000;

/// Lines of one kind, oldest first.
#[derive(Clone, PartialEq, Debug)]
pub struct Stream<T> {
    lines: VecDeque<T>,
    /// Lines below the last one on the screen.
    below: usize,
    held: bool,
    /// Lines that matched since it began.
    pub matched: u64,
    /// Of those, the ones that were shown.
    pub shown: u64,
}

impl<T> Default for Stream<T> {
    fn default() -> Self {
        Self { lines: VecDeque::new(), below: 0, held: false, matched: 0, shown: 0 }
    }
}

impl<T> Stream<T> {
    /// Takes new lines in, of `matched` that there were.
    pub fn push(&mut self, matched: u64, lines: Vec<T>) {
        self.matched += matched;
        self.shown += lines.len() as u64;
        for line in lines {
            if self.lines.len() == MOST {
                self.lines.pop_front();
            }
            self.lines.push_back(line);
            self.below += usize::from(self.held);
        }
        self.below = self.below.min(self.lines.len().saturating_sub(1));
    }

    /// Whether it stays where it is while lines come.
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// Lines below the last one on the screen.
    pub fn below(&self) -> usize {
        self.below
    }

    /// Holds it, or follows the newest line again.
    pub fn toggle(&mut self) {
        self.held = !self.held;
        if !self.held {
            self.below = 0;
        }
    }

    /// Moves towards older lines.
    pub fn older(&mut self, by: usize) {
        self.below = (self.below.saturating_add(by)).min(self.lines.len().saturating_sub(1));
        self.held = self.below > 0;
    }

    /// Moves towards newer lines; at the newest it follows.
    pub fn newer(&mut self, by: usize) {
        self.below = self.below.saturating_sub(by);
        self.held = self.below > 0;
    }

    /// The lines that fill `height` rows, the last one at the bottom.
    pub fn window(&self, height: usize) -> impl Iterator<Item = &T> {
        let end = self.lines.len() - self.below;
        self.lines.range(end.saturating_sub(height)..end)
    }

    /// The last line on the screen.
    pub fn last(&self) -> Option<&T> {
        self.lines.iter().rev().nth(self.below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(stream: &Stream<u32>) -> Vec<u32> {
        stream.window(3).copied().collect()
    }

    #[test]
    fn it_follows_until_it_is_held() {
        let mut stream = Stream::default();
        assert_eq!((seen(&stream), stream.last()), (vec![], None));
        stream.push(9, vec![1, 2, 3, 4]);
        assert_eq!((seen(&stream), stream.matched, stream.shown), (vec![2, 3, 4], 9, 4));
        stream.older(1);
        stream.push(1, vec![5]);
        assert_eq!((seen(&stream), stream.below(), stream.is_held()), (vec![1, 2, 3], 2, true));
        assert_eq!(stream.last(), Some(&3));
        stream.newer(9);
        stream.push(1, vec![6]);
        assert_eq!((seen(&stream), stream.is_held()), (vec![4, 5, 6], false));
        stream.toggle();
        stream.push(1, vec![7]);
        assert_eq!(seen(&stream), [4, 5, 6], "paused");
        stream.toggle();
        assert_eq!(seen(&stream), [5, 6, 7]);
    }

    #[test]
    fn it_keeps_a_thousand() {
        let mut stream = Stream::default();
        stream.push(1, vec![0]);
        stream.toggle();
        stream.push(5_000, (1..5_000).collect());
        assert_eq!((stream.lines.len(), stream.below()), (MOST, MOST - 1));
        assert_eq!(stream.last(), Some(&4_000), "the oldest there is");
        stream.older(usize::MAX);
        assert_eq!(seen(&stream), [4_000]);
    }
}
