//! Scripts of operators, in rhai, on a snapshot of the agent.
//!
//! Contract: a script reads one [`Snapshot`] and nothing else: no file, network, clock, environment or secret. What it
//! asks to change is noted as commands, valid by the grammar, and nothing is done here. It ends within [`Limits`],
//! whatever it tries, on a thread of its own with a stack that its deepest structures fit into.

mod engine;
mod help;
mod object;
mod show;
mod table;
#[cfg(test)]
mod tests;
mod trouble;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use pilothouse_shared::command::Command;

pub use self::help::reference;
pub use self::trouble::EvalError;

use crate::telemetry::snapshot::Snapshot;

/// Bytes of a script.
const LONGEST_SCRIPT: usize = 16 * 1024;
/// Reserved for the thread of a script, and used only as far as it is deep: arrays within one another, and long sums, are
/// followed recursively, and the limits allow some ten thousand of them.
const STACK: usize = 128 << 20;

/// Where a script ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// How long it may run.
    pub time: Duration,
    /// Steps of the interpreter.
    pub operations: u64,
    /// Bytes by which the memory of the whole process may grow meanwhile. What one step can take is bounded by the
    /// sizes of texts, arrays and maps.
    pub memory: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { time: Duration::from_secs(1), operations: 500_000, memory: 32 << 20 }
    }
}

/// What came of a script.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Evaluated {
    /// Its value as text or table; empty for none.
    pub value: String,
    /// What it printed.
    pub printed: String,
    /// What it asks to do, in order.
    pub commands: Vec<Command>,
}

/// Runs `script` on `snapshot`; blocks until it has ended.
///
/// # Errors
/// [`EvalError`]: what is wrong, and where.
pub fn eval(script: &str, snapshot: &Arc<Snapshot>, limits: &Limits) -> Result<Evaluated, EvalError> {
    apart(script, || engine::run(script, Arc::clone(snapshot), limits))
}

/// Whether `script` can be read; it is not run.
///
/// # Errors
/// [`EvalError`]: what is wrong, and where.
pub fn check(script: &str) -> Result<(), EvalError> {
    apart(script, || engine::check(script))
}

fn apart<T: Send>(script: &str, work: impl FnOnce() -> Result<T, EvalError> + Send) -> Result<T, EvalError> {
    if script.len() > LONGEST_SCRIPT {
        return Err(EvalError::new(format!("a script has {} KiB at most", LONGEST_SCRIPT / 1024)));
    }
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("eval".to_owned()).stack_size(STACK).spawn_scoped(scope, work);
        let thread = thread.map_err(|error| EvalError::new(format!("no thread for the script: {error}")))?;
        thread.join().unwrap_or_else(|_| Err(EvalError::new("the interpreter failed at this script".to_owned())))
    })
}
