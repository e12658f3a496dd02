//! Commands about sinks: orders to them, and their dead letters.

use std::sync::Arc;

use pilothouse_shared::command::{Letters, SinkOrder as Asked};

use super::dispatch::PATIENCE;
use super::refused::Refused;
use super::{Control, text};
use crate::sinks::SinkOrder;
use crate::sinks::dead::DeadLetters;

/// Dead letters that are told at a time.
const TOLD: usize = 20;

impl Control {
    pub(super) async fn order(&self, name: &str, asked: Asked) -> Result<String, Refused> {
        self.sink(name)?;
        let (order, answer) = match asked {
            Asked::Pause => (SinkOrder::Pause, "begins no delivery any more; events go to its spool until `resume`"),
            Asked::Resume => (SinkOrder::Resume, "delivers, its backlog at the usual pace"),
            Asked::Drain => (SinkOrder::Drain, "delivers its backlog as fast as the bot takes it; `resume` ends that"),
            Asked::Purge => (SinkOrder::Purge, "throws its backlog away; the count stands in `status`"),
        };
        match tokio::time::timeout(PATIENCE, self.shards.order(name, order)).await {
            Ok(Ok(())) => Ok(format!("sink {name} {answer}")),
            _ => Err(Refused::Unreachable { done: 0, of: 1 }),
        }
    }

    pub(super) async fn dead(&self, name: &str, what: Letters) -> Result<String, Refused> {
        let letters = Arc::clone(self.sink(name)?);
        match what {
            Letters::List => {
                let (count, newest) = (letters.count(), on_disk(move || letters.list(TOLD)).await?);
                Ok(text::letters(name, count, &newest))
            }
            Letters::Purge => {
                let count = on_disk(move || letters.purge()).await?;
                Ok(format!("{count} dead letters of {name} are thrown away"))
            }
            Letters::Resend => self.resend(name, letters).await,
        }
    }

    async fn resend(&self, name: &str, letters: Arc<DeadLetters>) -> Result<String, Refused> {
        let busy = |_| Refused::Letters("they are being delivered again just now, try again then".to_owned());
        let _alone = letters.resending.try_lock().map_err(busy)?;
        let mut count = 0;
        let source = Arc::clone(&letters);
        for number in on_disk(move || source.put_aside()).await? {
            let source = Arc::clone(&letters);
            let again = on_disk(move || source.read(number)).await?;
            let of = again.len();
            self.shards.resend(name, again).await.map_err(|_| Refused::Unreachable { done: count, of: count + of })?;
            let source = Arc::clone(&letters);
            on_disk(move || source.sent(number)).await?;
            count += of;
        }
        Ok(format!("{count} dead letters of {name} are delivered again, behind its backlog"))
    }

    pub(super) fn sink(&self, name: &str) -> Result<&Arc<DeadLetters>, Refused> {
        let known = self.dead_letters.iter().find(|letters| letters.name() == name);
        known.ok_or_else(|| Refused::NoSuchSink {
            name: name.to_owned(),
            known: self.dead_letters.iter().map(|letters| letters.name().to_owned()).collect(),
        })
    }
}

/// Works on files beside the runtime.
async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> Result<T, Refused> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.unwrap_or_else(|fault| Err(std::io::Error::other(fault)));
    done.map_err(|error| Refused::Letters(error.to_string()))
}
