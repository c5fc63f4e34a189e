#!/usr/bin/env python3
"""Compares the instructions per request of the working tree (the change) with those of another commit (the base).

Without an argument, the base is the merge base with the main branch, or the first parent of HEAD if the main branch
already contains HEAD. The script builds `inflight-instructions` of both and counts the instructions of each benchmark
with valgrind. It fails if a benchmark executes over 2 % more instructions per request than in the base. A commit after
the base can permit this with a trailer in its message, one for each benchmark: `More-Instructions: virtual/hyper/get`.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from semver import ROOT, git, merge_base

PACKAGE = "inflight-instructions"
TRAILER = "More-Instructions"
LARGEST_GROWTH = 0.02
REQUESTS = 500
# With one codegen unit for each crate, a change of one function seldom changes how the compiler inlines others.
PROFILE = {
    "CARGO_INCREMENTAL": "0",
    "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "1",
    "CARGO_PROFILE_RELEASE_DEBUG": "false",
}


def run(*command, **options):
    """Runs a command and returns its output. If the command fails, the script ends with the command's message."""
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stderr.strip()}")
    return done.stdout


def build(source, program):
    """Builds the benchmarks of a checkout."""
    target = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "instructions"
    # Both checkouts share this folder, so that the dependencies are compiled once. But Cargo does not distinguish the
    # workspace's crates of two checkouts and compares only the times of files. Without their fingerprints, it compiles
    # these crates again.
    for fingerprint in target.glob("release/.fingerprint/inflight-*"):
        shutil.rmtree(fingerprint)
    options = ["--quiet", "--release", "--locked", "--package", PACKAGE, "--target-dir", target]
    run("cargo", "build", *options, cwd=source, env={**os.environ, **PROFILE})
    shutil.copy(target / "release" / PACKAGE, program)


def count(program, benchmark, requests):
    """Returns the instructions of each function in one run."""
    output = program.with_name(f"{program.name}-{benchmark.replace('/', '-')}-{requests}")
    options = ["--tool=cachegrind", "--cache-sim=no", f"--cachegrind-out-file={output}"]
    # The environment is on the stack and moves its addresses, so all runs get the same environment.
    environment = {"PATH": os.environ["PATH"], "LD_PRELOAD": str(program.with_name("repeatable.so"))}
    run("valgrind", *options, program, benchmark, str(requests), env=environment)
    counts, function = Counter(), None
    for line in output.read_text().splitlines():
        if line.startswith("fn="):
            # Without the compiler's hash.
            function = re.sub(r"::h[0-9a-f]{16}$", "", line.removeprefix("fn="))
        elif line[:1].isdigit():
            counts[function] += int(line.split()[1])
    return counts


def measure(program):
    """Returns the instructions per request of each function, for each benchmark."""

    def per_request(benchmark):
        # The difference contains no start-up and no opening of connections.
        counts = count(program, benchmark, 2 * REQUESTS)
        counts.subtract(count(program, benchmark, REQUESTS))
        return Counter({function: instructions / REQUESTS for function, instructions in counts.items()})

    benchmarks = run(program, "--list").split()
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return dict(zip(benchmarks, threads.map(per_request, benchmarks)))


def compare(base, change):
    """Prints the instructions of each benchmark, and returns the benchmarks that grew too much."""
    print(f"{'instructions per request':24} {'base':>10} {'change':>10} {'growth':>9}")
    too_large = []
    for name, functions in change.items():
        after = functions.total()
        if name not in base:
            print(f"{name:24} {'-':>10} {after:10,.0f}")
            continue
        before = base[name].total()
        print(f"{name:24} {before:10,.0f} {after:10,.0f} {after / before - 1:+9.2%}")
        if after > before * (1 + LARGEST_GROWTH):
            too_large.append(name)
            functions.subtract(base[name])
            for function, instructions in functions.most_common(5):
                if instructions >= 1:
                    print(f"    {instructions:+10,.0f} {function[:150]}")
    for name in base.keys() - change.keys():
        print(f"{name:24} {base[name].total():10,.0f} {'-':>10}")
    return too_large


def main():
    if sys.argv[1:2] in (["-h"], ["--help"]):
        return print(__doc__)
    if len(sys.argv) > 2:
        sys.exit(__doc__)
    if not shutil.which("valgrind"):
        return print("instructions: skipped, because valgrind is not installed")
    base = git("rev-parse", "--verify", f"{sys.argv[1]}^{{commit}}") if sys.argv[1:] else merge_base()
    if not base and sys.argv[1:]:
        sys.exit(f"instructions: this clone has no commit {sys.argv[1]}")
    if not base:
        return print("instructions: skipped, because this clone does not contain the base")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # The arguments of a program are on its stack, so the two paths have the same length.
        before, change = folder / "before", folder / "change"
        print(f"instructions: comparing with {base[:12]}", flush=True)
        library = ROOT / "benches" / "instructions" / "repeatable.c"
        # As built-in functions, `malloc` and `memset` in `calloc` would become a call of `calloc`.
        run("cc", "-O2", "-fno-builtin", "-shared", "-fPIC", library, "-o", folder / "repeatable.so")
        source = folder / "source"
        run("git", "worktree", "add", "--detach", source, base, cwd=ROOT)
        try:
            has_base = (source / "benches" / "instructions").is_dir()
            if has_base:
                build(source, before)
        finally:
            run("git", "worktree", "remove", "--force", source, cwd=ROOT)
        build(ROOT, change)
        too_large = compare(measure(before) if has_base else {}, measure(change))
    if not has_base:
        print("instructions: nothing is compared, because the base has no benchmarks")
    permitted = (git("log", f"--format=%(trailers:key={TRAILER},valueonly)", f"{base}..HEAD") or "").split()
    if failed := [name for name in too_large if name not in permitted]:
        sys.exit(
            f"instructions: over {LARGEST_GROWTH:.0%} more instructions per request in {', '.join(failed)} (if this is "
            f"intended, add a trailer for each to a commit message: `{TRAILER}: NAME`)"
        )


if __name__ == "__main__":
    main()
