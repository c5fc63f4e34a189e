//! What part of a stack to read.

use crate::slot::{Polling, Slot};

/// What part of a thread's stack to read.
#[derive(Clone, Copy, Debug)]
pub(super) enum StackScope {
    /// The frames of this poll. The stack is not read if the poll has ended.
    Poll(Polling),
    /// The frames below this address. The stack is read whatever the thread does.
    Thread(usize),
}

impl StackScope {
    /// Returns whether the thread is still in this poll. Always true for [`Self::Thread`].
    pub(super) fn includes(self, slot: &Slot) -> bool {
        match self {
            Self::Poll(polling) => slot
                .polling()
                .is_some_and(|now| now.started == polling.started),
            Self::Thread(_) => true,
        }
    }

    /// Returns the address at which the frames end.
    pub(super) fn base(self) -> usize {
        match self {
            Self::Poll(polling) => polling.base,
            Self::Thread(base) => base,
        }
    }
}
