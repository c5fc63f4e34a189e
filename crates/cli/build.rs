//! Writes the versions in `Cargo.lock` to a Rust file. `inflight backends` prints some of them.

fn main() -> std::io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let lock = std::path::Path::new("../../Cargo.lock");
    if lock.exists() {
        println!("cargo::rerun-if-changed={}", lock.display());
    }
    built::write_built_file()
}
