//! Tests of the compiler's messages for mistakes that users make.
//!
//! Each file in `compiler/` is a module that must compile, or that must fail with the text in its line
//! `//! error:`. Only this text is compared, because the rest changes with each version of the compiler.

use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;

const MANIFEST: &str = r#"[package]
name = "compiler"
edition = "2024"

[dependencies]
futures-util = { version = "0.3", default-features = false }
inflight = { path = "INFLIGHT" }

[workspace]
"#;

#[test]
fn the_compiler_names_the_remedy() -> Result<(), Box<dyn Error>> {
    let inflight = Path::new(env!("CARGO_MANIFEST_DIR"));
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiler");
    let sources = package.join("src");
    // Removes the files of earlier runs, but keeps the compiled dependencies.
    fs::remove_dir_all(&sources).or_else(ignore_missing)?;
    fs::create_dir_all(&sources)?;
    let manifest = MANIFEST.replace("INFLIGHT", &inflight.display().to_string());
    fs::write(package.join("Cargo.toml"), manifest)?;
    fs::copy(
        inflight.join("../../Cargo.lock"),
        package.join("Cargo.lock"),
    )?;

    let mut cases = 0;
    for entry in fs::read_dir(inflight.join("tests/compiler"))? {
        let path = entry?.path();
        let source = fs::read_to_string(&path)?;
        fs::write(sources.join("lib.rs"), &source)?;
        let checked = Command::new(env!("CARGO"))
            .args(["check", "--quiet", "--offline"])
            .current_dir(&package)
            // The options of the outer build would recompile the dependencies.
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("RUSTFLAGS")
            .output()?;
        let messages = String::from_utf8_lossy(&checked.stderr);
        let mut lines = source.lines();
        let expected = lines.find_map(|line| line.strip_prefix("//! error: "));
        let is_as_expected = match expected {
            Some(text) => !checked.status.success() && messages.contains(text),
            None => checked.status.success(),
        };
        assert!(
            is_as_expected,
            "{}: expected {expected:?}:\n{messages}",
            path.display()
        );
        cases += 1;
    }
    assert!(cases > 1);
    Ok(())
}

fn ignore_missing(error: std::io::Error) -> std::io::Result<()> {
    match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    }
}
