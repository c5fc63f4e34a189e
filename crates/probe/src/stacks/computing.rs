//! A thread that computes: it is asked by a signal to copy its registers and its stack.
//!
//! The one place of this crate with `unsafe`, as a handler must be installed, the signal be sent,
//! and the handler look at the registers that it interrupted. The rest of the work is done
//! elsewhere, on the copy. What makes it sound:
//!
//! - The handler does what may be done at any moment: it loads and stores atomics, asks for its
//!   thread's number and calls `pread`. It takes no lock, allocates nothing and cannot panic.
//! - It never reads the stack by a pointer: Linux copies it, out of `/proc/self/mem`, and fails
//!   where nothing is mapped, whatever the stack pointer is.
//! - What it uses is set aside before: the copy is a static, and whoever asks keeps the rest alive
//!   until the answer, or for ever if there is none.
//! - It runs on the alternative stack, where the thread has one, and calls are restarted after it.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::mem;
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use super::unwind::{Registers, Snapshot};
use super::{Memory, WORDS};
use crate::slot::{Polling, Slot, lock};

/// So long a thread has for its answer. One that computes gets its turn on a processor before.
const PATIENCE: Duration = Duration::from_secs(1);
const BETWEEN: Duration = Duration::from_micros(50);

/// Nothing is asked. What is in [`ASK`] is the watchdog's.
const IDLE: u32 = 0;
/// A thread is asked.
const ASKED: u32 = 1;
/// It answers: all of [`ASK`] and [`COPY`] is the handler's.
const TAKEN: u32 = 2;
/// It has answered.
const DONE: u32 = 3;

/// One question at a time, whichever the probe.
static ASKING: Mutex<()> = Mutex::new(());
static ASK: Ask = Ask {
    state: AtomicU32::new(IDLE),
    thread: AtomicI32::new(0),
    slot: AtomicPtr::new(ptr::null_mut()),
    started: AtomicU64::new(0),
    memory: AtomicI32::new(0),
    pc: AtomicU64::new(0),
    sp: AtomicU64::new(0),
    fp: AtomicU64::new(0),
    lr: AtomicU64::new(0),
    words: AtomicU64::new(0),
};
static COPY: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];

struct Ask {
    state: AtomicU32,
    thread: AtomicI32,
    slot: AtomicPtr<Slot>,
    /// The poll that the thread must be in.
    started: AtomicU64,
    /// The file that the process's memory is in.
    memory: AtomicI32,
    pc: AtomicU64,
    sp: AtomicU64,
    fp: AtomicU64,
    lr: AtomicU64,
    words: AtomicU64,
}

/// Asks a thread and waits for its answer. `None` if there is no signal to ask with, the thread
/// blocks it, the poll is over, or the answer does not come.
pub(super) fn ask(memory: &Memory, slot: &Arc<Slot>, polling: Polling) -> Option<Snapshot> {
    let _one = lock(&ASKING);
    let signal = signal()?;
    let thread = slot.thread.number()?;
    if blocks(thread, signal)? || !is_ours(signal) {
        return None;
    }
    // A handler that was given up may be in the middle of it still.
    if ASK.state.load(Ordering::Acquire) == TAKEN {
        return None;
    }
    ASK.state.store(IDLE, Ordering::Relaxed);
    let thread = i32::try_from(thread).ok()?;
    ASK.thread.store(thread, Ordering::Relaxed);
    ASK.slot
        .store(Arc::as_ptr(slot).cast_mut(), Ordering::Relaxed);
    ASK.started.store(polling.started, Ordering::Relaxed);
    ASK.memory.store(memory.0.as_raw_fd(), Ordering::Relaxed);
    ASK.words.store(0, Ordering::Relaxed);
    ASK.state.store(ASKED, Ordering::Release);
    let asked = Instant::now();
    let _alarm = Alarm::set(thread, signal);
    while ASK.state.load(Ordering::Acquire) != DONE {
        let over = slot
            .polling()
            .is_none_or(|now| now.started != polling.started);
        if over || asked.elapsed() > PATIENCE {
            let taken =
                ASK.state
                    .compare_exchange(ASKED, IDLE, Ordering::Relaxed, Ordering::Acquire);
            match taken {
                // It has not begun, and when it does, nothing will be asked.
                Ok(_) => return None,
                Err(TAKEN) if asked.elapsed() > PATIENCE => {
                    // It may look at these whenever it goes on.
                    mem::forget((slot.clone(), memory.clone()));
                    return None;
                }
                Err(_) => {}
            }
        }
        thread::sleep(BETWEEN);
    }
    let words = usize::try_from(ASK.words.load(Ordering::Relaxed)).ok()?;
    let stack: Vec<_> = COPY[..words]
        .iter()
        .map(|word| word.load(Ordering::Relaxed))
        .collect();
    let sp = ASK.sp.load(Ordering::Relaxed);
    let registers = Registers {
        pc: ASK.pc.load(Ordering::Relaxed),
        sp,
        fp: Some(ASK.fp.load(Ordering::Relaxed)),
        lr: ASK.lr.load(Ordering::Relaxed),
    };
    (!stack.is_empty()).then_some(Snapshot {
        registers,
        lowest: sp & !7,
        stack,
    })
}

/// Runs on the thread that is asked, wherever it was.
extern "C" fn answer(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    if ASK.state.load(Ordering::Acquire) != ASKED
        || ASK.thread.load(Ordering::Relaxed) != this_thread()
        || ASK
            .state
            .compare_exchange(ASKED, TAKEN, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
    {
        return;
    }
    // SAFETY: the system gives a handler with SA_SIGINFO the interrupted context, aligned and for
    // the time of the call.
    let registers = registers(unsafe { &*context.cast::<libc::ucontext_t>() });
    // SAFETY: whoever asked holds the slot until the answer, or for ever.
    let slot = unsafe { &*ASK.slot.load(Ordering::Relaxed) };
    let lowest = registers.sp & !7;
    // The thread is here and so cannot end the poll meanwhile.
    if let Some(polling) = slot.polling()
        && polling.started == ASK.started.load(Ordering::Relaxed)
        && let Some(length) = (polling.base as u64).checked_sub(lowest)
    {
        let length = (length as usize).min(size_of_val(&COPY)) & !7;
        // SAFETY: `COPY` is that long and made of atomics, which may be written to through a shared
        // reference, and until the answer nobody else looks at it. `pread` may be called in a
        // handler, and reads through a file: see the top of this one.
        let copied = unsafe {
            let errno = libc::__errno_location();
            let before = *errno;
            let memory = ASK.memory.load(Ordering::Relaxed);
            let to = COPY.as_ptr().cast_mut().cast();
            let copied = libc::pread(memory, to, length, lowest as libc::off_t);
            // The thread may be between a call of its own and a look at its error.
            *errno = before;
            copied
        };
        let words = u64::try_from(copied).unwrap_or(0) / 8;
        ASK.words.store(words, Ordering::Relaxed);
        ASK.pc.store(registers.pc, Ordering::Relaxed);
        ASK.sp.store(registers.sp, Ordering::Relaxed);
        ASK.fp.store(registers.fp.unwrap_or(0), Ordering::Relaxed);
        ASK.lr.store(registers.lr, Ordering::Relaxed);
    }
    ASK.state.store(DONE, Ordering::Release);
}

#[cfg(target_arch = "x86_64")]
fn registers(context: &libc::ucontext_t) -> Registers {
    let register = |number: c_int| context.uc_mcontext.gregs[number as usize].cast_unsigned();
    Registers {
        pc: register(libc::REG_RIP),
        sp: register(libc::REG_RSP),
        fp: Some(register(libc::REG_RBP)),
        lr: 0,
    }
}

#[cfg(target_arch = "aarch64")]
fn registers(context: &libc::ucontext_t) -> Registers {
    let registers = &context.uc_mcontext;
    Registers {
        pc: registers.pc,
        sp: registers.sp,
        fp: Some(registers.regs[29]),
        lr: registers.regs[30],
    }
}

fn this_thread() -> i32 {
    // SAFETY: it takes nothing and cannot fail, so errno is left as it is.
    let number = unsafe { libc::syscall(libc::SYS_gettid) };
    number as i32
}

/// A timer on the time that a thread computes, which sends the signal to it as soon as it does.
///
/// A signal that is sent at once may come to a thread that has begun to wait meanwhile, and end a call
/// with a time limit: on a busy machine that was seen. This one only comes to a thread that is on a
/// processor, on its way from the kernel to the program.
struct Alarm(libc::timer_t);

impl Alarm {
    fn set(thread: i32, signal: c_int) -> Option<Self> {
        // SAFETY: all zeros is a valid sigevent.
        let mut event: libc::sigevent = unsafe { mem::zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = signal;
        event.sigev_notify_thread_id = thread;
        // How Linux numbers the clock of a thread's time on processors, for any thread.
        let clock = (!thread << 3) | 4 | 2;
        let mut timer = ptr::null_mut();
        // SAFETY: both point to what the call takes. If the thread is gone, it fails.
        if unsafe { libc::timer_create(clock, &raw mut event, &raw mut timer) } != 0 {
            return None;
        }
        let alarm = Self(timer);
        // SAFETY: all zeros is a valid itimerspec, of a timer that goes off never or once.
        let mut soon: libc::itimerspec = unsafe { mem::zeroed() };
        soon.it_value.tv_nsec = 1;
        // SAFETY: the timer is there, and `soon` is valid.
        unsafe { libc::timer_settime(alarm.0, 0, &raw const soon, ptr::null_mut()) };
        Some(alarm)
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // SAFETY: it was created and is deleted once. A signal that is under way finds nothing asked.
        unsafe { libc::timer_delete(self.0) };
    }
}

/// The signal to ask with, installed the first time: a real-time signal that has nothing to do in
/// this program so far. It stays ours, as one may be under way at any time.
fn signal() -> Option<c_int> {
    static SIGNAL: OnceLock<Option<c_int>> = OnceLock::new();
    *SIGNAL.get_or_init(|| {
        // From the end, as those who want one take it from the beginning.
        let mut free = (libc::SIGRTMIN()..=libc::SIGRTMAX()).rev();
        free.find(|signal| install(*signal))
    })
}

fn install(signal: c_int) -> bool {
    if handler(signal) != Some(libc::SIG_DFL) {
        return false;
    }
    // SAFETY: all zeros is a valid sigaction, with no flags and an empty mask.
    let mut ours: libc::sigaction = unsafe { mem::zeroed() };
    ours.sa_sigaction = address();
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
    // SAFETY: as above.
    let mut before: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: both point to a sigaction; `answer` has the signature that SA_SIGINFO asks for and is
    // fit to run at any moment: see the top of this file.
    unsafe {
        libc::sigfillset(&raw mut ours.sa_mask);
        if libc::sigaction(signal, &raw const ours, &raw mut before) != 0 {
            return false;
        }
        if before.sa_sigaction != libc::SIG_DFL {
            // Somebody was faster.
            libc::sigaction(signal, &raw const before, ptr::null_mut());
            return false;
        }
    }
    true
}

fn address() -> libc::sighandler_t {
    answer as extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) as libc::sighandler_t
}

/// Whether nobody has taken the signal from us since.
fn is_ours(signal: c_int) -> bool {
    handler(signal) == Some(address())
}

fn handler(signal: c_int) -> Option<libc::sighandler_t> {
    // SAFETY: all zeros is a valid sigaction, and the call writes to it and to nothing else.
    unsafe {
        let mut now: libc::sigaction = mem::zeroed();
        (libc::sigaction(signal, ptr::null(), &raw mut now) == 0).then_some(now.sa_sigaction)
    }
}

/// Whether the thread has this signal blocked: it would stay with the thread, and end a program
/// that it executes later.
fn blocks(thread: u32, signal: c_int) -> Option<bool> {
    let status = std::fs::read_to_string(format!("/proc/self/task/{thread}/status")).ok()?;
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigBlk:"))?;
    let mask = u64::from_str_radix(mask.trim(), 16).ok()?;
    Some(mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_has_a_handler_is_left_alone() {
        let signal = libc::SIGRTMIN();
        assert!(install(signal));
        assert!(is_ours(signal));
        assert!(!install(signal));
    }

    #[test]
    fn a_signal_that_nobody_sent_is_ignored() {
        let _alarm = Alarm::set(this_thread(), signal().unwrap()).unwrap();
        let began = Instant::now();
        while began.elapsed() < BETWEEN * 400 {}
        assert_ne!(ASK.state.load(Ordering::Acquire), TAKEN);
    }

    #[test]
    fn a_blocked_signal_is_seen() {
        let signal = signal().unwrap();
        let thread = u32::try_from(this_thread()).unwrap();
        assert_eq!(blocks(thread, signal), Some(false));
        // SAFETY: the mask is this thread's, and valid.
        unsafe {
            let mut mask = mem::zeroed();
            libc::sigemptyset(&raw mut mask);
            libc::sigaddset(&raw mut mask, signal);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const mask, ptr::null_mut());
        }
        assert_eq!(blocks(thread, signal), Some(true));
    }
}
