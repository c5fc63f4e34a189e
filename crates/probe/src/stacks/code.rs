//! The loaded code (the program, its libraries and the vDSO) and its tables for unwinding.
//!
//! All of it is read from memory, because a file on disk may have been replaced since it was loaded.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use framehop::{
    ExplicitModuleSectionInfo, MayAllocateDuringUnwind, Module, Unwinder as _, UnwinderNative,
};
use gimli::{BaseAddresses, EhFrame, EhFrameHdr, Pointer, UnwindSection as _};
use object::LittleEndian;
use object::elf::{FileHeader64, PT_GNU_EH_FRAME};
use object::read::elf::{FileHeader as _, ProgramHeader as _};

use super::maps::{Mapping, around};
use super::memory::Memory;

pub(super) type Unwinder = UnwinderNative<Arc<[u8]>, MayAllocateDuringUnwind>;

/// How many bytes to read for an ELF file's header and program headers: more than they need.
const HEADERS_LEN: usize = 4096;

/// The size of an address in bytes.
const WORD_SIZE: u8 = 8;

#[derive(Default)]
pub(super) struct Code {
    maps: Vec<Mapping>,
    tables: Vec<Tables>,
    pub(super) unwinder: Unwinder,
}

/// The unwind tables of a module.
struct Tables {
    range: Range<u64>,
    /// `.eh_frame_hdr`: a sorted index of the functions.
    index: Arc<[u8]>,
    index_at: u64,
    /// `.eh_frame`: for each position in a function, where its caller's registers are.
    frames: Arc<[u8]>,
    frames_at: u64,
}

impl Code {
    /// Reads the tables again if modules were loaded or unloaded since the last call, and returns
    /// whether they were.
    pub(super) fn refresh(&mut self, memory: &Memory, maps: &[Mapping]) -> bool {
        let maps: Vec<_> = maps.iter().filter(|map| !map.name.is_empty()).collect();
        if maps.iter().copied().eq(&self.maps) {
            return false;
        }
        let modules = maps.iter().filter(|map| map.offset == 0);
        let tables = modules.filter_map(|first| Tables::read(memory, &maps, first));
        self.tables = tables.collect();
        self.unwinder = Unwinder::new();
        for tables in &self.tables {
            self.unwinder.add_module(tables.module());
        }
        self.maps = maps.into_iter().cloned().collect();
        true
    }

    pub(super) fn is_code(&self, address: u64) -> bool {
        around(&self.maps, address).is_some_and(|map| map.executable)
    }

    /// Returns the start of the function that contains this address.
    pub(super) fn function(&self, address: u64) -> Option<u64> {
        let tables = &self.tables;
        let mut tables = tables.iter().filter(|table| table.range.contains(&address));
        tables.next()?.function(address)
    }
}

impl Tables {
    fn read(memory: &Memory, maps: &[&Mapping], first: &Mapping) -> Option<Self> {
        let own = maps.iter().filter(|map| map.name == first.name);
        // A file may be loaded twice, at consecutive addresses.
        let next = maps.iter().filter(|map| {
            map.name == first.name && map.offset == 0 && map.range.start > first.range.start
        });
        let limit = next.map(|map| map.range.start).min().unwrap_or(u64::MAX);
        let own = own.filter(|map| (first.range.start..limit).contains(&map.range.start));
        let own: Vec<_> = own.collect();
        if !own.iter().any(|map| map.executable) {
            return None;
        }
        let base = first.range.start;
        let end = own.iter().map(|map| map.range.end).max()?;
        let headers = memory.bytes(base, HEADERS_LEN)?;
        let header = FileHeader64::<LittleEndian>::parse(&*headers).ok()?;
        let segments = header.program_headers(LittleEndian, &*headers).ok()?;
        let loaded = segments
            .iter()
            .filter(|segment| segment.p_type(LittleEndian) == object::elf::PT_LOAD);
        let lowest = loaded.map(|segment| segment.p_vaddr(LittleEndian)).min()?;
        let mut index = segments
            .iter()
            .filter(|segment| segment.p_type(LittleEndian) == PT_GNU_EH_FRAME);
        let index = index.next()?;
        let at = |address: u64| base.wrapping_add(address.wrapping_sub(lowest & !0xfff));
        let index_at = at(index.p_vaddr(LittleEndian));
        let length = usize::try_from(index.p_memsz(LittleEndian)).ok()?;
        let index = memory.bytes(index_at, length)?;
        let bases = BaseAddresses::default().set_eh_frame_hdr(index_at);
        let parsed = EhFrameHdr::new(&index, gimli::LittleEndian).parse(&bases, WORD_SIZE);
        let Pointer::Direct(frames_at) = parsed.ok()?.eh_frame_ptr() else {
            return None;
        };
        // The length of `.eh_frame` is not recorded. It ends with its segment at the latest.
        let inside = own.iter().find(|map| map.range.contains(&frames_at))?;
        let length = usize::try_from(inside.range.end - frames_at).ok()?;
        Some(Self {
            range: base..end,
            index: index.into(),
            index_at,
            frames: memory.bytes(frames_at, length)?.into(),
            frames_at,
        })
    }

    fn module(&self) -> Module<Arc<[u8]>> {
        let until = |start: u64, data: &[u8]| start..start + data.len() as u64;
        let sections = ExplicitModuleSectionInfo {
            // All addresses are addresses in memory, and not those in the file.
            base_svma: self.range.start,
            eh_frame_hdr_svma: Some(until(self.index_at, &self.index)),
            eh_frame_hdr: Some(self.index.clone()),
            eh_frame_svma: Some(until(self.frames_at, &self.frames)),
            eh_frame: Some(self.frames.clone()),
            ..ExplicitModuleSectionInfo::default()
        };
        let name = String::new();
        Module::new(name, self.range.clone(), self.range.start, sections)
    }

    fn function(&self, address: u64) -> Option<u64> {
        let bases = BaseAddresses::default()
            .set_eh_frame_hdr(self.index_at)
            .set_eh_frame(self.frames_at);
        let index = EhFrameHdr::new(&self.index, gimli::LittleEndian).parse(&bases, WORD_SIZE);
        let frames = EhFrame::new(&self.frames, gimli::LittleEndian);
        let index = index.ok()?;
        let cie = EhFrame::cie_from_offset;
        let found = index
            .table()?
            .fde_for_address(&frames, &bases, address, cie);
        Some(found.ok()?.initial_address())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Code").finish_non_exhaustive()
    }
}
