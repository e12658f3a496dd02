//! Scripts: evaluated apart, on the newest snapshot; what they ask for is planned like any other change.

use std::sync::Arc;

use pilothouse_shared::command::Command;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::Control;
use super::dispatch::PATIENCE;
use super::refused::Refused;
use crate::config::Script;
use crate::eval::{self, EvalError, Evaluated, Limits};

/// Scripts that run at a time.
const AT_ONCE: usize = 2;

/// The scripts of the configuration.
#[derive(Debug)]
pub(super) struct Scripts {
    named: Vec<Script>,
    places: Arc<Semaphore>,
}

impl Scripts {
    /// With these as named commands.
    pub(super) fn new(named: Vec<Script>) -> Self {
        Self { named, places: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Control {
    /// What a script answers, without secrets, and the changes that it asks for.
    pub(super) async fn eval(&self, script: &str) -> Result<(String, Vec<Command>), Refused> {
        let Evaluated { value, printed, commands } = self.evaluate(script).await?;
        let parts: Vec<String> = [printed, value].into_iter().filter(|part| !part.is_empty()).collect();
        let said = if parts.is_empty() && commands.is_empty() { "()".to_owned() } else { parts.join("\n") };
        Ok((self.secrets.mask(&said), commands))
    }

    /// The script of this name.
    pub(super) fn script(&self, name: &str) -> Result<&str, Refused> {
        let named = &self.scripts.named;
        match named.iter().find(|script| script.name == name) {
            Some(script) => Ok(&script.text),
            None => {
                let known = named.iter().map(|script| script.name.clone()).collect();
                Err(Refused::NoSuchScript { name: name.to_owned(), known })
            }
        }
    }

    /// A line for each script.
    pub(super) fn list_scripts(&self) -> String {
        list(&self.scripts.named)
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
        evaluated.map_err(|error| Refused::Eval(error.map(|said| self.secrets.mask(said))))
    }
}

fn list(named: &[Script]) -> String {
    if named.is_empty() {
        return "no script is configured: write them as [scripts] into the configuration".to_owned();
    }
    let first = |script: &Script| script.text.lines().next().unwrap_or_default().to_owned();
    named.iter().map(|script| format!("{}: {}", script.name, first(script))).collect::<Vec<_>>().join("\n")
}
