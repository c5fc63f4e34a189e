//! The memory mappings of the process.

use std::ops::Range;
use std::{fs, io};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mapping {
    pub(super) range: Range<u64>,
    pub(super) executable: bool,
    /// The offset in the file.
    pub(super) offset: u64,
    /// The file, or a name in brackets. Empty for anonymous memory.
    pub(super) name: String,
}

pub(super) fn read() -> io::Result<Vec<Mapping>> {
    let text = fs::read_to_string("/proc/self/maps")?;
    Ok(text.lines().filter_map(parse).collect())
}

fn parse(line: &str) -> Option<Mapping> {
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let permissions = fields.next()?;
    let offset = fields.next()?;
    let name = fields.nth(2).unwrap_or_default().trim_start();
    let number = |text| u64::from_str_radix(text, 16).ok();
    Some(Mapping {
        range: number(start)?..number(end)?,
        executable: permissions.contains('x'),
        offset: number(offset)?,
        name: name.to_owned(),
    })
}

/// Returns the mapping that contains an address.
pub(super) fn around(maps: &[Mapping], address: u64) -> Option<&Mapping> {
    maps.iter().find(|mapping| mapping.range.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_a_line() {
        let line = "7f12a0028000-7f12a01bd000 r-xp 00028000 fe:01 1234    /usr/lib/a b.so";
        assert_eq!(
            parse(line),
            Some(Mapping {
                range: 0x7f12_a002_8000..0x7f12_a01b_d000,
                executable: true,
                offset: 0x28000,
                name: "/usr/lib/a b.so".to_owned(),
            })
        );
        let unnamed = parse("7f12a0000000-7f12a0021000 rw-p 00000000 00:00 0 ").unwrap();
        assert!(!unnamed.executable);
        assert_eq!(unnamed.name, "");
    }

    #[test]
    fn this_process_is_mapped() {
        let local = 0_u8;
        let maps = read().unwrap();
        let address = u64::try_from((&raw const local).addr()).unwrap();
        assert!(!around(&maps, address).unwrap().executable);
    }
}
