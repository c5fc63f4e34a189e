//! Resolves addresses to functions, files and lines.

use std::collections::HashMap;
use std::ffi::c_void;
use std::ptr;

use crate::stack::Frame;

/// A cache of the frames of addresses that were resolved before. A repeated stall has mostly the same
/// addresses.
#[derive(Debug, Default)]
pub(super) struct Symbols(HashMap<u64, Vec<Frame>>);

impl Symbols {
    /// Reads the tables of the program and of the C library.
    pub(super) fn load() -> Self {
        let mut symbols = Self::default();
        let known = [Self::load as *const (), libc::syscall as *const ()];
        symbols.frames(&known.map(|function| function.addr() as u64));
        symbols
    }

    /// Returns the frames of these addresses: first the current one, then the return addresses.
    pub(super) fn frames(&mut self, addresses: &[u64]) -> Vec<Frame> {
        let mut frames = Vec::new();
        for (depth, address) in addresses.iter().enumerate() {
            // `resolve` looks up the instruction before an address. This is right for a return
            // address and one too early for the current address.
            let address = if depth == 0 { address + 1 } else { *address };
            let resolved = self.0.entry(address).or_insert_with(|| resolve(address));
            frames.extend_from_slice(resolved);
        }
        frames
    }
}

fn resolve(address: u64) -> Vec<Frame> {
    let mut frames = Vec::new();
    if let Ok(address) = usize::try_from(address) {
        backtrace::resolve(ptr::without_provenance_mut::<c_void>(address), |symbol| {
            frames.push(Frame {
                // The alternate form omits the hash.
                function: symbol.name().map(|name| format!("{name:#}")),
                file: symbol.filename().map(ToOwned::to_owned),
                line: symbol.lineno(),
            });
        });
    }
    if frames.is_empty() {
        frames.push(Frame {
            function: None,
            file: None,
            line: None,
        });
    }
    frames
}
