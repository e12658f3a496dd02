//! Which screen is shown, how one came there and where `[` and `]` lead. PURE.

/// A screen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Screen {
    /// Totals.
    #[default]
    Overview,
    /// All shards, as map or table.
    Shards,
    /// One shard.
    Shard(u32),
    /// Events as they come.
    Events,
    /// The agent's log.
    Logs,
}

/// The screens that were visited, as in a browser.
#[derive(Clone, PartialEq, Debug)]
pub struct Nav {
    visited: Vec<Screen>,
    at: usize,
}

/// Visits that are remembered.
const MOST: usize = 64;

impl Default for Nav {
    fn default() -> Self {
        Self { visited: vec![Screen::default()], at: 0 }
    }
}

impl Nav {
    /// The screen that is shown.
    pub fn screen(&self) -> Screen {
        self.visited[self.at]
    }

    /// Goes to a screen; what was ahead is forgotten.
    pub fn go(&mut self, screen: Screen) {
        if screen == self.screen() {
            return;
        }
        self.visited.truncate(self.at + 1);
        if self.visited.len() == MOST {
            self.visited.remove(0);
        }
        self.visited.push(screen);
        self.at = self.visited.len() - 1;
    }

    /// Replaces the screen without a visit: the neighbouring shard, say.
    pub fn replace(&mut self, screen: Screen) {
        self.visited[self.at] = screen;
    }

    /// One visit back.
    pub fn back(&mut self) {
        self.at = self.at.saturating_sub(1);
    }

    /// One visit forward.
    pub fn forward(&mut self) {
        self.at = (self.at + 1).min(self.visited.len() - 1);
    }

    /// To the screen above.
    pub fn up(&mut self) {
        match self.screen() {
            Screen::Overview => {}
            Screen::Shards | Screen::Events | Screen::Logs => self.go(Screen::Overview),
            Screen::Shard(_) => self.go(Screen::Shards),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_walks_like_a_browser() {
        let mut nav = Nav::default();
        nav.go(Screen::Shards);
        nav.go(Screen::Shard(3));
        nav.back();
        assert_eq!(nav.screen(), Screen::Shards);
        nav.forward();
        nav.forward();
        assert_eq!(nav.screen(), Screen::Shard(3));
        nav.up();
        nav.up();
        nav.up();
        assert_eq!(nav.screen(), Screen::Overview);
        (0..200).for_each(|id| nav.go(Screen::Shard(id)));
        assert_eq!((nav.visited.len(), nav.screen()), (MOST, Screen::Shard(199)));
    }
}
