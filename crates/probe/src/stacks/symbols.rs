//! Resolves addresses to functions, files and lines.

use std::ffi::c_void;
use std::ptr;
use std::sync::Once;
use std::thread;

use crate::stack::Frame;

/// Reads the tables of the program and of the C library once, on another thread, because the
/// watchdog must not be late.
pub(super) fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let thread = thread::Builder::new().name("inflight-symbols".to_owned());
        // Without the thread, the first stall is reported later.
        let _ = thread.spawn(|| {
            let known = [prepare as *const (), libc::syscall as *const ()];
            frames(&known.map(|function| function.addr() as u64))
        });
    });
}

/// Returns the frames of these addresses: first the current one, then the return addresses.
pub(super) fn frames(addresses: &[u64]) -> Vec<Frame> {
    let mut frames = Vec::new();
    for (depth, address) in addresses.iter().enumerate() {
        // `resolve` looks up the instruction before an address. This is right for a return address
        // and one too early for the current address.
        let address = if depth == 0 { address + 1 } else { *address };
        let Ok(address) = usize::try_from(address) else {
            continue;
        };
        let mut known = false;
        backtrace::resolve(ptr::without_provenance_mut::<c_void>(address), |symbol| {
            known = true;
            frames.push(Frame {
                // The alternate form omits the hash.
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
