//! A worker's one connection to a broker: made by the first attempt that needs it, shared by all, made anew once it is lost.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::delivery::Outcome;

/// The connection, where there is one. Whoever attempts holds a share of it, so that losing it ends no other attempt.
pub(super) struct Link<C> {
    current: RefCell<Option<Rc<C>>>,
    /// Held while connecting: when the last attempt to connect failed, and how.
    connecting: Mutex<Option<(Instant, Outcome)>>,
}

impl<C> Link<C> {
    /// Not connected.
    pub(super) fn new() -> Self {
        Self { current: RefCell::default(), connecting: Mutex::default() }
    }

    /// The connection, by `connect` where there is none. Those that waited while it failed share the failure, instead
    /// of trying one after the other.
    pub(super) async fn get(&self, connect: impl Future<Output = Result<C, Outcome>>) -> Result<Rc<C>, Outcome> {
        let asked = Instant::now();
        if let Some(current) = self.current() {
            return Ok(current);
        }
        let mut failed = self.connecting.lock().await;
        if let Some(current) = self.current() {
            return Ok(current);
        }
        if let Some((_, outcome)) = failed.as_ref().filter(|(when, _)| *when >= asked) {
            return Err(outcome.clone());
        }
        match connect.await {
            Ok(made) => Ok(Rc::clone(self.current.borrow_mut().insert(Rc::new(made)))),
            Err(outcome) => {
                *failed = Some((Instant::now(), outcome.clone()));
                Err(outcome)
            }
        }
    }

    /// The next attempt makes another; `lost` itself ends with the last attempt on it.
    pub(super) fn lose(&self, lost: &Rc<C>) {
        self.current.borrow_mut().take_if(|current| Rc::ptr_eq(current, lost));
    }

    fn current(&self) -> Option<Rc<C>> {
        self.current.borrow().clone()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;

    fn failed() -> Outcome {
        Outcome::Failed { reason: "refused".to_owned(), pause: None }
    }

    #[tokio::test]
    async fn one_connects_for_all_that_wait() {
        let (link, tries) = (Link::new(), Cell::new(0));
        let connect = || async {
            tries.set(tries.get() + 1);
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok(tries.get())
        };
        let (one, two) = tokio::join!(link.get(connect()), link.get(connect()));
        let one = one.expect("a connection");
        assert!(Rc::ptr_eq(&one, &two.expect("a connection")));
        link.lose(&one);
        link.lose(&link.get(connect()).await.expect("another"));
        link.lose(&one);
        assert_eq!(tries.get(), 2);
    }

    #[tokio::test]
    async fn those_that_waited_share_a_failure_and_the_next_tries_again() {
        let (link, tries) = (Link::<()>::new(), Cell::new(0));
        let refuse = || async {
            tries.set(tries.get() + 1);
            tokio::time::sleep(Duration::from_millis(1)).await;
            Err(failed())
        };
        let (one, two, three) = tokio::join!(link.get(refuse()), link.get(refuse()), link.get(refuse()));
        assert_eq!((one.err(), two.err(), three.err()), (Some(failed()), Some(failed()), Some(failed())));
        assert_eq!(tries.get(), 1);
        assert_eq!(link.get(refuse()).await.err(), Some(failed()));
        assert_eq!(tries.get(), 2);
    }
}
