//! The stack of a stuck thread, from outside and while it is stuck (Linux, on x86-64 and AArch64).
//!
//! A thread that waits in a system call is read from `/proc` and gets no signal; one that computes
//! is asked by a signal to copy its own registers and stack, as nobody else can read them while
//! they change. What is in the copy is worked out here, on the watchdog's thread.

mod code;
mod computing;
mod maps;
mod symbols;
mod unwind;
mod waiting;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::report::Class;
use crate::slot::{Polling, Slot};
use crate::stack::Stack;

use code::Code;
use unwind::Snapshot;
use waiting::Look;

/// So much of a stack is copied at most, in words of eight bytes: half a mebibyte.
const WORDS: usize = 1 << 16;

/// A thread that waits now and then is looked at so often until it is met as it should be.
const TRIES: u32 = 20;
const BETWEEN: Duration = Duration::from_micros(200);

/// Takes the stacks of other threads.
#[derive(Debug)]
pub(crate) struct Stacks {
    memory: Memory,
    code: Code,
}

impl Stacks {
    /// `None` where the process may not read its own memory.
    pub(crate) fn new() -> Option<Self> {
        let memory = Memory::open()?;
        let mut code = Code::default();
        // What is loaded now is not loaded while a thread is stuck.
        code.refresh(&memory, &maps::read().ok()?);
        symbols::prepare();
        Some(Self { memory, code })
    }

    /// The stack of a thread that is in this poll. `None` when the poll is over before it is read,
    /// or the thread cannot be asked.
    pub(crate) fn of(&mut self, slot: &Arc<Slot>, polling: Polling, class: Class) -> Option<Stack> {
        let snapshot = self.snapshot(slot, polling, class)?;
        self.code.refresh(&self.memory, &maps::read().ok()?);
        let addresses = self.code.unwind(&self.memory, &snapshot);
        let frames = symbols::frames(&addresses);
        (!frames.is_empty()).then_some(Stack { frames })
    }

    fn snapshot(&self, slot: &Arc<Slot>, polling: Polling, class: Class) -> Option<Snapshot> {
        let mut waiting = None;
        for _ in 0..TRIES {
            match waiting::look(&self.memory, slot, polling)? {
                Look::Waits(snapshot) if class == Class::Computes => waiting = Some(snapshot),
                Look::Waits(snapshot) => return Some(snapshot),
                // Only a thread that computes gets a signal, as a call that it is in may fail by it.
                Look::Runs if class == Class::Computes => {
                    let answer = computing::ask(&self.memory, slot, polling);
                    // It may have begun to wait instead.
                    return answer.or_else(|| match waiting::look(&self.memory, slot, polling)? {
                        Look::Waits(snapshot) => Some(snapshot),
                        Look::Runs => None,
                    });
                }
                Look::Runs => {}
            }
            thread::sleep(BETWEEN);
        }
        waiting
    }
}

/// The memory of this process, read without a fault where nothing is mapped.
#[derive(Debug, Clone)]
struct Memory(Arc<File>);

impl Memory {
    fn open() -> Option<Self> {
        Some(Self(Arc::new(File::open("/proc/self/mem").ok()?)))
    }

    fn bytes(&self, address: u64, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.0.read_exact_at(&mut bytes, address).ok()?;
        Some(bytes)
    }

    #[cfg(target_arch = "x86_64")]
    fn word(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, address).ok()?;
        Some(u64::from_le_bytes(bytes))
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

    fn mine() -> Arc<Slot> {
        let thread = crate::cpu::ThreadId::current().number();
        let mut slots = slot::all().into_iter();
        slots.find(|slot| slot.thread.number() == thread).unwrap()
    }

    #[test]
    fn a_poll_that_is_over_is_not_copied() {
        let inside = async {
            let slot = mine();
            let mut polling = slot.polling().unwrap();
            let memory = Memory::open().unwrap();
            assert!(computing::ask(&memory, &slot, polling).is_some());
            polling.started += 1;
            assert!(computing::ask(&memory, &slot, polling).is_none());
        };
        block_on(inside.probed("inside"));
    }

    /// Polls begin and end while their thread is asked again and again.
    #[test]
    fn asking_at_any_moment_does_no_harm() {
        let (tell, told) = channel();
        let (stop, stopped) = channel::<()>();
        let busy = async move {
            tell.send(mine()).unwrap();
            while stopped.try_recv() == Err(TryRecvError::Empty) {
                let began = Instant::now();
                while began.elapsed() < Duration::from_micros(300) {}
                yield_now().await;
            }
        };
        let thread = thread::spawn(|| block_on(busy.probed("busy")));
        let slot = told.recv().unwrap();
        let mut stacks = Stacks::new().unwrap();
        let mut taken = 0;
        while taken < 500 {
            let Some(polling) = slot.polling() else {
                continue;
            };
            let Some(stack) = stacks.of(&slot, polling, Class::Computes) else {
                continue;
            };
            // The poll itself has called all the rest.
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
