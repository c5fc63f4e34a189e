//! Records the versions in `Cargo.lock`, which `inflight backends` shows.

fn main() -> std::io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let lock = std::path::Path::new("../../Cargo.lock");
    if lock.exists() {
        println!("cargo::rerun-if-changed={}", lock.display());
    }
    built::write_built_file()
}
