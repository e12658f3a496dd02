//! The one loop: signal, key, link and timer come in, are applied together, and a frame goes out when it is due.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant as Timer, sleep_until};

use crate::link::{self, Order, Peer};
use crate::message::{Effect, LinkEvent, Message};
use crate::model::{Look, Model, Setup};
use crate::screen::{self, Screen};
use crate::signals::{self, Asked, Signals};
use crate::theme::{Depth, Theme};
use crate::{input, update, view};

/// Data may change the picture this often; keys at once.
const FRAME: Duration = Duration::from_millis(100);

/// Terminals rearrange what they show while they are resized, some later than they tell.
const SETTLE: Duration = Duration::from_millis(250);

/// How the terminal is used.
#[derive(Clone, Debug)]
pub struct Options {
    /// The theme to begin with.
    pub look: Look,
    /// What the terminal can paint.
    pub depth: Depth,
    /// Only ASCII.
    pub ascii: bool,
    /// Whether the mouse is listened to.
    pub mouse: bool,
    /// Fails after the first frame, to see that the terminal survives it.
    pub fail: bool,
}

/// Unix milliseconds that never run backwards.
#[derive(Clone, Copy)]
struct Clock {
    started: Instant,
    at_start: u64,
}

impl Clock {
    fn new() -> Self {
        let at_start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Self { started: Instant::now(), at_start: u64::try_from(at_start).unwrap_or_default() }
    }

    fn now(&self) -> u64 {
        self.at_start + u64::try_from(self.started.elapsed().as_millis()).unwrap_or_default()
    }

    fn timer(&self, at: u64) -> Timer {
        Timer::from_std(self.started + Duration::from_millis(at.saturating_sub(self.at_start)))
    }
}

/// What came in.
enum Event {
    Message(Message),
    Asked(Asked),
    Timer,
}

struct App {
    model: Model,
    options: Options,
    screen: Screen,
    clock: Clock,
    orders: Sender<Order>,
    /// A frame is owed; a key's at once.
    dirty: bool,
    urgent: bool,
    drawn: Option<Instant>,
    /// When the size is no longer expected to change.
    settled: Option<Instant>,
    exit: Option<i32>,
}

/// Runs the terminal until the operator leaves; returns the exit code.
///
/// # Errors
/// Where the terminal cannot be used.
pub async fn run(peer: Peer, options: Options) -> anyhow::Result<i32> {
    let mut signals = Signals::new().context("signal handlers")?;
    let size = ratatui::crossterm::terminal::size().context("the terminal does not tell its size")?;
    let setup = Setup { address: peer.address.shown.clone(), half: !options.ascii && options.depth != Depth::None };
    let (orders, from_app) = channel(link::ROOM);
    let (to_app, mut events) = channel(link::ROOM);
    let (to_keys, mut keys) = channel(link::ROOM);
    let screen = Screen::enter(size, options.mouse).context("the terminal cannot be switched to raw mode")?;
    let model = Model::new(setup, size, options.look);
    let clock = Clock::new();
    let mut app = App {
        model,
        options,
        screen,
        clock,
        orders,
        dirty: true,
        urgent: true,
        drawn: None,
        settled: None,
        exit: None,
    };
    app.first_frame()?;
    tokio::spawn(link::run(peer, from_app, to_app));
    input::spawn(to_keys);
    let code = app.steer(&mut signals, &mut keys, &mut events).await;
    screen::leave();
    code
}

impl App {
    /// Before anything is asked of the network.
    fn first_frame(&mut self) -> anyhow::Result<()> {
        let connecting = LinkEvent::Connecting { attempt: 1, limit_ms: 10_000 };
        self.apply(Event::Message(Message::Link(connecting)))?;
        self.draw()?;
        assert!(!self.options.fail, "this failure was asked for");
        Ok(())
    }

    async fn steer(
        &mut self,
        signals: &mut Signals,
        keys: &mut Receiver<Message>,
        events: &mut Receiver<LinkEvent>,
    ) -> anyhow::Result<i32> {
        loop {
            let wake = self.wake();
            let event = tokio::select! {
                biased;
                asked = signals.next() => Event::Asked(asked),
                Some(message) = keys.recv() => Event::Message(message),
                Some(event) = events.recv() => Event::Message(Message::Link(event)),
                () = sleep_until(wake.unwrap_or_else(Timer::now)), if wake.is_some() => Event::Timer,
            };
            self.apply(event)?;
            while let Ok(message) = keys.try_recv() {
                self.apply(Event::Message(message))?;
            }
            // Bounded, so that a flood of frames does not starve the keys.
            for event in std::iter::from_fn(|| events.try_recv().ok()).take(link::ROOM) {
                self.apply(Event::Message(Message::Link(event)))?;
            }
            if let Some(code) = self.exit {
                return Ok(code);
            }
            if self.dirty && self.due() <= Instant::now() {
                self.draw()?;
            }
        }
    }

    fn apply(&mut self, event: Event) -> anyhow::Result<()> {
        let message = match event {
            Event::Message(message) => message,
            Event::Timer if self.settled.is_some_and(|at| at <= Instant::now()) => return self.repaint_settled(),
            Event::Timer => Message::Tick,
            Event::Asked(Asked::End(number)) => {
                self.exit = Some(128 + number);
                return Ok(());
            }
            Event::Asked(Asked::Stop) => return self.suspend(),
            Event::Asked(Asked::Wake) => return self.repaint(),
            Event::Asked(Asked::Resize) => {
                let (width, height) = ratatui::crossterm::terminal::size().unwrap_or(self.model.size);
                Message::Resize(width, height)
            }
        };
        self.urgent |= !matches!(message, Message::Link(_));
        self.dirty = true;
        if let Message::Resize(width, height) = message {
            self.screen.resize((width, height));
            self.settled = Some(Instant::now() + SETTLE);
        }
        let now = self.clock.now();
        for effect in update::update(&mut self.model, message, now) {
            self.carry_out(effect)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, effect: Effect) -> anyhow::Result<()> {
        let order = match effect {
            Effect::Quit => {
                self.exit = Some(0);
                return Ok(());
            }
            Effect::Suspend => return self.suspend(),
            Effect::Redraw => return self.repaint(),
            Effect::Send(frame) => Order::Send(frame),
            Effect::Reconnect => Order::Reconnect,
        };
        if self.orders.try_send(order).is_err() {
            // What this asks for is asked again with the next message.
            update::update(&mut self.model, Message::Link(LinkEvent::Stuck), self.clock.now());
        }
        Ok(())
    }

    fn suspend(&mut self) -> anyhow::Result<()> {
        screen::leave();
        signals::stop();
        self.repaint()
    }

    /// Takes the terminal (again) and paints everything.
    fn repaint(&mut self) -> anyhow::Result<()> {
        self.screen.take().context("the terminal cannot be switched to raw mode")?;
        let size = ratatui::crossterm::terminal::size().unwrap_or(self.model.size);
        self.screen.resize(size);
        update::update(&mut self.model, Message::Resize(size.0, size.1), self.clock.now());
        (self.dirty, self.urgent) = (true, true);
        Ok(())
    }

    /// The size has not changed for a while: whatever the terminal made of the pictures between is painted over.
    fn repaint_settled(&mut self) -> anyhow::Result<()> {
        self.repaint()?;
        self.settled = None;
        Ok(())
    }

    /// When the next frame may be drawn.
    fn due(&self) -> Instant {
        match self.drawn {
            Some(drawn) if !self.urgent => drawn + FRAME,
            _ => Instant::now(),
        }
    }

    /// When to wake though nothing happens: for a frame that is owed, or a picture that changes by itself.
    fn wake(&self) -> Option<Timer> {
        if self.dirty {
            return Some(Timer::from_std(self.due()));
        }
        let now = self.clock.now();
        let deadline = update::deadline(&self.model, now).map(|at| self.clock.timer(at));
        deadline.into_iter().chain(self.settled.map(Timer::from_std)).min()
    }

    fn draw(&mut self) -> anyhow::Result<()> {
        let theme = Theme::new(self.model.look, self.options.depth, self.options.ascii);
        let now = self.clock.now();
        let model = &self.model;
        self.screen.draw(|buf| view::draw(model, &theme, now, buf)).context("the terminal is gone")?;
        (self.dirty, self.urgent, self.drawn) = (false, false, Some(Instant::now()));
        Ok(())
    }
}
