#!/usr/bin/env python3
"""Measures what each feature of inflight costs a program: compile time, number of crates and size of the program.

The program is that of the README. Each build is a release build from nothing, except for the downloaded sources. The
script prints two tables as Markdown. It needs about six minutes on 2 cores.
"""

import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "examples/src/bin/gather.rs"
BACKENDS = ["tokio", "smol", "async-std", "ureq"]
ADDITIONS = ["cookies", "hickory", "probe", "probe-stacks", "tracing", "metrics", "tower"]

MANIFEST = """[package]
name = "footprint"
edition = "2024"

[dependencies]
inflight = {{ path = "{path}", features = [{features}] }}

[profile.release]
strip = true

[workspace]
"""


def write_crate(folder, features):
    quoted = ", ".join(f'"{feature}"' for feature in features)
    manifest = MANIFEST.format(path=ROOT / "crates/inflight", features=quoted)
    (folder / "Cargo.toml").write_text(manifest)
    (folder / "src").mkdir(exist_ok=True)
    shutil.copy(PROGRAM, folder / "src/main.rs")
    # The same versions of the dependencies as in the workspace.
    shutil.copy(ROOT / "Cargo.lock", folder)


def cargo(folder, *arguments):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CARGO_")}
    # With isahc, this definition removes a limit of libcurl. The README describes it.
    environment["CFLAGS"] = "-DHAVE_POLL=1"
    command = ["cargo", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, check=True, text=True, capture_output=True).stdout


def crates(folder):
    """Returns the number of crates that are compiled into the program, without crates of the build."""
    tree = cargo(folder, "tree", "--edges", "normal", "--prefix", "none")
    names = {re.sub(r" \(.*", "", line) for line in tree.splitlines() if line}
    return len(names) - 1


def build(folder):
    """Builds the program from nothing. Returns the seconds and the size in bytes."""
    shutil.rmtree(folder / "target", ignore_errors=True)
    started = time.monotonic()
    cargo(folder, "build", "--release")
    return time.monotonic() - started, (folder / "target/release/footprint").stat().st_size


def print_backends(folder):
    print("| feature | crates | compile time | size of the program |")
    print("|---|--:|--:|--:|")
    for backend in BACKENDS:
        write_crate(folder, [backend])
        cargo(folder, "fetch")
        seconds, size = build(folder)
        print(f"| `{backend}` | {crates(folder)} | {seconds:.0f} s | {size / 2**20:.1f} MiB |", flush=True)


def print_additions(folder):
    print("| feature, in addition to `tokio` | additional crates |")
    print("|---|--:|")
    write_crate(folder, ["tokio"])
    base = crates(folder)
    for addition in ADDITIONS:
        write_crate(folder, ["tokio", addition])
        print(f"| `{addition}` | {crates(folder) - base} |", flush=True)


def main():
    with tempfile.TemporaryDirectory() as name:
        print_backends(Path(name))
        print()
        print_additions(Path(name))


main()
