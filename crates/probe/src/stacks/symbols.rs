//! From addresses to functions, files and lines.

use std::ffi::c_void;
use std::ptr;
use std::sync::Once;
use std::thread;

use crate::stack::Frame;

/// Reads the tables of the program and of the C library, once. It takes a while, in which the
/// watchdog has better to do.
pub(super) fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let thread = thread::Builder::new().name("inflight-symbols".to_owned());
        // Without it, the first stall is told later.
        let _ = thread.spawn(|| {
            let known = [prepare as *const (), libc::syscall as *const ()];
            frames(&known.map(|function| function.addr() as u64))
        });
    });
}

/// The frames of these addresses, of which the first is where the thread is and the others are
/// where it will return to.
pub(super) fn frames(addresses: &[u64]) -> Vec<Frame> {
    let mut frames = Vec::new();
    for (depth, address) in addresses.iter().enumerate() {
        // What is resolved is the instruction before an address: right for a call that will return
        // there, one too early for where the thread is.
        let address = if depth == 0 { address + 1 } else { *address };
        let Ok(address) = usize::try_from(address) else {
            continue;
        };
        let mut known = false;
        backtrace::resolve(ptr::without_provenance_mut::<c_void>(address), |symbol| {
            known = true;
            frames.push(Frame {
                // The alternate form has no hash at its end.
                function: symbol.name().map(|name| format!("{name:#}")),
                file: symbol.filename().map(ToOwned::to_owned),
                line: symbol.lineno(),
            });
        });
        if !known {
            frames.push(Frame {
                function: None,
                file: None,
                line: None,
            });
        }
    }
    frames
}
