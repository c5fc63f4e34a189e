"""Fuzzes all targets of `fuzz/`, or the given ones, and prints a table of the executions.

    python3 .ci/fuzz.py [--seconds SECONDS] [TARGET...]

Each target runs for the given number of seconds, by default 5. As many targets run at once as there are cores. The
seeds in `fuzz/seeds` are in the repository. New inputs go to `fuzz/corpus`, and inputs that make a target fail to
`fuzz/artifacts`. Neither is in the repository.

Without a nightly compiler, the script prints a message and checks nothing.
cargo-fuzz is not necessary, because the script passes the same flags to the compiler.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FUZZ = ROOT / "fuzz"
TOOLCHAIN = "+nightly"
# The flags of `cargo fuzz build --sanitizer none`. The crates under test forbid `unsafe`, so a sanitizer could only find
# errors of dependencies, and would make the targets several times slower.
FLAGS = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg",
    "fuzzing",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    "-Ccodegen-units=1",
    "-Cdebug-assertions",
]


def host():
    """Returns the host of the nightly compiler, or `None` if there is no such compiler."""
    try:
        # Without rustup, `rustc +nightly -vV` still prints a version, but `cargo +nightly` fails.
        version = subprocess.run(["cargo", TOOLCHAIN, "-vV"], capture_output=True, text=True)
    except FileNotFoundError:
        return None
    found = re.search(r"^host: (.+)$", version.stdout, re.M)
    return found[1] if found else None


def build(host):
    """Builds all targets. Returns their folder."""
    folder = Path(os.environ.get("CARGO_TARGET_DIR", FUZZ / "target")).resolve()
    # With `--target`, the flags do not apply to build scripts.
    command = ["cargo", TOOLCHAIN, "build", "--release", "--locked", "--bins", "--target", host, "--target-dir", str(folder)]
    done = subprocess.run(command, cwd=FUZZ, env=os.environ | {"RUSTFLAGS": " ".join(FLAGS)})
    if done.returncode:
        sys.exit("fuzz: the targets cannot be built")
    return folder / host / "release"


def targets():
    return re.findall(r'^\[\[bin\]\]\nname = "(\w+)"', (FUZZ / "Cargo.toml").read_text(), re.M)


def last(pattern, text):
    found = re.findall(pattern, text)
    return int(found[-1]) if found else 0


def run(binary, seconds):
    """Runs a target. Returns its row of the table, and its output if it failed."""
    target = binary.name
    corpus, artifacts = FUZZ / "corpus" / target, FUZZ / "artifacts" / target
    for folder in (corpus, artifacts):
        folder.mkdir(parents=True, exist_ok=True)
    limits = [f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"]
    # libFuzzer writes new inputs to the first folder.
    command = [binary, f"-artifact_prefix={artifacts}/", *limits, corpus, FUZZ / "seeds" / target]
    start = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    elapsed = time.monotonic() - start
    executions = last(r"stat::number_of_executed_units: +(\d+)", done.stdout)
    coverage = last(r"\bcov: (\d+)", done.stdout)
    row = f"| {target} | {elapsed:.0f} | {executions:,} | {coverage:,} | {len(list(corpus.iterdir())):,} |"
    return row, done.stdout if done.returncode or not executions else None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    options = parser.parse_args()
    chosen = options.targets or targets()
    if unknown := set(chosen) - set(targets()):
        sys.exit(f"no such target: {', '.join(sorted(unknown))} (the targets are {', '.join(targets())})")
    compiler = host()
    if compiler is None:
        print("fuzz: nothing was checked, because there is no nightly compiler (rustup toolchain install nightly)")
        return
    folder = build(compiler)
    print("| target | seconds | executions | coverage (edges) | corpus (files) |\n|---|---|---|---|---|", flush=True)
    failures = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for target, (row, output) in zip(chosen, pool.map(lambda target: run(folder / target, options.seconds), chosen)):
            print(row, flush=True)
            if output is not None:
                failures.append(f"{target} failed:\n{output[-4000:]}")
    if failures:
        sys.exit("\n".join(failures))


main()
