//! Reads of this process's own memory.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// The maximum size of a copy of a stack, in words of eight bytes: half a mebibyte.
pub(super) const MAX_WORDS: usize = 1 << 16;

/// The memory of this process, read through a file. Reading an unmapped address returns `None`, and does
/// not crash the process.
#[derive(Debug, Clone)]
pub(super) struct Memory(pub(super) Arc<File>);

impl Memory {
    pub(super) fn open() -> Option<Self> {
        Some(Self(Arc::new(File::open("/proc/self/mem").ok()?)))
    }

    pub(super) fn bytes(&self, address: u64, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.0.read_exact_at(&mut bytes, address).ok()?;
        Some(bytes)
    }

    pub(super) fn word(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, address).ok()?;
        Some(u64::from_le_bytes(bytes))
    }
}
