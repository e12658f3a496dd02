//! The commands that run scripts: evaluated apart on the newest snapshot, then what they ask for is done.

use std::sync::Arc;

use pilothouse_shared::command::Command;
use pilothouse_shared::wire::Role;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::Control;
use super::dispatch::{PATIENCE, Refused};
use crate::config::{Mask, Script};
use crate::eval::{self, EvalError, Evaluated, Limits};

/// Scripts that run at a time.
const AT_ONCE: usize = 2;

/// The scripts of the configuration, and what none may show.
#[derive(Debug)]
pub struct Scripts {
    named: Vec<Script>,
    mask: Mask,
    places: Arc<Semaphore>,
}

impl Scripts {
    /// With these as named commands; `mask` hides secrets in what is answered.
    pub fn new(named: Vec<Script>, mask: Mask) -> Self {
        Self { named, mask, places: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// `text` without secrets.
    pub(super) fn hide(&self, text: &str) -> String {
        self.mask.hide(text)
    }
}

impl Control {
    pub(super) async fn eval(&self, role: Role, script: &str) -> Result<String, Refused> {
        let Evaluated { value, printed, commands } = self.evaluate(script).await?;
        let mut parts: Vec<String> = [printed, value].into_iter().filter(|part| !part.is_empty()).collect();
        parts.extend(self.perform(role, commands).await?);
        let said = if parts.is_empty() { "()".to_owned() } else { parts.join("\n") };
        Ok(self.hide(&said))
    }

    pub(super) async fn run_script(&self, role: Role, name: Option<&str>) -> Result<String, Refused> {
        let named = &self.scripts.named;
        let Some(name) = name else { return Ok(list(named)) };
        let Some(script) = named.iter().find(|script| script.name == name) else {
            let known = named.iter().map(|script| script.name.clone()).collect();
            return Err(Refused::NoSuchScript { name: name.to_owned(), known });
        };
        self.eval(role, &script.text).await
    }

    async fn evaluate(&self, script: &str) -> Result<Evaluated, Refused> {
        let place = timeout(PATIENCE, Arc::clone(&self.scripts.places).acquire_owned()).await;
        let Ok(Ok(place)) = place else { return Err(Refused::Busy(AT_ONCE)) };
        let (script, snapshot) = (script.to_owned(), self.snapshot());
        let run = spawn_blocking(move || {
            let evaluated = eval::eval(&script, &snapshot, &Limits::default());
            drop(place);
            evaluated
        });
        let evaluated = run.await.unwrap_or_else(|fault| Err(EvalError::from(fault)));
        evaluated.map_err(|error| Refused::Eval(error.map(|said| self.hide(said))))
    }

    /// Does what a script asked for, in order, until one is refused; a line for each.
    async fn perform(&self, role: Role, commands: Vec<Command>) -> Result<Vec<String>, Refused> {
        if let Some(command) = commands.iter().find(|command| role < command.role()) {
            return Err(Refused::Role(command.clone()));
        }
        let (mut done, of) = (Vec::new(), commands.len());
        for command in commands {
            match Box::pin(self.effect(role, &command)).await {
                Ok(said) => done.push(format!("{command}: {said}")),
                Err(why) => return Err(Refused::Stopped { done: done.len(), of, why: Box::new(why) }),
            }
        }
        Ok(done)
    }
}

fn list(named: &[Script]) -> String {
    if named.is_empty() {
        return "no script is configured: write them as [scripts] into the configuration".to_owned();
    }
    let first = |script: &Script| script.text.lines().next().unwrap_or_default().to_owned();
    named.iter().map(|script| format!("{}: {}", script.name, first(script))).collect::<Vec<_>>().join("\n")
}
