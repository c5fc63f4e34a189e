//! From the registers and the stack of a thread to the calls that it is in.
//!
//! `framehop` goes from a frame to its caller by the tables that the compiler has left for panics.
//! They say where the caller's frame is in terms of the stack pointer, or of the frame pointer. The
//! standard library is compiled with frame pointers, and of a thread that waits Linux does not tell
//! that register. It has to be found: see [`Code::unwind`].

use std::cell::Cell;

use framehop::{CacheNative, FrameAddress, UnwindRegsNative, Unwinder as _};

use super::Memory;
use super::code::Code;

/// So many calls are followed.
const DEPTH: usize = 256;

/// So far above the stack pointer the frame of a function ends for which a pointer to it is
/// searched, in bytes.
const REACH: u64 = 1 << 16;

/// So large may the frame be that begins in the copy of a stack and ends beyond it.
const LAST: u64 = 1 << 20;

/// In place of a frame pointer that is not known: no address of a program.
const UNKNOWN: u64 = 1 << 62;

#[derive(Debug, Clone, Copy)]
pub(super) struct Registers {
    pub(super) pc: u64,
    pub(super) sp: u64,
    pub(super) fp: Option<u64>,
    /// The return address on AArch64, until a function has put it away.
    #[cfg_attr(target_arch = "x86_64", allow(dead_code))]
    pub(super) lr: u64,
}

impl Registers {
    #[cfg(target_arch = "x86_64")]
    fn with_fp(self, fp: u64) -> UnwindRegsNative {
        UnwindRegsNative::new(self.pc, self.sp, fp)
    }

    #[cfg(target_arch = "aarch64")]
    fn with_fp(self, fp: u64) -> UnwindRegsNative {
        UnwindRegsNative::new(self.lr, self.sp, fp)
    }
}

/// A stopped thread, or one that stood still while it was copied.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) registers: Registers,
    /// The address of the first word.
    pub(super) lowest: u64,
    /// The stack up to the outermost probed poll.
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

/// How far unwinding went.
struct Walk {
    addresses: Vec<u64>,
    /// The stack pointer in the outermost frame.
    sp: u64,
    end: End,
}

#[derive(PartialEq, Eq)]
enum End {
    /// Where the copied stack ends: at the outermost probed poll.
    Poll,
    /// At a frame that only an unknown frame pointer leads out of.
    FramePointer,
    /// Anywhere else.
    Lost,
}

impl Code {
    /// The address that the thread is at, and those that it will return to.
    ///
    /// When the frame pointer is needed and unknown, it is worked out of the first instructions of
    /// the function whose frame it is. Where these are not of the usual form, each place on the
    /// stack that could be the frame is tried: its second word must be a return address, after a
    /// call to that very function, as there are remains of earlier calls on a stack. Either way it is
    /// taken only if from it on unwinding arrives at the poll.
    pub(super) fn unwind(&self, memory: &Memory, snapshot: &Snapshot) -> Vec<u64> {
        let walk = self.walk(snapshot, snapshot.registers.fp.unwrap_or(UNKNOWN));
        if walk.end != End::FramePointer || snapshot.registers.fp.is_some() {
            return walk.addresses;
        }
        let inside = walk.addresses.last().copied();
        let Some(function) = inside.and_then(|address| self.function(address - 1)) else {
            return walk.addresses;
        };
        let told = frame_size(memory, function).map(|size| walk.sp + size);
        let first = walk.sp.next_multiple_of(16);
        let last = snapshot.end().min(first.saturating_add(REACH));
        let found = (first..last).step_by(16).filter(|fp| {
            let after = snapshot.word(fp + 8);
            after.is_some_and(|after| self.is_code(after) && calls(memory, after, function))
        });
        let arrives = |fp| Some(self.walk(snapshot, fp)).filter(|walk| walk.end == End::Poll);
        let walk = told
            .into_iter()
            .chain(found)
            .find_map(arrives)
            .unwrap_or(walk);
        walk.addresses
    }

    fn walk(&self, snapshot: &Snapshot, fp: u64) -> Walk {
        let refused = Cell::new(None);
        let mut read = |address| {
            snapshot
                .word(address)
                .ok_or_else(|| refused.set(Some(address)))
        };
        // What did not work with one frame pointer is remembered in it, and may work with another.
        let mut cache = CacheNative::new();
        let mut registers = snapshot.registers.with_fp(fp);
        let mut next = Some(FrameAddress::from_instruction_pointer(
            snapshot.registers.pc,
        ));
        let mut addresses = Vec::new();
        while let Some(frame) = next
            && addresses.len() < DEPTH
            && self.is_code(frame.address())
        {
            addresses.push(frame.address());
            next = self
                .unwinder
                .unwind_frame(frame, &mut registers, &mut cache, &mut read)
                .ok()
                .flatten()
                .and_then(FrameAddress::from_return_address);
        }
        let end = match refused.get() {
            Some(address) if address >= UNKNOWN => End::FramePointer,
            Some(address) if (snapshot.end()..snapshot.end() + LAST).contains(&address) => {
                End::Poll
            }
            _ if addresses.len() == DEPTH => End::Poll,
            _ => End::Lost,
        };
        Walk {
            addresses,
            sp: registers.sp(),
            end,
        }
    }
}

/// How far above the stack pointer the frame pointer is in the body of this function, in bytes, from
/// how it makes its frame.
#[cfg(target_arch = "x86_64")]
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
            // and, %rsp; or a large frame that is touched page by page: no fixed distance in sight.
            [0x48, 0x81 | 0x83, 0xe4, ..]
            | [0xb8, ..]
            | [0x4c, 0x8d, 0x9c | 0x5c, ..]
            | [0x49, 0x89, 0xe3, ..] => return None,
            _ => return Some(pushed),
        }
    }
}

/// Not done: only the search is.
#[cfg(target_arch = "aarch64")]
fn frame_size(_: &Memory, _: u64) -> Option<u64> {
    None
}

/// Whether the instruction before this address is a call of the function.
#[cfg(target_arch = "x86_64")]
fn calls(memory: &Memory, address: u64, function: u64) -> bool {
    let called = || {
        let before = memory.bytes(address.checked_sub(6)?, 6)?;
        let by = i32::from_le_bytes(before[2..].try_into().ok()?);
        let target = address.wrapping_add_signed(by.into());
        match before[..2] {
            [_, 0xe8] => Some(target),
            // Through the table of what the loader has found.
            [0xff, 0x15] => memory.word(target),
            _ => None,
        }
    };
    called() == Some(function)
}

/// Whether the instruction before this address is a call of the function.
#[cfg(target_arch = "aarch64")]
fn calls(memory: &Memory, address: u64, function: u64) -> bool {
    let called = || {
        let at = address.checked_sub(4)?;
        let instruction = u32::from_le_bytes(memory.bytes(at, 4)?.try_into().ok()?);
        // BL, with 26 bits that are signed and count words.
        let by = (instruction << 6).cast_signed() >> 4;
        (instruction >> 26 == 0b10_0101).then(|| at.wrapping_add_signed(by.into()))
    };
    called() == Some(function)
}
