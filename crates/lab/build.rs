//! Collects the versions in `Cargo.lock` and of the compiler. The records contain them.

fn main() -> std::io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let lock = std::path::Path::new("../../Cargo.lock");
    if lock.exists() {
        println!("cargo::rerun-if-changed={}", lock.display());
    }
    built::write_built_file()
}
