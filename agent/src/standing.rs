//! Tasks that stand as long as their worker. One that fails ends its worker, and with it the agent: without it events would
//! neither be delivered nor be stored, and after a restart Discord repeats what was not confirmed.

use std::panic::AssertUnwindSafe;
use std::rc::Rc;

use futures_util::FutureExt;
use tokio::sync::Notify;

thread_local! {
    static FAILED: Rc<Notify> = Rc::default();
}

/// The task, watched; `what` is logged when it fails.
pub(crate) async fn standing(what: &'static str, task: impl Future<Output = ()>) {
    if AssertUnwindSafe(task).catch_unwind().await.is_err() {
        tracing::error!("{what} panicked: the agent ends, and can be started again");
        FAILED.with(|failed| failed.notify_one());
    }
}

/// Ready once a standing task of this thread has failed.
pub(crate) async fn failed() {
    let failed = FAILED.with(Rc::clone);
    failed.notified().await;
}
