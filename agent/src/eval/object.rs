//! PURE: the objects that a script holds: views of one snapshot that can be read, and whose methods are noted as commands.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use pilothouse_shared::command::{Command, word};
use rhai::{Dynamic, EvalAltResult};

use super::show::Capped;
use super::table::{Class, Field, Kind, Later};
use crate::config::nearest::nearest;
use crate::telemetry::snapshot::Snapshot;

/// Changes that one script can ask for.
const MOST_COMMANDS: usize = 1_000;

/// What a function of a script gives.
pub(super) type Fallible<T> = Result<T, Box<EvalAltResult>>;

/// What a script looks at, and what it asked for.
#[derive(Debug)]
pub(super) struct World {
    pub snapshot: Arc<Snapshot>,
    pub commands: RefCell<Vec<Command>>,
    pub printed: RefCell<Capped>,
}

/// One object.
#[derive(Clone)]
pub(super) struct Thing {
    pub world: Rc<World>,
    pub kind: Kind,
    /// Its place in the snapshot.
    pub at: usize,
}

/// Several objects of one kind.
#[derive(Clone)]
pub(super) struct List {
    pub world: Rc<World>,
    pub kind: Kind,
    pub at: Rc<[usize]>,
    /// Whether it was made with every object of its kind, so that a command may say so.
    whole: bool,
}

pub(super) fn wrong(text: impl Into<String>) -> Box<EvalAltResult> {
    text.into().into()
}

impl World {
    pub(super) fn new(snapshot: Arc<Snapshot>) -> Rc<Self> {
        Rc::new(Self { snapshot, commands: RefCell::default(), printed: RefCell::default() })
    }

    pub(super) fn thing(self: &Rc<Self>, kind: Kind) -> Thing {
        Thing { world: Rc::clone(self), kind, at: 0 }
    }

    pub(super) fn list(self: &Rc<Self>, kind: Kind) -> List {
        let count = match kind {
            Kind::Shard => self.snapshot.rows.len(),
            Kind::Sink => self.snapshot.overview.sinks.len(),
            Kind::Stage => self.snapshot.overview.stages.len(),
            Kind::Agent => self.snapshot.overview.agents.len(),
            Kind::Gateway | Kind::Identify | Kind::Resharding => 1,
        };
        List { world: Rc::clone(self), kind, at: (0..count).collect(), whole: true }
    }

    /// Notes a command that does something.
    pub(super) fn command(&self, line: &str) -> Fallible<()> {
        let command = Command::parse(line).map_err(|error| wrong(error.to_string()))?;
        match command {
            Command::Eval { .. } | Command::Run { .. } => Err(wrong("a script cannot run another one")),
            _ if !command.is_audited() => {
                Err(wrong(format!("`{command}` changes nothing: a script reads it from its objects")))
            }
            _ => self.record(command),
        }
    }

    fn record(&self, command: Command) -> Fallible<()> {
        let mut commands = self.commands.borrow_mut();
        if commands.len() == MOST_COMMANDS {
            return Err(wrong(format!(
                "more than {MOST_COMMANDS} changes: choose first and act once, as in shards.filter(|s| …).restart()"
            )));
        }
        commands.push(command);
        Ok(())
    }

    fn perform(&self, class: &Class, subject: &str, name: &str, arguments: &[Dynamic]) -> Fallible<()> {
        if let Some(later) = class.later(name) {
            return Err(cannot(class, later));
        }
        let fits = |count: usize| count == arguments.len();
        let method = class.methods.iter().find(|method| method.name == name && fits(method.arguments.len()));
        let method = method.ok_or_else(|| no_method(class, name, arguments.len()))?;
        let arguments = arguments.iter().map(argument).collect::<Fallible<Vec<_>>>()?;
        let line = fill(method.line, |key| match key.parse::<usize>() {
            Ok(number) => &arguments[number - 1],
            Err(_) => subject,
        });
        self.command(&line)
    }
}

impl Thing {
    pub(super) fn class(&self) -> &'static Class {
        self.kind.class()
    }

    pub(super) fn value(&self, field: &Field) -> Dynamic {
        (field.get)(&self.world.snapshot, self.at)
    }

    pub(super) fn get(&mut self, name: &str) -> Fallible<Dynamic> {
        if self.kind == Kind::Gateway && name == "identify" {
            return Ok(Dynamic::from(self.world.thing(Kind::Identify)));
        }
        let field = self.class().field(name).ok_or_else(|| no_field(self.class(), name))?;
        Ok(self.value(field))
    }

    /// Nothing of one object is set by assignment. An object that comes back is one on which a method was called.
    pub(super) fn set(&mut self, name: &str, value: &Dynamic) -> Fallible<()> {
        let class = self.class();
        match class.later(name) {
            _ if value.is::<Self>() => Ok(()),
            Some(later) => Err(cannot(class, later)),
            None if class.field(name).is_none() => Err(no_field(class, name)),
            None => Err(wrong(format!("{}.{name} can be read only; {}", class.name, methods(class)))),
        }
    }

    pub(super) fn call(&self, name: &str, arguments: &[Dynamic]) -> Fallible<()> {
        let subject = word(&(self.class().subject)(&self.world.snapshot, self.at));
        self.world.perform(self.class(), &subject, name, arguments)
    }
}

impl List {
    /// The same kind of objects, fewer of them or in another order.
    pub(super) fn with(&self, at: impl IntoIterator<Item = usize>) -> Self {
        Self { world: Rc::clone(&self.world), kind: self.kind, at: at.into_iter().collect(), whole: false }
    }

    pub(super) fn thing(&self, at: usize) -> Thing {
        Thing { world: Rc::clone(&self.world), kind: self.kind, at }
    }

    pub(super) fn things(&self) -> impl Iterator<Item = Thing> {
        self.at.iter().map(|at| self.thing(*at))
    }

    fn subject(&self, at: usize) -> String {
        (self.kind.class().subject)(&self.world.snapshot, at)
    }

    /// Shards by their number, everything else by its place.
    pub(super) fn index(&mut self, index: i64) -> Fallible<Thing> {
        let found = match self.kind {
            Kind::Shard => self.at.iter().find(|at| i64::from(self.world.snapshot.rows[**at].id) == index),
            _ => usize::try_from(index).ok().and_then(|index| self.at.get(index)),
        };
        let name = self.kind.class().name;
        found
            .map(|at| self.thing(*at))
            .ok_or_else(|| wrong(format!("there is no {name} {index} in this list of {self}")))
    }

    pub(super) fn named(&mut self, name: &str) -> Fallible<Thing> {
        let class = self.kind.class();
        let named = self.kind != Kind::Shard;
        if let Some(at) = self.at.iter().find(|at| named && self.subject(**at) == name) {
            return Ok(self.thing(*at));
        }
        if class.field(name).is_some() {
            return Err(wrong(format!(
                "{name} is a field of one {0}: {1}, or map(|s| s.{name})",
                class.name, class.reached
            )));
        }
        let known = self.at.iter().filter(|_| named).map(|at| self.subject(*at)).collect::<Vec<_>>();
        let known = if known.is_empty() { String::new() } else { format!(": there is {}", known.join(", ")) };
        Err(wrong(format!("no {} is called {name}{known}", class.name)))
    }

    /// `stages.drop = true`. An object that comes back is one on which a method was called.
    pub(super) fn set(&mut self, name: &str, value: &Dynamic) -> Fallible<()> {
        if value.is::<Thing>() {
            return Ok(());
        }
        let thing = self.named(name)?;
        match value.as_bool() {
            Ok(on) if self.kind == Kind::Stage => thing.call(if on { "on" } else { "off" }, &[]),
            _ if self.kind == Kind::Stage => Err(wrong("a stage is set to true or false")),
            _ => Err(wrong(format!("a {} is not assigned to; {}", thing.class().name, methods(thing.class())))),
        }
    }

    /// One command for all of them.
    pub(super) fn call(&self, name: &str, arguments: &[Dynamic]) -> Fallible<()> {
        let class = self.kind.class();
        if self.kind != Kind::Shard {
            return Err(wrong(format!("{name} is done by one {}: {}", class.name, class.reached)));
        }
        if self.at.is_empty() {
            return Err(wrong(format!("the list is empty: no shard to {name}")));
        }
        let ids = self.at.iter().map(|at| self.world.snapshot.rows[*at].id);
        let subject = if self.whole { "*".to_owned() } else { ranges(ids) };
        self.world.perform(class, &subject, name, arguments)
    }

    /// A field by its name, of which a list can have the sum or the top.
    pub(super) fn field(&self, name: &str) -> Fallible<&'static Field> {
        self.kind.class().field(name).ok_or_else(|| no_field(self.kind.class(), name))
    }
}

impl IntoIterator for List {
    type Item = Thing;
    type IntoIter = std::vec::IntoIter<Thing>;

    fn into_iter(self) -> Self::IntoIter {
        self.things().collect::<Vec<_>>().into_iter()
    }
}

impl fmt::Display for Thing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = self.class();
        match self.kind {
            Kind::Gateway | Kind::Identify | Kind::Resharding => out.write_str(class.name),
            _ => write!(out, "{} {}", class.name, (class.subject)(&self.world.snapshot, self.at)),
        }
    }
}

impl fmt::Display for List {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, name) = (self.at.len(), self.kind.class().name);
        write!(out, "{count} {name}{}", if count == 1 { "" } else { "s" })
    }
}

fn argument(value: &Dynamic) -> Fallible<String> {
    match (value.as_int(), value.clone().into_immutable_string()) {
        (Ok(number), _) => Ok(number.to_string()),
        (_, Ok(text)) => Ok(word(&text)),
        _ => Err(wrong(format!("an argument is a number or a text, not {}", value.type_name()))),
    }
}

/// The template with each `{key}` replaced, in one pass: what is put in is not looked at again.
fn fill<'a>(template: &'a str, value: impl Fn(&'a str) -> &'a str) -> String {
    let mut parts = template.split('{');
    let mut line = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (key, rest) = part.split_once('}').expect("the table closes its braces");
        line.push_str(value(key));
        line.push_str(rest);
    }
    line
}

/// `0-15,17`
fn ranges(ids: impl Iterator<Item = u32>) -> String {
    let mut ids: Vec<u32> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    let groups = ids.chunk_by(|a, b| a + 1 == *b).map(|group| match group {
        [.., last] if group.len() > 1 => format!("{}-{last}", group[0]),
        _ => group[0].to_string(),
    });
    groups.collect::<Vec<_>>().join(",")
}

fn cannot(class: &Class, later: &Later) -> Box<EvalAltResult> {
    wrong(format!("this agent cannot change {}.{} while it runs: {}", class.name, later.name, later.instead))
}

fn no_field(class: &Class, name: &str) -> Box<EvalAltResult> {
    let names = || class.fields.iter().map(|field| field.name);
    match nearest(name, names()) {
        Some(near) => wrong(format!("{} has no field {name}: did you mean {near}?", class.name)),
        None => wrong(format!("{} has no field {name}: it has {}", class.name, names().collect::<Vec<_>>().join(", "))),
    }
}

fn no_method(class: &Class, name: &str, count: usize) -> Box<EvalAltResult> {
    wrong(format!("{} has no method {name} with {count} arguments; {}", class.name, methods(class)))
}

fn methods(class: &Class) -> String {
    if class.methods.is_empty() {
        return "it has no methods".to_owned();
    }
    let calls = class.methods.iter().map(|method| format!("{}({})", method.name, method.arguments.join(", ")));
    format!("it has {}", calls.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_become_the_shortest_selector() {
        assert_eq!(ranges([4, 0, 1, 2, 9, 4].into_iter()), "0-2,4,9");
        assert_eq!(ranges([7].into_iter()), "7");
    }

    #[test]
    fn what_is_filled_in_is_not_looked_at_again() {
        let filled = fill("a {it} {1} {2}", |key| match key {
            "it" => "{1}",
            "1" => "{2}",
            _ => "x",
        });
        assert_eq!(filled, "a {1} {2} x");
    }
}
