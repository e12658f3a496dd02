//! The generator, pure: draws seeded events and puts each into the log of every session that should get it.

use std::collections::VecDeque;

use bytes::Bytes;
use fastrand::Rng;

use super::catalog::{About, CATALOG, EventSpec, GUILD_CREATE, GUILD_DELETE};
use super::guilds::Guilds;
use super::template::{Templates, VARIANTS};
use super::values::{LastMessage, Values, draw};
use crate::clock::iso8601;
use crate::gateway::{Body, Entry, Sessions, Terms};
use crate::intents::{MESSAGE_CONTENT, wants};
use crate::ledger::Ledger;

/// One event in this many is the outage of a guild.
const OUTAGE_EVERY: u32 = 20_000;
const OUTAGE_US: u64 = 500_000;
/// Draws of a type until one is wanted by the intents of some session.
const TRIES: usize = 48;

/// Draws events from one seed.
#[derive(Debug)]
pub(crate) struct Generator {
    rng: Rng,
    templates: Templates,
    /// Catalogue index by thousandth.
    mix: Vec<u8>,
    last: Vec<LastMessage>,
    out: Vec<bool>,
    outages: VecDeque<(u64, u32)>,
    serial: u64,
    now: String,
    takers: Vec<usize>,
    bodies: [Option<Bytes>; VARIANTS * 2],
    scratch: Vec<u8>,
}

/// What the generator writes to.
pub(crate) struct Target<'a> {
    pub(crate) guilds: &'a Guilds,
    pub(crate) sessions: &'a mut Sessions,
    pub(crate) ledger: &'a mut Ledger,
    pub(crate) now_us: u64,
}

impl Generator {
    pub(crate) fn new(seed: u64, guilds: u32) -> Self {
        let parts = |(kind, spec): (usize, &EventSpec)| std::iter::repeat_n(kind as u8, spec.share as usize);
        Self {
            rng: Rng::with_seed(seed),
            templates: Templates::compile(),
            mix: CATALOG.iter().enumerate().flat_map(parts).collect(),
            last: vec![LastMessage::default(); guilds as usize],
            out: vec![false; guilds as usize],
            outages: VecDeque::new(),
            serial: 0,
            now: String::new(),
            takers: Vec::new(),
            bodies: Default::default(),
            scratch: Vec::with_capacity(4096),
        }
    }

    /// Whether a guild is in an outage: it is announced as unavailable to new sessions.
    pub(crate) fn is_out(&self, guild: u32) -> bool {
        self.out[guild as usize]
    }

    /// Begins or ends an outage; what the sessions are told of it is the caller's business.
    pub(crate) fn set_out(&mut self, guild: u32, out: bool) {
        self.out[guild as usize] = out;
    }

    /// Sends up to `count` events. One whose shard has no session happens unseen and is not counted.
    pub(crate) fn send(&mut self, count: usize, target: &mut Target<'_>) {
        self.now = iso8601(target.now_us);
        self.end_outages(target);
        for _ in 0..count {
            self.send_one(target);
        }
    }

    fn send_one(&mut self, target: &mut Target<'_>) {
        let guild = self.pick_guild(target.guilds);
        if self.out[guild as usize] || !target.guilds.is_in(guild) {
            return;
        }
        if self.rng.u32(..OUTAGE_EVERY) == 0 {
            return self.begin_outage(guild, target);
        }
        for _ in 0..TRIES {
            let kind = self.mix[self.rng.usize(..self.mix.len())];
            if self.find_takers(kind, guild, target) {
                return self.dispatch(kind, guild, target);
            }
            if !target.sessions.has_shard_of(guild, target.guilds) {
                return;
            }
        }
    }

    /// Squared: a few guilds are much busier than most.
    fn pick_guild(&mut self, guilds: &Guilds) -> u32 {
        let busy = self.rng.f64() * self.rng.f64();
        (busy * f64::from(guilds.count())) as u32
    }

    fn find_takers(&mut self, kind: u8, guild: u32, target: &Target<'_>) -> bool {
        let spec = &CATALOG[kind as usize];
        let wanted = |terms: &Terms| wants(terms.intents, spec.intents);
        self.takers.clear();
        match spec.direct {
            true => target.sessions.takers_on_shard_zero(wanted, &mut self.takers),
            false => target.sessions.takers_of(guild, target.guilds, wanted, &mut self.takers),
        }
        !self.takers.is_empty()
    }

    fn dispatch(&mut self, kind: u8, guild: u32, target: &mut Target<'_>) {
        let spec = &CATALOG[kind as usize];
        let place = if spec.direct { target.guilds.count() } else { guild };
        let event = target.ledger.send(place, kind, self.takers.len(), target.now_us);
        self.serial += 1;
        let now = std::mem::take(&mut self.now);
        let mut values = draw(&mut self.rng, target.guilds, guild, self.last[guild as usize], &now);
        values.event = event;
        values.sent_us = target.now_us;
        values.id = snowflake(target.now_us, self.serial);
        self.relate(spec.about, guild, &mut values);
        self.bodies = Default::default();
        for index in 0..self.takers.len() {
            self.give(self.takers[index], kind, guild, &values, target);
        }
        self.now = now;
    }

    fn relate(&mut self, about: About, guild: u32, values: &mut Values<'_>) {
        let last = &mut self.last[guild as usize];
        match about {
            About::NewMessage => *last = LastMessage { id: values.id, text: values.text },
            About::Edit => {
                last.text = values.text;
                values.edited = true;
            }
            About::Embed => values.text = last.text,
            About::Nothing | About::LastMessage | About::Outage => {}
        }
    }

    fn give(&mut self, key: usize, kind: u8, guild: u32, values: &Values<'_>, target: &mut Target<'_>) {
        let terms = &target.sessions.get(key).terms;
        let (variant, with_text) = (terms.variant, terms.intents & MESSAGE_CONTENT != 0 || terms.version < 10);
        let cached = &mut self.bodies[variant * 2 + usize::from(with_text)];
        let body = cached.get_or_insert_with(|| {
            self.scratch.clear();
            if kind == GUILD_CREATE {
                let counted = Some((values.event, values.sent_us));
                target.guilds.write_create(guild, variant, counted, &mut self.scratch);
            } else {
                self.templates.render(kind, variant, with_text, values, &mut self.scratch);
            }
            Bytes::copy_from_slice(&self.scratch)
        });
        let body = Body::Json(body.clone());
        let kind = CATALOG[kind as usize].name;
        target.sessions.push(key, Entry { at_us: target.now_us, event: values.event, kind, body });
    }

    fn begin_outage(&mut self, guild: u32, target: &mut Target<'_>) {
        self.out[guild as usize] = true;
        self.outages.push_back((target.now_us + OUTAGE_US, guild));
        if self.find_takers(GUILD_DELETE, guild, target) {
            self.dispatch(GUILD_DELETE, guild, target);
        }
    }

    fn end_outages(&mut self, target: &mut Target<'_>) {
        while let Some((_, guild)) = self.outages.pop_front_if(|(until, _)| *until <= target.now_us) {
            self.out[guild as usize] = false;
            if target.guilds.is_in(guild) && self.find_takers(GUILD_CREATE, guild, target) {
                self.dispatch(GUILD_CREATE, guild, target);
            }
        }
    }
}

/// A new id in Discord's form: milliseconds since 2015 above 22 bits that make it unique.
fn snowflake(now_us: u64, serial: u64) -> u64 {
    const DISCORD_EPOCH_MS: u64 = 1_420_070_400_000;
    ((now_us / 1000).saturating_sub(DISCORD_EPOCH_MS) << 22) | (serial & 0x3F_FFFF)
}
