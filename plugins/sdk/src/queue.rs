//! The executor: turns the host's completion queue into futures.
//!
//! A component is one thread and runs one plugin once, so there is one queue and one root task.
//! A delivered operation wakes only the future that waits for it; with `FuturesUnordered` in
//! between, five thousand tasks cost one poll per completion, not five thousand.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

#[cfg(target_arch = "wasm32")]
pub(crate) use crate::bindings::groundcrew::host::operations;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::testing::run::operations;
use crate::{Error, Result};

/// What the queue knows of a submitted operation.
enum Submitted {
    /// In flight; the waker of the future that waits for it, once that was polled.
    Waiting(Option<Waker>),
    /// `next` has named it; its result can be taken.
    Delivered,
}

thread_local! {
    static QUEUE: RefCell<BTreeMap<u64, Submitted>> = const { RefCell::new(BTreeMap::new()) };
}

/// A submitted operation. It resolves to its result; dropped before that, the host forgets it,
/// although the effect itself goes on.
///
/// The result is fetched through a function pointer of this very operation, not through a table
/// of all of them, which would make every component import everything.
#[must_use = "a submitted operation does nothing for you until it is awaited"]
pub struct Operation<T> {
    id: u64,
    take: fn(u64) -> Result<T>,
    taken: bool,
}

impl<T> Operation<T> {
    /// Follows the operation `id`, whose result `take` fetches.
    pub(crate) fn new(id: u64, take: fn(u64) -> Result<T>) -> Self {
        QUEUE.with_borrow_mut(|queue| queue.insert(id, Submitted::Waiting(None)));
        Self {
            id,
            take,
            taken: false,
        }
    }
}

impl<T> std::fmt::Debug for Operation<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operation")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl<T> Future for Operation<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let delivered = QUEUE.with_borrow_mut(|queue| match queue.get_mut(&self.id) {
            Some(Submitted::Waiting(waker)) => {
                *waker = Some(context.waker().clone());
                false
            }
            Some(Submitted::Delivered) | None => queue.remove(&self.id).is_some(),
        });
        assert!(!self.taken, "an operation was polled after it was done");
        if !delivered {
            return Poll::Pending;
        }
        self.taken = true;
        Poll::Ready((self.take)(self.id))
    }
}

impl<T> Drop for Operation<T> {
    fn drop(&mut self) {
        if !self.taken {
            QUEUE.with_borrow_mut(|queue| queue.remove(&self.id));
            operations::forget(self.id);
        }
    }
}

/// Remembers that the root task has something to do.
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs a future to its end. Blocks only in `next`.
///
/// # Errors
///
/// If the future waits for something that is not an operation of the host: nothing would ever
/// wake it.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let mut future = pin!(future);
    let flag = Arc::new(Flag(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&flag));
    let mut context = Context::from_waker(&waker);
    loop {
        while flag.0.swap(false, Ordering::Relaxed) {
            if let Poll::Ready(result) = future.as_mut().poll(&mut context) {
                return result;
            }
        }
        let delivered = operations::next(u32::MAX);
        if delivered.is_empty() {
            return Err(Error::other(
                "deadlock",
                "the plugin waits, and no operation is in flight",
            ));
        }
        delivered.into_iter().for_each(deliver);
    }
}

/// Forgets what an earlier test left behind.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn reset() {
    QUEUE.with_borrow_mut(BTreeMap::clear);
}

/// Marks an operation as done and wakes who waits for it.
fn deliver(id: u64) {
    let waker = QUEUE.with_borrow_mut(|queue| {
        let submitted = queue.get_mut(&id)?;
        match std::mem::replace(submitted, Submitted::Delivered) {
            Submitted::Waiting(waker) => waker,
            Submitted::Delivered => None,
        }
    });
    if let Some(waker) = waker {
        waker.wake();
    }
}
