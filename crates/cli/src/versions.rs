//! The versions of runtimes and clients, from the lock file that this program was built with.

use inflight::Cell;

mod built {
    #![allow(
        dead_code,
        unreachable_pub,
        reason = "a build script generates this file, and most of it is unused"
    )]
    include!(concat!(env!("OUT_DIR"), "/built.rs"));
}

/// Returns the packages of a cell (a runtime and a client), each with its version.
pub(crate) fn of(cell: Cell) -> impl Iterator<Item = (&'static str, &'static str)> {
    let runtime: &[&str] = match cell.runtime() {
        // This runtime uses threads of the standard library, which is not a package.
        "threads" => &[],
        "smol" => &["smol", "async-executor"],
        "async-std" => &["async-std"],
        _ => &["tokio"],
    };
    let client: &[&str] = match cell.client() {
        "hyper" => &["hyper"],
        // The version of curl-sys contains the version of libcurl after a plus sign.
        "isahc" => &["isahc", "curl-sys"],
        "surf" => &["surf", "async-h1"],
        _ => &["ureq"],
    };
    let locked = |name: &&str| {
        built::DEPENDENCIES
            .into_iter()
            .find(|(package, _)| package == name)
    };
    runtime.iter().chain(client).filter_map(locked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_has_a_version_of_its_client_and_of_its_runtime() {
        for cell in Cell::ALL {
            let names: Vec<_> = of(cell).map(|(name, _)| name).collect();
            assert!(names.contains(&cell.client()), "{cell}: {names:?}");
            let runtime = cell.runtime();
            assert!(
                runtime == "threads" || names.contains(&runtime),
                "{cell}: {names:?}"
            );
        }
    }
}
