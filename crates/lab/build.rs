//! Collects the versions of the compiler and of the packages in `Cargo.lock`, for the records.

fn main() -> std::io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let lock = std::path::Path::new("../../Cargo.lock");
    if lock.exists() {
        println!("cargo::rerun-if-changed={}", lock.display());
    }
    built::write_built_file()
}
