//! The stack of a thread that waits: Linux shows where the thread entered the kernel, and its stack
//! does not change.
//!
//! `/proc/self/task/TID/syscall` has the stack pointer and the program counter, and no other
//! register. Reading it sends no signal and wakes no thread, so it does not disturb the call that the
//! thread is in.

use std::fs;

use super::memory::{MAX_WORDS, Memory};
use super::scope::StackScope;
use super::unwind::{Registers, Snapshot};
use crate::slot::Slot;

/// What a thread does.
pub(super) enum ThreadState {
    /// The thread waits in a system call.
    Waiting(Snapshot),
    /// The thread runs, or ran while its stack was copied.
    Running,
}

/// Returns what the thread does. `None` if the poll is over or the files cannot be read.
pub(super) fn thread_state(memory: &Memory, slot: &Slot, scope: StackScope) -> Option<ThreadState> {
    let task = format!("/proc/self/task/{}", slot.thread.number()?);
    let at = || fs::read_to_string(format!("{task}/syscall"));
    // How long the thread has run, in nanoseconds.
    let ran = || fs::read_to_string(format!("{task}/schedstat")).ok();
    let before = (ran(), at().ok()?);
    let running = || scope.includes(slot).then_some(ThreadState::Running);
    let Some((pc, sp)) = parse(&before.1) else {
        return running();
    };
    let words = (scope.base() as u64).checked_sub(sp)? / 8;
    let words = usize::try_from(words).ok()?.min(MAX_WORDS);
    let stack = memory.bytes(sp, words * 8)?;
    // The copy is consistent only if the thread has not run meanwhile.
    if (ran(), at().ok()?) != before {
        return running();
    }
    if !scope.includes(slot) {
        return None;
    }
    let registers = Registers { pc, sp, fp: None };
    let words = stack.chunks_exact(8);
    let stack = words.map(|word| word.try_into().map_or(0, u64::from_le_bytes));
    Some(ThreadState::Waiting(Snapshot {
        registers,
        lowest: sp,
        stack: stack.collect(),
    }))
}

/// Returns the program counter and the stack pointer, which are the last two fields. For a running
/// thread the file has only the word `running`.
fn parse(syscall: &str) -> Option<(u64, u64)> {
    let mut fields = syscall.split_whitespace().rev();
    let mut number = || u64::from_str_radix(fields.next()?.strip_prefix("0x")?, 16).ok();
    let pc = number()?;
    Some((pc, number()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_proc_syscall() {
        let recv = "45 0x9 0x7f7b7c003c90 0x2000 0x0 0x0 0x0 0x7f7b83bfd4c8 0x7f7b84113f5a\n";
        assert_eq!(parse(recv), Some((0x7f7b_8411_3f5a, 0x7f7b_83bf_d4c8)));
        let fault = "-1 0x7ffd8f2a9e10 0x55d6a54e9177\n";
        assert_eq!(parse(fault), Some((0x55d6_a54e_9177, 0x7ffd_8f2a_9e10)));
        assert_eq!(parse("running\n"), None);
    }
}
