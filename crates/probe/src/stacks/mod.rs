//! Reads the stack of a stuck thread from another thread (on Linux on x86-64).
//!
//! The stack of a thread that waits in a system call is read from `/proc`, without a signal. A thread
//! that computes gets a signal, whose handler copies its registers and stack, because no other thread
//! can read them while they change. The watchdog's thread unwinds the copy.

mod code;
mod computing;
mod maps;
mod memory;
mod scope;
mod symbols;
mod unwind;
mod waiting;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::report::Class;
use crate::slot::{Polling, Slot};
use crate::stack::Stack;

use code::Code;
use maps::around;
use memory::Memory;
use scope::StackScope;
use symbols::Symbols;
use unwind::Snapshot;
use waiting::ThreadState;

/// How often to read the state of a thread until it matches its class.
const TRIES: u32 = 20;
const RETRY_INTERVAL: Duration = Duration::from_micros(200);

/// How many bytes of the stack to read above a frame of the heartbeat's task. The outermost frames of
/// another task that the same loop polls may lie above that frame.
const LOOP_FRAMES: u64 = 4096;

/// Reads the stacks of other threads.
#[derive(Debug)]
pub(crate) struct Stacks {
    memory: Memory,
    code: Code,
    symbols: Symbols,
}

impl Stacks {
    /// Returns `None` if the process may not read its own memory.
    pub(crate) fn new() -> Option<Self> {
        let memory = Memory::open()?;
        let mut code = Code::default();
        // Reads the tables now and not while a thread is stuck.
        code.refresh(&memory, &maps::read().ok()?);
        Some(Self {
            memory,
            code,
            symbols: Symbols::load(),
        })
    }

    /// Returns the stack of a thread that is in this poll. `None` if the poll ends before the stack
    /// is read, or if the stack cannot be read.
    pub(crate) fn of_poll(
        &mut self,
        slot: &Arc<Slot>,
        polling: Polling,
        class: Class,
    ) -> Option<Stack> {
        // The thread's first frame is outside the poll.
        self.read(slot, StackScope::Poll(polling), u64::MAX, class)
    }

    /// Returns the stack of a thread, whatever the thread does, up to some frames above `address`.
    /// `None` if the stack cannot be read.
    pub(crate) fn of_thread(
        &mut self,
        slot: &Arc<Slot>,
        address: usize,
        class: Class,
    ) -> Option<Stack> {
        let root = address as u64;
        let end = around(&maps::read().ok()?, root)?.range.end;
        let end = usize::try_from(end.min(root + LOOP_FRAMES)).ok()?;
        self.read(slot, StackScope::Thread(end), root, class)
    }

    fn read(
        &mut self,
        slot: &Arc<Slot>,
        scope: StackScope,
        root: u64,
        class: Class,
    ) -> Option<Stack> {
        let snapshot = self.snapshot(slot, scope, class)?;
        if self.code.refresh(&self.memory, &maps::read().ok()?) {
            self.symbols = Symbols::default();
        }
        let addresses = self.code.unwind(&self.memory, &snapshot, root);
        let frames = self.symbols.frames(&addresses);
        (!frames.is_empty()).then_some(Stack { frames })
    }

    fn snapshot(&self, slot: &Arc<Slot>, scope: StackScope, class: Class) -> Option<Snapshot> {
        let mut waiting = None;
        for _ in 0..TRIES {
            match waiting::thread_state(&self.memory, slot, scope)? {
                ThreadState::Waiting(snapshot) if class == Class::Computes => {
                    waiting = Some(snapshot)
                }
                ThreadState::Waiting(snapshot) => return Some(snapshot),
                // Only a thread that computes gets a signal, because a signal may make a call fail.
                ThreadState::Running if class == Class::Computes => {
                    let copied = computing::request_snapshot(&self.memory, slot, scope);
                    // The thread may have begun to wait meanwhile.
                    return copied.or_else(|| {
                        match waiting::thread_state(&self.memory, slot, scope)? {
                            ThreadState::Waiting(snapshot) => Some(snapshot),
                            ThreadState::Running => None,
                        }
                    });
                }
                ThreadState::Running => {}
            }
            thread::sleep(RETRY_INTERVAL);
        }
        waiting
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{TryRecvError, channel};
    use std::time::Instant;

    use futures_lite::future::{block_on, yield_now};

    use super::*;
    use crate::probed::FutureExt;
    use crate::slot;
    use crate::stack::Frame;

    fn own_slot() -> Arc<Slot> {
        let thread = crate::cpu::ThreadId::current().number();
        let mut slots = slot::all().into_iter();
        slots.find(|slot| slot.thread.number() == thread).unwrap()
    }

    const TRIES_IN_TEST: usize = 30;

    #[test]
    fn a_poll_that_is_over_is_not_copied() {
        let inside = async {
            let slot = own_slot();
            let mut polling = slot.polling().unwrap();
            let memory = Memory::open().unwrap();
            let snapshot =
                |polling| computing::request_snapshot(&memory, &slot, StackScope::Poll(polling));
            // A request fails while another test makes one, or if the signal is late.
            let mut copies = std::iter::repeat_with(|| snapshot(polling)).take(TRIES_IN_TEST);
            assert!(copies.any(|copy| copy.is_some()));
            polling.started += 1;
            assert!(snapshot(polling).is_none());
        };
        block_on(inside.probed("inside"));
    }

    /// Polls begin and end while the stack of their thread is read again and again.
    #[test]
    fn stacks_can_be_read_at_any_moment() {
        let (sender, receiver) = channel();
        let (stop, stopped) = channel::<()>();
        let busy = async move {
            sender.send(own_slot()).unwrap();
            while stopped.try_recv() == Err(TryRecvError::Empty) {
                let began = Instant::now();
                while began.elapsed() < Duration::from_micros(300) {}
                yield_now().await;
            }
        };
        let thread = thread::spawn(|| block_on(busy.probed("busy")));
        let slot = receiver.recv().unwrap();
        let mut stacks = Stacks::new().unwrap();
        let mut taken = 0;
        while taken < 500 {
            let Some(polling) = slot.polling() else {
                continue;
            };
            let Some(stack) = stacks.of_poll(&slot, polling, Class::Computes) else {
                continue;
            };
            // The frame of the poll itself is the outermost.
            let poll = |frame: &Frame| {
                let file = frame.file.as_ref();
                file.is_some_and(|file| file.ends_with("src/probed.rs"))
            };
            assert!(stack.frames().iter().any(poll), "{stack}");
            taken += 1;
        }
        drop(stop);
        thread.join().unwrap();
    }
}
