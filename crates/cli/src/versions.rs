//! The versions of what does the work, from the lock file this program was built with.

use inflight::Cell;

mod built {
    #![allow(
        dead_code,
        unreachable_pub,
        reason = "written by a build script, which notes more than the versions"
    )]
    include!(concat!(env!("OUT_DIR"), "/built.rs"));
}

/// The packages of a cell's runtime and client, each with its version.
pub(crate) fn of(cell: Cell) -> impl Iterator<Item = (&'static str, &'static str)> {
    let runtime: &[&str] = match cell.runtime() {
        // Their threads are the standard library's.
        "threads" => &[],
        "smol" => &["smol", "async-executor"],
        "async-std" => &["async-std"],
        _ => &["tokio"],
    };
    let client: &[&str] = match cell.client() {
        "hyper" => &["hyper"],
        // curl-sys says the version of its libcurl after a plus sign.
        "isahc" => &["isahc", "curl-sys"],
        "surf" => &["surf", "async-h1"],
        _ => &["ureq"],
    };
    let locked = |name: &&str| built::DEPENDENCIES.into_iter().find(|(own, _)| own == name);
    runtime.iter().chain(client).filter_map(locked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_names_its_client_and_its_runtime() {
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
