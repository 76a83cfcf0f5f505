//! Taking a lock.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A poisoned lock is taken all the same: the model has no half-done state that outlives a call.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
