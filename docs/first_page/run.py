#!/usr/bin/env python3
"""Builds and runs the program of the tutorial's first chapter as its readers do: in a crate next to a clone.

Without an option, the script writes each command's output to docs/output/first_page.txt, which the chapter includes.
With `--check`, it writes nothing. In both cases, it fails if the program does not do what the chapter says.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).resolve().parent
ROOT = SOURCE.parent.parent
OUTPUT = ROOT / "docs/output/first_page.txt"
ADDRESS = "127.0.0.1:8080"
# The first lines of a long output say little, such as the names of the crates that Cargo compiles.
LAST_LINES = 5


def start_server(target):
    """Starts the test server on a free port. Returns the process and its address."""
    build = ["cargo", "build", "--quiet", "-p", "inflight-examples", "--bin", "server"]
    subprocess.run(build, cwd=ROOT, check=True)
    program = [target / "debug/server", "127.0.0.1:0"]
    server = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
    return server, server.stdout.readline().strip().removeprefix("listening on http://")


def replace(path, old, new):
    text = path.read_text()
    if old not in text:
        sys.exit(f"{path.name} does not contain {old}")
    path.write_text(text.replace(old, new))


class Crate:
    """The reader's crate, in a folder that also contains the clone."""

    def __init__(self, code, address, target):
        self.code, self.address = code, address
        self.folder = code / "first_page"
        self.manifest, self.main = self.folder / "Cargo.toml", self.folder / "src/main.rs"
        self.environment = {name: value for name, value in os.environ.items() if name != "CARGO_TARGET_DIR"}
        if target:
            self.environment["CARGO_TARGET_DIR"] = str(target)
        (code / "inflight").symlink_to(ROOT)
        shutil.copytree(SOURCE, self.folder, ignore=shutil.ignore_patterns("run.py"))
        # The same versions of the dependencies as in the workspace.
        shutil.copy(ROOT / "Cargo.lock", self.folder)
        replace(self.main, ADDRESS, address)

    def run(self, *expected):
        """Runs `cargo run`. Returns the output, which must contain the expected texts."""
        command = ["cargo", "run", "--color", "never"]
        process = subprocess.run(
            command, cwd=self.folder, env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        output = process.stdout.replace(self.address, ADDRESS)
        # The reader's folder, whichever folder the clone has on this machine.
        for folder in (self.code, self.code.resolve()):
            output = output.replace(str(folder), "/home/you/code")
        output = output.replace(str(ROOT), "/home/you/code/inflight")
        for text in expected:
            if text not in output:
                sys.exit(f"the output of `cargo run` does not contain {text!r}:\n{output}")
        return output


def last_lines(output):
    lines = output.splitlines()
    left_out = len(lines) - LAST_LINES
    return "\n".join([f"[{left_out} lines]"] + lines[-LAST_LINES:])


def first_error(output):
    return re.search(r"(?s)^error.*?\n\n", output, re.M).group()


def run_chapter(crate, server):
    """Runs the commands of the chapter. Yields the name and the output of each."""
    yield "first", last_lines(crate.run("200 OK on tokio\n222 characters\n"))
    replace(crate.main, "/page/1", "/page/2")
    yield "second", crate.run("200 OK on tokio\n222 characters\n")

    replace(crate.manifest, '"tokio"', '"ureq"')
    yield "exercise", last_lines(crate.run("200 OK on threads\n222 characters\n"))
    replace(crate.manifest, ', features = ["ureq"]', "")
    yield "feature", first_error(crate.run("cannot find function `block_on`", 'feature = "tokio"'))

    replace(crate.manifest, "../inflight", "../elsewhere")
    yield "path", crate.run("failed to load source for dependency")
    replace(crate.manifest, '/inflight" }', '/inflight", features = ["tokio"] }')
    replace(crate.manifest, "../elsewhere", "../inflight")
    server.kill()
    server.wait()
    yield "server", re.sub(r"(?s).*(?=^Error: )", "", crate.run("kind: Connect"), flags=re.M)


def main():
    is_check = sys.argv[1:] == ["--check"]
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    server, address = start_server(target)
    try:
        # A crate inside the clone would belong to its workspace.
        with tempfile.TemporaryDirectory() as code:
            # To record the time of a first build, the crate needs an empty target directory.
            crate = Crate(Path(code), address, target / "first_page" if is_check else None)
            outputs = list(run_chapter(crate, server))
    finally:
        server.kill()
    if is_check:
        print("first_page: the program of the tutorial's first chapter does what the chapter says")
        return
    parts = (f"ANCHOR: {name}\n{output.rstrip()}\nANCHOR_END: {name}\n" for name, output in outputs)
    OUTPUT.write_text("".join(parts))
    print(f"recorded {OUTPUT.relative_to(ROOT)}")


main()
