//! Everything the console knows and shows, free of terminal, clock and network. PURE.
//!
//! In reading order: [`fleet`], [`history`] and [`stream`] keep what agents told, [`nav`] the screen, [`grid`] and
//! [`columns`] the shape of map and table, [`prompt`] and [`dialog`] what the operator types.

pub mod columns;
pub mod dialog;
pub mod fleet;
pub mod grid;
pub mod history;
pub mod nav;
pub mod prompt;
pub mod stream;

use pilothouse_shared::page::Page;
use pilothouse_shared::snapshot::{Overview, ShardDetail, ShardState};
use pilothouse_shared::stream::{LogLevel, LogLine, Tail, TailEvent};
use pilothouse_shared::wire::{Role, Subscription, ToAgent};

use self::columns::{COLUMNS, Column};
use self::dialog::Dialog;
use self::fleet::Fleet;
use self::grid::Grid;
use self::history::History;
use self::nav::{Nav, Screen};
use self::prompt::Prompt;
use self::stream::Stream;

/// What is fixed when the console starts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Setup {
    /// The agent's address, as shown.
    pub address: String,
    /// Whether the terminal can draw half cells: it has colour and Unicode.
    pub half: bool,
}

/// The state of the connection; times are the console's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Link {
    /// An attempt runs and is given up at `until`.
    Connecting {
        /// Counts from 1.
        attempt: u32,
        /// When it is given up.
        until: u64,
    },
    /// Frames come.
    Up {
        /// When the WebSocket opened.
        since: u64,
        /// Milliseconds of the last ping.
        rtt: Option<u32>,
    },
    /// Down.
    Down {
        /// In plain words.
        reason: String,
        /// When the next attempt begins; none where it cannot help.
        retry_at: Option<u64>,
    },
}

/// A command that is not answered yet.
#[derive(Clone, PartialEq, Debug)]
pub struct Due {
    /// Its number.
    pub id: u64,
    /// Its line.
    pub line: String,
    /// What applies its plan: sent again over a new link, as it is done once only.
    pub apply: Option<ToAgent>,
}

/// What the agent said about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// Its name.
    pub agent: String,
    /// Its fleet's name.
    pub fleet: String,
    /// Version of the program.
    pub version: String,
    /// What the console's token allows.
    pub role: Role,
}

/// How much a value can be trusted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Freshness {
    /// At most 3 s old.
    Fresh,
    /// At most 10 s old.
    Old,
    /// Older.
    Stale,
}

/// Milliseconds after which a value is old.
pub const OLD_MS: u64 = 3_000;
/// Milliseconds after which a value is stale.
pub const STALE_MS: u64 = 10_000;

/// How old a value received at `received` is.
pub fn freshness(received: u64, now: u64) -> Freshness {
    match now.saturating_sub(received) {
        age if age <= OLD_MS => Freshness::Fresh,
        age if age <= STALE_MS => Freshness::Old,
        _ => Freshness::Stale,
    }
}

/// One shard in depth, and what was seen of it while it was shown.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Detail {
    /// Which shard.
    pub id: u32,
    /// The last frame and when it came.
    pub last: Option<(Box<ShardDetail>, u64)>,
    /// Rate and heartbeat latency.
    pub history: History,
    /// Steps of its life that were scrolled away from the newest.
    pub scroll: u16,
}

/// How all shards are shown.
#[derive(Clone, PartialEq, Debug)]
pub struct ShardsView {
    /// As a table, else as a map.
    pub table: bool,
    /// The chosen shard.
    pub cursor: u32,
    /// Leave out what is well.
    pub only_bad: bool,
    /// The filter in force, valid.
    pub filter: String,
    /// Column that orders the table.
    pub sort: usize,
    /// From the largest to the smallest.
    pub descending: bool,
    /// Steps nearer than the whole map needs.
    pub zoom: u8,
    /// Ids of the shards that pass, in the order that the agent told.
    pub order: Vec<u32>,
    /// By id, whether a shard is among them.
    pub passing: Vec<bool>,
    /// The page that came whole over the present connection and is kept up to date.
    pub listed: Option<Page>,
    /// First row of the table on the screen.
    pub top: usize,
}

impl Default for ShardsView {
    fn default() -> Self {
        Self {
            table: false,
            cursor: 0,
            only_bad: false,
            filter: String::new(),
            sort: Column::index("id").expect("the id column exists"),
            descending: false,
            zoom: 0,
            order: Vec::new(),
            passing: Vec::new(),
            listed: None,
            top: 0,
        }
    }
}

/// The events that are watched.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct EventsView {
    /// Which.
    pub wanted: Tail,
    /// Those that were shown.
    pub stream: Stream<TailEvent>,
}

/// The log that is watched.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct LogsView {
    /// Lines of this level and graver ones.
    pub level: LogLevel,
    /// Those that were shown.
    pub stream: Stream<LogLine>,
}

/// What has the keyboard.
#[derive(Clone, PartialEq, Debug, Default)]
pub enum Input {
    /// The screen.
    #[default]
    Screen,
    /// A line is typed.
    Prompt(Prompt),
    /// A question waits.
    Dialog(Dialog),
    /// The keys are explained; scrolled by this many rows.
    Help(u16),
    /// The answer to a command is read; scrolled by this many rows.
    Answer(String, u16),
}

/// A line that stays for a few seconds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// What to say.
    pub text: String,
    /// Whether it is good news.
    pub good: bool,
    /// When it goes.
    pub until: u64,
}

/// The themes by name; what they look like is the theme's business.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Look {
    /// Light letters on a dark ground
    #[default]
    Dark,
    /// Dark letters on a light ground
    Light,
    /// Black, white and few strong colours
    Contrast,
    /// No colour: letters, bold and reverse only
    Mono,
}

impl Look {
    /// The next one.
    pub fn next(self) -> Self {
        match self {
            Self::Dark => Self::Light,
            Self::Light => Self::Contrast,
            Self::Contrast => Self::Mono,
            Self::Mono => Self::Dark,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dark => "dark",
            Self::Light => "light",
            Self::Contrast => "contrast",
            Self::Mono => "mono",
        }
    }
}

/// A rectangle in columns and rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Area {
    /// Left edge.
    pub x: u16,
    /// Top edge.
    pub y: u16,
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// Everything.
#[derive(Clone, PartialEq, Debug)]
pub struct Model {
    /// What is fixed.
    pub setup: Setup,
    /// Columns and rows of the terminal.
    pub size: (u16, u16),
    /// The connection.
    pub link: Link,
    /// What the agent said about itself, last time.
    pub hello: Option<Hello>,
    /// When the last frame came.
    pub heard_at: Option<u64>,
    /// The agent's clock less the console's, milliseconds.
    pub clock_ahead: i64,
    /// The totals and when they came.
    pub overview: Option<(Box<Overview>, u64)>,
    /// Rates and latency of the agent.
    pub history: History,
    /// All shards.
    pub fleet: Fleet,
    /// When news of shards last came over a connection that is gone.
    pub fleet_at: Option<u64>,
    /// When rows last came.
    pub rows_at: Option<u64>,
    /// The shard that is shown in depth.
    pub detail: Detail,
    /// The screen.
    pub nav: Nav,
    /// How all shards are shown.
    pub shards: ShardsView,
    /// The events that are watched.
    pub events: EventsView,
    /// The log that is watched.
    pub logs: LogsView,
    /// The chosen finding.
    pub finding: usize,
    /// What has the keyboard.
    pub input: Input,
    /// What was just said.
    pub notice: Option<Notice>,
    /// Lines that were run, oldest first.
    pub past: Vec<String>,
    /// Commands whose answers are due.
    pub due: Vec<Due>,
    /// Id of the next command.
    pub next_command: u64,
    /// What the agent was last asked to tell.
    pub subscribed: Option<Subscription>,
    /// The theme.
    pub look: Look,
}

impl Model {
    /// Nothing is known yet.
    pub fn new(setup: Setup, size: (u16, u16), look: Look) -> Self {
        Self {
            setup,
            size,
            link: Link::Connecting { attempt: 1, until: 0 },
            hello: None,
            heard_at: None,
            clock_ahead: 0,
            overview: None,
            history: History::default(),
            fleet: Fleet::default(),
            fleet_at: None,
            rows_at: None,
            detail: Detail::default(),
            nav: Nav::default(),
            shards: ShardsView::default(),
            events: EventsView::default(),
            logs: LogsView::default(),
            finding: 0,
            input: Input::Screen,
            notice: None,
            past: Vec::new(),
            due: Vec::new(),
            next_command: 1,
            subscribed: None,
            look,
        }
    }

    /// The agent's time.
    pub fn agent_now(&self, now: u64) -> u64 {
        now.saturating_add_signed(self.clock_ahead)
    }

    /// Whether the token allows changes.
    pub fn may_change(&self) -> bool {
        self.hello.as_ref().is_some_and(|hello| hello.role >= Role::Operator)
    }

    /// Whether frames come.
    pub fn is_up(&self) -> bool {
        matches!(self.link, Link::Up { .. })
    }

    /// When what is known of the shards was last confirmed: only changes are told, so every frame confirms the rest.
    pub fn fleet_seen(&self) -> Option<u64> {
        if self.fleet.map_whole || self.shards.listed.is_some() { self.heard_at } else { self.fleet_at }
    }

    /// The same for the table, whose rows are told only while it is shown.
    pub fn rows_seen(&self) -> Option<u64> {
        if self.shards.listed.is_some() { self.heard_at } else { self.rows_at }
    }

    /// Too small for anything but one line.
    pub fn is_tiny(&self) -> bool {
        self.size.0 < 60 || self.size.1 < 15
    }

    /// Where the screen goes: below the header (and the banner while the link is down), above the hint line.
    pub fn body(&self) -> Area {
        let top = if self.is_up() && self.hello.is_some() { 1 } else { 2 };
        Area { x: 0, y: top, width: self.size.0, height: self.size.1.saturating_sub(top + 1) }
    }

    /// Where the map goes: inside the body, between its heading and its legend.
    pub fn map_area(&self) -> Area {
        let body = self.body();
        Area { x: 1, y: body.y + 2, width: body.width.saturating_sub(2), height: body.height.saturating_sub(5) }
    }

    /// The map's geometry.
    pub fn grid(&self) -> Grid {
        let area = self.map_area();
        Grid::fit(self.fleet.total(), area.width, area.height, self.shards.zoom, self.draws_halves())
    }

    /// Whether the overview has room for a map in small.
    pub fn overview_has_map(&self) -> bool {
        self.size.0 >= 150 && self.size.1 >= 40
    }

    /// The geometry of the overview's map.
    pub fn overview_grid(&self, width: u16, height: u16) -> Grid {
        Grid::fit(self.fleet.total(), width, height, 0, self.draws_halves())
    }

    fn draws_halves(&self) -> bool {
        self.setup.half && self.look != Look::Mono
    }

    /// Active shards by the totals.
    pub fn active(&self, overview: &Overview) -> u32 {
        overview.states.iter().filter(|(state, _)| *state == ShardState::Active).map(|(_, count)| count).sum()
    }

    /// Rows of the table that can be seen.
    pub fn table_rows(&self) -> usize {
        usize::from(self.body().height.saturating_sub(2))
    }

    /// Rows of events or log lines that can be seen.
    pub fn stream_rows(&self) -> usize {
        usize::from(self.body().height.saturating_sub(2 + self.line_rows()))
    }

    /// Rows in which the last line on the screen is shown whole.
    pub fn line_rows(&self) -> u16 {
        let shown = match self.nav.screen() {
            Screen::Events => self.events.wanted.payloads,
            Screen::Logs => self.logs.stream.is_held(),
            _ => false,
        };
        if shown { (self.body().height / 3).clamp(3, 12) } else { 0 }
    }

    /// What the agent should tell: only what is shown.
    pub fn subscription(&self) -> Subscription {
        let screen = self.nav.screen();
        let among_shards = matches!(screen, Screen::Shards | Screen::Shard(_));
        Subscription {
            overview: true,
            map: among_shards || (screen == Screen::Overview && self.overview_has_map()),
            page: (screen == Screen::Shards).then(|| self.page()),
            detail: if let Screen::Shard(id) = screen { Some(id) } else { None },
            tail: (screen == Screen::Events).then(|| self.events.wanted.clone()),
            logs: (screen == Screen::Logs).then_some(self.logs.level),
        }
    }

    /// The rows that are shown: those on the screen of the table, the chosen one of the map.
    pub fn page(&self) -> Page {
        let view = &self.shards;
        let ill = if view.only_bad { " !state=active" } else { "" };
        let filter = format!("{}{ill}", view.filter).trim().to_owned();
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        if view.table {
            let (sort, descending) = (COLUMNS[view.sort].key.to_owned(), view.descending);
            return Page { filter, sort, descending, offset: number(view.top), count: number(self.table_rows()) };
        }
        Page { filter, offset: number(self.cursor_row()), count: 1, ..Page::default() }
    }

    /// Whether the agent has told the list that is wanted now.
    pub fn is_listed(&self) -> bool {
        self.shards.listed.as_ref().is_some_and(|listed| listed.is_of_list(&self.page()))
    }

    /// Whether the map shows this shard: it passes the filter and, with "only bad", is not well.
    pub fn shows(&self, id: u32) -> bool {
        let bad = || self.fleet.state(id) != Some(ShardState::Active);
        let passes = || self.shards.passing.get(id as usize).copied().unwrap_or(false);
        (!self.shards.only_bad || bad()) && (self.shards.filter.is_empty() || passes())
    }

    /// Takes in which shards pass, in order.
    pub fn set_order(&mut self, order: Vec<u32>) {
        let mut passing = vec![false; self.fleet.total() as usize];
        order.iter().filter_map(|id| usize::try_from(*id).ok()).for_each(|id| passing[id] = true);
        (self.shards.order, self.shards.passing) = (order, passing);
        self.follow_cursor();
    }

    /// The place of the chosen shard in the list, or the first on the screen.
    pub fn cursor_row(&self) -> usize {
        self.shards.order.iter().position(|&id| id == self.shards.cursor).unwrap_or(self.shards.top)
    }

    /// Scrolls the table so that the chosen shard can be seen.
    pub fn follow_cursor(&mut self) {
        let (rows, count) = (self.table_rows().max(1), self.shards.order.len());
        let row = self.cursor_row();
        let top = self.shards.top.min(row).max((row + 1).saturating_sub(rows));
        self.shards.top = top.min(count.saturating_sub(rows));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_age_in_two_steps() {
        assert_eq!(
            [3_000, 3_001, 10_000, 10_001].map(|now| freshness(0, now)),
            [Freshness::Fresh, Freshness::Old, Freshness::Old, Freshness::Stale]
        );
        assert_eq!(freshness(5, 0), Freshness::Fresh);
    }

    #[test]
    fn the_agent_tells_only_what_is_shown() {
        let mut model = Model::new(Setup::default(), (80, 24), Look::Dark);
        assert_eq!(model.subscription(), Subscription { overview: true, ..Subscription::default() });
        model.nav.go(Screen::Shards);
        let of_cursor = Page { count: 1, ..Page::default() };
        assert_eq!(model.subscription().page, Some(of_cursor), "the chosen row");
        (model.shards.table, model.shards.only_bad, model.shards.filter) = (true, true, "id<9".into());
        let of_table = Page { filter: "id<9 !state=active".into(), count: 19, ..Page::default() };
        assert_eq!(model.subscription().page, Some(of_table));
        model.nav.go(Screen::Shard(3));
        assert!(model.subscription().map && model.subscription().page.is_none());
        assert_eq!(model.subscription().detail, Some(3));
        model.nav.go(Screen::Events);
        let Subscription { map, tail, logs, .. } = model.subscription();
        assert_eq!((map, tail, logs), (false, Some(Tail::default()), None));
        model.nav.go(Screen::Logs);
        assert_eq!((model.subscription().tail, model.subscription().logs), (None, Some(LogLevel::Info)));
    }
}
