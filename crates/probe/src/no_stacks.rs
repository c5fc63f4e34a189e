//! Replaces `stacks` on targets on which the stacks of other threads cannot be read.

use std::sync::Arc;

use crate::report::Class;
use crate::slot::{Polling, Slot};
use crate::stack::Stack;

pub(crate) use self::NoStacks as Stacks;

/// A stack reader that cannot be created.
#[derive(Debug)]
pub(crate) enum NoStacks {}

impl NoStacks {
    pub(crate) fn new() -> Option<Self> {
        None
    }

    pub(crate) fn of_poll(&mut self, _: &Arc<Slot>, _: Polling, _: Class) -> Option<Stack> {
        match *self {}
    }

    pub(crate) fn of_thread(&mut self, _: &Arc<Slot>, _: usize, _: Class) -> Option<Stack> {
        match *self {}
    }
}
