//! The stack of a thread that computes: a signal handler on that thread copies its registers and its
//! stack.
//!
//! This is the only module of the crate with `unsafe`: it installs a handler, sends the signal, and
//! reads the interrupted registers in the handler. Other modules process the copy. The module is sound
//! for these reasons:
//!
//! - The handler is async-signal-safe: it loads and stores atomics, and calls `gettid` and `pread`. It
//!   takes no lock, allocates nothing and cannot panic.
//! - The handler never reads the stack through a pointer: Linux copies the stack out of
//!   `/proc/self/mem`, and returns an error if nothing is mapped at the stack pointer.
//! - Everything that the handler uses exists before the signal is sent: the copy is a static, and the
//!   requester keeps the rest alive until the handler has finished, or forever if it does not finish.
//! - The handler runs on the alternate signal stack, if the thread has one. After the handler, the
//!   system restarts the interrupted call.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::mem;
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use super::memory::{MAX_WORDS, Memory};
use super::scope::StackScope;
use super::unwind::{Registers, Snapshot};
use crate::slot::{Slot, lock};

/// How long to wait for the handler. A thread that computes usually gets a processor much sooner.
const TIMEOUT: Duration = Duration::from_secs(1);
const POLL_INTERVAL: Duration = Duration::from_micros(50);

/// There is no request. [`REQUEST`] belongs to the watchdog.
const IDLE: u32 = 0;
/// A request waits for its thread's handler.
const PENDING: u32 = 1;
/// The handler runs. [`REQUEST`] and [`COPY`] belong to it.
const RUNNING: u32 = 2;
/// The handler has finished.
const DONE: u32 = 3;

/// Allows one request at a time in the process.
static REQUEST_LOCK: Mutex<()> = Mutex::new(());
static REQUEST: SnapshotRequest = SnapshotRequest {
    state: AtomicU32::new(IDLE),
    thread: AtomicI32::new(0),
    slot: AtomicPtr::new(ptr::null_mut()),
    started: AtomicU64::new(0),
    base: AtomicUsize::new(0),
    memory: AtomicI32::new(0),
    pc: AtomicU64::new(0),
    sp: AtomicU64::new(0),
    fp: AtomicU64::new(0),
    words: AtomicU64::new(0),
};
static COPY: [AtomicU64; MAX_WORDS] = [const { AtomicU64::new(0) }; MAX_WORDS];

/// A request for the stack of a thread, and the registers that the handler has stored.
struct SnapshotRequest {
    state: AtomicU32,
    thread: AtomicI32,
    slot: AtomicPtr<Slot>,
    /// The start of the poll that the thread must be in, or 0 if the thread need not be in a poll.
    started: AtomicU64,
    /// The address at which the stack to copy ends.
    base: AtomicUsize,
    /// The descriptor of `/proc/self/mem`.
    memory: AtomicI32,
    pc: AtomicU64,
    sp: AtomicU64,
    fp: AtomicU64,
    /// How many words of the stack the handler has copied.
    words: AtomicU64,
}

/// Sends the signal to a thread and waits until its handler has copied the stack. `None` if no
/// signal is free, the thread blocks it, the poll is over, or the handler does not finish in time.
pub(super) fn request_snapshot(
    memory: &Memory,
    slot: &Arc<Slot>,
    scope: StackScope,
) -> Option<Snapshot> {
    let _guard = lock(&REQUEST_LOCK);
    let signal = signal()?;
    let thread = slot.thread.number()?;
    if blocks(thread, signal)? || !is_ours(signal) {
        return None;
    }
    // A handler whose request timed out may still be running.
    if REQUEST.state.load(Ordering::Acquire) == RUNNING {
        return None;
    }
    REQUEST.state.store(IDLE, Ordering::Relaxed);
    let thread = i32::try_from(thread).ok()?;
    REQUEST.thread.store(thread, Ordering::Relaxed);
    REQUEST
        .slot
        .store(Arc::as_ptr(slot).cast_mut(), Ordering::Relaxed);
    let started = match scope {
        StackScope::Poll(polling) => polling.started,
        StackScope::Thread(_) => 0,
    };
    REQUEST.started.store(started, Ordering::Relaxed);
    REQUEST.base.store(scope.base(), Ordering::Relaxed);
    REQUEST
        .memory
        .store(memory.0.as_raw_fd(), Ordering::Relaxed);
    REQUEST.words.store(0, Ordering::Relaxed);
    REQUEST.state.store(PENDING, Ordering::Release);
    let sent = Instant::now();
    let _timer = SignalTimer::set(thread, signal);
    while REQUEST.state.load(Ordering::Acquire) != DONE {
        if !scope.includes(slot) || sent.elapsed() > TIMEOUT {
            let claimed =
                REQUEST
                    .state
                    .compare_exchange(PENDING, IDLE, Ordering::Relaxed, Ordering::Acquire);
            match claimed {
                // The handler has not started, and will find no request when it does.
                Ok(_) => return None,
                Err(RUNNING) if sent.elapsed() > TIMEOUT => {
                    // The handler may still use these when the thread continues.
                    mem::forget((slot.clone(), memory.clone()));
                    return None;
                }
                Err(_) => {}
            }
        }
        thread::sleep(POLL_INTERVAL);
    }
    let words = usize::try_from(REQUEST.words.load(Ordering::Relaxed)).ok()?;
    let stack: Vec<_> = COPY[..words]
        .iter()
        .map(|word| word.load(Ordering::Relaxed))
        .collect();
    let sp = REQUEST.sp.load(Ordering::Relaxed);
    let registers = Registers {
        pc: REQUEST.pc.load(Ordering::Relaxed),
        sp,
        fp: Some(REQUEST.fp.load(Ordering::Relaxed)),
    };
    (!stack.is_empty()).then_some(Snapshot {
        registers,
        lowest: sp & !7,
        stack,
    })
}

/// The signal handler, which interrupts the thread at any point.
extern "C" fn handle_signal(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    if REQUEST.state.load(Ordering::Acquire) != PENDING
        || REQUEST.thread.load(Ordering::Relaxed) != this_thread()
        || REQUEST
            .state
            .compare_exchange(PENDING, RUNNING, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
    {
        return;
    }
    // SAFETY: the system gives a handler with SA_SIGINFO the interrupted context, aligned and for
    // the time of the call.
    let registers = registers(unsafe { &*context.cast::<libc::ucontext_t>() });
    // SAFETY: `request_snapshot` keeps the slot alive until the handler has finished, or forever.
    let slot = unsafe { &*REQUEST.slot.load(Ordering::Relaxed) };
    let lowest = registers.sp & !7;
    // The handler runs on the thread itself, so the poll cannot end meanwhile.
    let started = REQUEST.started.load(Ordering::Relaxed);
    let in_scope = started == 0
        || slot
            .polling()
            .is_some_and(|polling| polling.started == started);
    let base = REQUEST.base.load(Ordering::Relaxed) as u64;
    if in_scope && let Some(length) = base.checked_sub(lowest) {
        let length = (length as usize).min(size_of_val(&COPY)) & !7;
        // SAFETY: `COPY` has this length and consists of atomics, which may be written through a
        // shared reference, and nothing else accesses it until the handler has finished. `pread` is
        // async-signal-safe and reads through a file: see the module's documentation.
        let copied = unsafe {
            let errno = libc::__errno_location();
            let before = *errno;
            let memory = REQUEST.memory.load(Ordering::Relaxed);
            let to = COPY.as_ptr().cast_mut().cast();
            let copied = libc::pread(memory, to, length, lowest as libc::off_t);
            // The thread may be between a call of its own and its read of errno.
            *errno = before;
            copied
        };
        let words = u64::try_from(copied).unwrap_or(0) / 8;
        REQUEST.words.store(words, Ordering::Relaxed);
        REQUEST.pc.store(registers.pc, Ordering::Relaxed);
        REQUEST.sp.store(registers.sp, Ordering::Relaxed);
        REQUEST
            .fp
            .store(registers.fp.unwrap_or(0), Ordering::Relaxed);
    }
    REQUEST.state.store(DONE, Ordering::Release);
}

fn registers(context: &libc::ucontext_t) -> Registers {
    let register = |number: c_int| context.uc_mcontext.gregs[number as usize].cast_unsigned();
    Registers {
        pc: register(libc::REG_RIP),
        sp: register(libc::REG_RSP),
        fp: Some(register(libc::REG_RBP)),
    }
}

fn this_thread() -> i32 {
    // SAFETY: the call has no arguments and cannot fail, so it does not change errno.
    let number = unsafe { libc::syscall(libc::SYS_gettid) };
    number as i32
}

/// A timer on a thread's processor time, which sends the signal to the thread as soon as it runs.
///
/// A signal that is sent directly may reach a thread that has begun to wait meanwhile, and end a call
/// with a time limit. This has been observed on a busy machine. The timer's signal only reaches a
/// thread that is on a processor and returns from the kernel to the program.
struct SignalTimer(libc::timer_t);

impl SignalTimer {
    fn set(thread: i32, signal: c_int) -> Option<Self> {
        // SAFETY: all zeros is a valid sigevent.
        let mut event: libc::sigevent = unsafe { mem::zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = signal;
        event.sigev_notify_thread_id = thread;
        // Linux's number for the processor-time clock of this thread.
        let clock = (!thread << 3) | 4 | 2;
        let mut timer = ptr::null_mut();
        // SAFETY: both pointers are valid. The call fails if the thread has ended.
        if unsafe { libc::timer_create(clock, &raw mut event, &raw mut timer) } != 0 {
            return None;
        }
        let timer = Self(timer);
        // SAFETY: all zeros is a valid itimerspec, of a timer that does not repeat.
        let mut soon: libc::itimerspec = unsafe { mem::zeroed() };
        soon.it_value.tv_nsec = 1;
        // SAFETY: the timer exists, and `soon` is valid.
        unsafe { libc::timer_settime(timer.0, 0, &raw const soon, ptr::null_mut()) };
        Some(timer)
    }
}

impl Drop for SignalTimer {
    fn drop(&mut self) {
        // SAFETY: the timer was created and is deleted once. A late signal finds no request.
        unsafe { libc::timer_delete(self.0) };
    }
}

/// Returns the real-time signal that this module uses. The first call chooses a signal that has no
/// handler in this program, and installs the handler. The handler stays installed, because a signal may
/// arrive at any time.
fn signal() -> Option<c_int> {
    static SIGNAL: OnceLock<Option<c_int>> = OnceLock::new();
    *SIGNAL.get_or_init(|| {
        // From the end, because programs usually take these signals from the start.
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
    // SAFETY: both pointers are valid. `handle_signal` has the signature for SA_SIGINFO and is
    // async-signal-safe: see the module's documentation.
    unsafe {
        libc::sigfillset(&raw mut ours.sa_mask);
        if libc::sigaction(signal, &raw const ours, &raw mut before) != 0 {
            return false;
        }
        if before.sa_sigaction != libc::SIG_DFL {
            // Another thread has installed a handler meanwhile.
            libc::sigaction(signal, &raw const before, ptr::null_mut());
            return false;
        }
    }
    true
}

fn address() -> libc::sighandler_t {
    handle_signal as extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) as libc::sighandler_t
}

/// Returns whether our handler is still installed.
fn is_ours(signal: c_int) -> bool {
    handler(signal) == Some(address())
}

fn handler(signal: c_int) -> Option<libc::sighandler_t> {
    // SAFETY: all zeros is a valid sigaction, and the call writes only to it.
    unsafe {
        let mut now: libc::sigaction = mem::zeroed();
        (libc::sigaction(signal, ptr::null(), &raw mut now) == 0).then_some(now.sa_sigaction)
    }
}

/// Returns whether the thread blocks this signal. A blocked signal would stay pending, and end a
/// program that the thread executes later.
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
    fn a_signal_with_a_handler_is_not_taken() {
        let signal = libc::SIGRTMIN();
        assert!(install(signal));
        assert!(is_ours(signal));
        assert!(!install(signal));
    }

    #[test]
    fn a_signal_without_a_request_is_ignored() {
        let _timer = SignalTimer::set(this_thread(), signal().unwrap()).unwrap();
        let began = Instant::now();
        while began.elapsed() < POLL_INTERVAL * 400 {}
        assert_ne!(REQUEST.state.load(Ordering::Acquire), RUNNING);
    }

    #[test]
    fn a_blocked_signal_is_detected() {
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
