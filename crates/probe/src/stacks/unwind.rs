//! From the registers and the stack of a thread to the calls that it is in.
//!
//! `framehop` goes from a frame to its caller by the tables that the compiler has left for panics.
//! They say where the caller's frame is in terms of the stack pointer, or of the frame pointer. The
//! standard library is compiled with frame pointers, and of a thread that waits Linux does not tell
//! that register. It is searched for on the stack, where it points to: see [`Code::unwind`].

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

/// Whether a call before a return address leads to the function that is to be returned from. The
/// best is first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Call {
    Same,
    /// By a pointer that is no longer known.
    Indirect,
    /// To another function, which may have gone on to this one with a jump.
    Other,
}

impl Code {
    /// The address that the thread is at, and those that it will return to.
    ///
    /// When the frame pointer is needed and unknown, every place on the stack that could be a frame
    /// (its second word is a return address, after a call) is tried, and one is taken only if from
    /// it on unwinding arrives at the poll. A call to the very function whose frame it is comes
    /// before one by a pointer; of equals, the nearest.
    pub(super) fn unwind(&self, memory: &Memory, snapshot: &Snapshot) -> Vec<u64> {
        let walk = self.walk(snapshot, snapshot.registers.fp.unwrap_or(UNKNOWN));
        if walk.end != End::FramePointer || snapshot.registers.fp.is_some() {
            return walk.addresses;
        }
        let function = walk
            .addresses
            .last()
            .and_then(|address| self.function(address - 1));
        let first = walk.sp.next_multiple_of(16);
        let last = snapshot.end().min(first.saturating_add(REACH));
        let mut best: Option<(Call, Vec<u64>)> = None;
        for fp in (first..last).step_by(16) {
            let Some(call) = snapshot
                .word(fp + 8)
                .filter(|address| self.is_code(*address))
                .and_then(|address| call_before(memory, address, function))
            else {
                continue;
            };
            if best.as_ref().is_some_and(|(best, _)| *best <= call) {
                continue;
            }
            let walk = self.walk(snapshot, fp);
            if walk.end == End::Poll {
                let done = call == Call::Same;
                best = Some((call, walk.addresses));
                if done {
                    break;
                }
            }
        }
        best.map_or(walk.addresses, |(_, addresses)| addresses)
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

/// The call that ends at this address.
#[cfg(target_arch = "x86_64")]
fn call_before(memory: &Memory, address: u64, function: Option<u64>) -> Option<Call> {
    let before = memory.bytes(address.checked_sub(8)?, 8)?;
    let by = i32::from_le_bytes(before[4..].try_into().ok()?);
    let target = address.wrapping_add_signed(by.into());
    let known = |target| match Some(target) == function {
        true => Call::Same,
        false => Call::Other,
    };
    let indirect = |at: usize| before[at] == 0xff && before[at + 1] & 0x38 == 0x10;
    match before[..] {
        [_, _, _, 0xe8, ..] => Some(known(target)),
        // Through the table of what the loader has found.
        [_, _, 0xff, 0x15, ..] => Some(known(memory.word(target)?)),
        // Lengths differ with the kind of operand.
        _ => (1..=6).rev().any(indirect).then_some(Call::Indirect),
    }
}

/// The call that ends at this address.
#[cfg(target_arch = "aarch64")]
fn call_before(memory: &Memory, address: u64, function: Option<u64>) -> Option<Call> {
    let at = address.checked_sub(4)?;
    let instruction = u32::from_le_bytes(memory.bytes(at, 4)?.try_into().ok()?);
    match instruction >> 26 {
        // BL: 26 bits, signed, in words.
        0b10_0101 => {
            let by = (instruction << 6).cast_signed() >> 4;
            let target = at.wrapping_add_signed(by.into());
            Some(match Some(target) == function {
                true => Call::Same,
                false => Call::Other,
            })
        }
        // BLR.
        0b11_0101 if instruction & 0xffff_fc1f == 0xd63f_0000 => Some(Call::Indirect),
        _ => None,
    }
}
