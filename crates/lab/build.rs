//! Notes the versions in `Cargo.lock` and the compiler's, which go into the records.

fn main() -> std::io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let lock = std::path::Path::new("../../Cargo.lock");
    if lock.exists() {
        println!("cargo::rerun-if-changed={}", lock.display());
    }
    built::write_built_file()
}
