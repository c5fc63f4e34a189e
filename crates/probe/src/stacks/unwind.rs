//! Finds the calls that a thread is in, from its registers and a copy of its stack.
//!
//! `framehop` finds a frame's caller with the tables that the compiler emits for panics. They state
//! the caller's frame relative to the stack pointer or to the frame pointer. The standard library is
//! compiled with frame pointers, but Linux does not provide the frame pointer of a waiting thread.
//! [`Code::unwind`] finds it.

use std::cell::Cell;

use framehop::{CacheNative, FrameAddress, UnwindRegsNative, Unwinder as _};

use super::code::Code;
use super::memory::Memory;

/// The maximum number of frames that are unwound.
const MAX_FRAMES: usize = 256;

/// How far above the stack pointer a frame pointer is searched, in bytes.
const SEARCH_RANGE: u64 = 1 << 16;

/// The assumed maximum size of the outermost frame, which may begin inside the copy of a stack and end
/// after it.
const MAX_FRAME_SIZE: u64 = 1 << 20;

/// Stands for an unknown frame pointer. It is not a valid address of a program.
const UNKNOWN_FP: u64 = 1 << 62;

#[derive(Debug, Clone, Copy)]
pub(super) struct Registers {
    pub(super) pc: u64,
    pub(super) sp: u64,
    pub(super) fp: Option<u64>,
}

/// The registers and the stack of a thread at one moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) registers: Registers,
    /// The address of the first word.
    pub(super) lowest: u64,
    /// The stack up to the end of the scope.
    pub(super) stack: Vec<u64>,
}

impl Snapshot {
    fn end(&self) -> u64 {
        self.lowest + self.stack.len() as u64 * 8
    }

    fn word(&self, address: u64) -> Option<u64> {
        let offset = address.checked_sub(self.lowest)?;
        let index = usize::try_from(offset / 8).ok()?;
        (offset % 8 == 0).then(|| self.stack.get(index).copied())?
    }
}

/// The result of unwinding.
struct Unwound {
    addresses: Vec<u64>,
    /// The stack pointer in the outermost frame.
    sp: u64,
    end: StopReason,
}

#[derive(PartialEq, Eq)]
enum StopReason {
    /// At the end of the copied stack, or at the thread's first frame.
    Outermost,
    /// At a frame whose caller can only be found with the unknown frame pointer.
    FramePointer,
    /// Anywhere else: unwinding failed.
    Failed,
}

impl Code {
    /// Returns the thread's current address, then its return addresses.
    ///
    /// If the frame pointer is needed and unknown, it is computed from the first instructions of
    /// the function that the frame belongs to. If these do not have the usual form, each address on
    /// the stack that could be the frame pointer is tried. The word after the frame pointer must be a
    /// return address that follows a call of this function, because a stack contains remains of earlier
    /// calls. Either way, the frame pointer is used only if unwinding with it reaches the end of the
    /// copy, or the thread's first frame at or above the address `root`.
    pub(super) fn unwind(&self, memory: &Memory, snapshot: &Snapshot, root: u64) -> Vec<u64> {
        let fp = snapshot.registers.fp.unwrap_or(UNKNOWN_FP);
        let unwound = self.unwind_with(snapshot, root, fp);
        if unwound.end != StopReason::FramePointer || snapshot.registers.fp.is_some() {
            return unwound.addresses;
        }
        let inside = unwound.addresses.last().copied();
        let Some(function) = inside.and_then(|address| self.function(address - 1)) else {
            return unwound.addresses;
        };
        let computed = frame_size(memory, function).map(|size| unwound.sp + size);
        let first = unwound.sp.next_multiple_of(16);
        let last = snapshot.end().min(first.saturating_add(SEARCH_RANGE));
        let found = (first..last).step_by(16).filter(|fp| {
            let after = snapshot.word(fp + 8);
            after.is_some_and(|after| self.is_code(after) && calls(memory, after, function))
        });
        let reaches_outermost = |fp| {
            Some(self.unwind_with(snapshot, root, fp))
                .filter(|unwound| unwound.end == StopReason::Outermost)
        };
        let unwound = computed
            .into_iter()
            .chain(found)
            .find_map(reaches_outermost)
            .unwrap_or(unwound);
        unwound.addresses
    }

    fn unwind_with(&self, snapshot: &Snapshot, root: u64, fp: u64) -> Unwound {
        let refused = Cell::new(None);
        let mut read = |address| {
            snapshot
                .word(address)
                .ok_or_else(|| refused.set(Some(address)))
        };
        // The cache remembers failures, which may not apply to another frame pointer.
        let mut cache = CacheNative::new();
        let Registers { pc, sp, .. } = snapshot.registers;
        let mut registers = UnwindRegsNative::new(pc, sp, fp);
        let mut next = Some(FrameAddress::from_instruction_pointer(pc));
        let mut addresses = Vec::new();
        let mut has_caller = true;
        while let Some(frame) = next
            && addresses.len() < MAX_FRAMES
            && self.is_code(frame.address())
        {
            addresses.push(frame.address());
            let caller = self
                .unwinder
                .unwind_frame(frame, &mut registers, &mut cache, &mut read);
            has_caller = caller != Ok(None);
            next = caller
                .ok()
                .flatten()
                .and_then(FrameAddress::from_return_address);
        }
        let end = match refused.get() {
            Some(address) if address >= UNKNOWN_FP => StopReason::FramePointer,
            Some(address)
                if (snapshot.end()..snapshot.end() + MAX_FRAME_SIZE).contains(&address) =>
            {
                StopReason::Outermost
            }
            None if !has_caller && registers.sp() >= root => StopReason::Outermost,
            _ if addresses.len() == MAX_FRAMES => StopReason::Outermost,
            _ => StopReason::Failed,
        };
        Unwound {
            addresses,
            sp: registers.sp(),
            end,
        }
    }
}

/// Returns how far above the stack pointer the frame pointer is in the body of this function, in
/// bytes, judged by the function's prologue.
fn frame_size(memory: &Memory, function: u64) -> Option<u64> {
    let code = memory.bytes(function, 32)?;
    // push %rbp; mov %rsp, %rbp
    let mut code = code.strip_prefix(&[0x55, 0x48, 0x89, 0xe5])?;
    let mut pushed = 0;
    loop {
        match code {
            // push: one of the eight new registers, one of the eight old ones
            [0x41, 0x50..=0x57, rest @ ..] | [0x50..=0x57, rest @ ..] => {
                pushed += 8;
                code = rest;
            }
            // sub, %rsp
            [0x48, 0x83, 0xec, size, ..] => return Some(pushed + u64::from(*size)),
            [0x48, 0x81, 0xec, a, b, c, d, ..] => {
                let size = u32::from_le_bytes([*a, *b, *c, *d]);
                return Some(pushed + u64::from(size));
            }
            // and, %rsp; or a large frame that is probed page by page: the distance is unknown.
            [0x48, 0x81 | 0x83, 0xe4, ..]
            | [0xb8, ..]
            | [0x4c, 0x8d, 0x9c | 0x5c, ..]
            | [0x49, 0x89, 0xe3, ..] => return None,
            _ => return Some(pushed),
        }
    }
}

/// Returns whether the instruction before this address is a call of the function.
fn calls(memory: &Memory, address: u64, function: u64) -> bool {
    let called = || {
        let before = memory.bytes(address.checked_sub(6)?, 6)?;
        let by = i32::from_le_bytes(before[2..].try_into().ok()?);
        let target = address.wrapping_add_signed(by.into());
        match before[..2] {
            [_, 0xe8] => Some(target),
            // Through the global offset table.
            [0xff, 0x15] => memory.word(target),
            _ => None,
        }
    };
    called() == Some(function)
}
