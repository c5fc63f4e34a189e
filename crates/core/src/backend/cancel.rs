//! Cancellation of blocking calls.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

type Hook = Box<dyn FnOnce() + Send>;

/// A handle with which another thread can cancel a blocking call.
///
/// The blocking call registers a hook with [`on_cancel`](Self::on_cancel). The hook interrupts the call, for
/// example by shutting down a socket. Clones share one state.
///
/// ```
/// use inflight_core::Cancel;
///
/// let cancel = Cancel::new();
/// let _registered = cancel.on_cancel(|| { /* shut down the socket */ });
/// cancel.cancel();
/// assert!(cancel.is_cancelled());
/// ```
#[derive(Clone, Default)]
pub struct Cancel(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    cancelled: bool,
    next_key: u64,
    hooks: Vec<(u64, Hook)>,
}

impl State {
    /// Takes the hook that was registered first.
    fn next_hook(&mut self) -> Option<(u64, Hook)> {
        (!self.hooks.is_empty()).then(|| self.hooks.remove(0))
    }
}

impl Cancel {
    /// Creates a handle for a call that is not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels the blocking call and runs its hooks on this thread. Does nothing if the call is already
    /// cancelled.
    pub fn cancel(&self) {
        self.lock().cancelled = true;
        // Takes one hook at a time, so that a guard can remove a hook while another hook runs.
        loop {
            let hook = self.lock().next_hook();
            match hook {
                Some((_, hook)) => hook(),
                None => return,
            }
        }
    }

    /// Returns whether [`cancel`](Self::cancel) was called.
    pub fn is_cancelled(&self) -> bool {
        self.lock().cancelled
    }

    /// Registers `hook`, which runs when the call is cancelled. If the call is already cancelled,
    /// the hook runs immediately. Dropping the guard removes the hook.
    pub fn on_cancel(&self, hook: impl FnOnce() + Send + 'static) -> CancelGuard {
        let mut state = self.lock();
        let key = state.next_key;
        if state.cancelled {
            drop(state);
            hook();
        } else {
            state.next_key += 1;
            state.hooks.push((key, Box::new(hook)));
        }
        CancelGuard {
            cancel: self.clone(),
            key,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // A panic of a hook cannot leave the state invalid, because hooks run outside the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cancel(cancelled: {})", self.is_cancelled())
    }
}

/// A guard that keeps a hook of [`Cancel::on_cancel`] registered.
///
/// For an example, see [`Cancel`].
#[derive(Debug)]
#[must_use = "dropping the guard removes the hook"]
pub struct CancelGuard {
    cancel: Cancel,
    key: u64,
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        let removed = {
            let mut state = self.cancel.lock();
            let position = state.hooks.iter().position(|(key, _)| *key == self.key);
            position.map(|position| state.hooks.remove(position))
        };
        // Dropped outside the lock, because the hook's destructor may use the `Cancel`.
        drop(removed);
    }
}

/// A guard that cancels a call when the guard is dropped. A disarmed guard does nothing.
pub(crate) struct CancelOnDrop(pub(crate) Option<Cancel>);

impl CancelOnDrop {
    pub(crate) fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(cancel) = self.0.take() {
            cancel.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn hooks_run_once_and_a_dropped_guard_removes_its_hook() {
        let count = Arc::new(AtomicUsize::new(0));
        let hook = |n: usize| {
            let count = count.clone();
            move || {
                count.fetch_add(n, Ordering::SeqCst);
            }
        };
        let cancel = Cancel::new();
        let _guard = cancel.on_cancel(hook(1));
        drop(cancel.on_cancel(hook(10)));
        cancel.cancel();
        cancel.cancel();
        let _late = cancel.on_cancel(hook(100));
        assert_eq!(count.load(Ordering::SeqCst), 101);
    }
}
