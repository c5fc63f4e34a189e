#!/usr/bin/env python3
"""Checks that no dependency requires a newer Rust than the workspace's `rust-version`, and that other files name it."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# How other files name the version.
MENTIONS = {
    "README.md": "inflight needs Rust {}.",
    "docs/src/versions.md": "inflight needs Rust {},",
    ".github/workflows/ci.yml": 'toolchain: "{}"',
}


def version(text):
    return tuple(int(part) for part in (text + ".0.0").split(".")[:3])


def main():
    command = ["cargo", "metadata", "--locked", "--all-features", "--format-version", "1"]
    packages = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["packages"]
    workspace = next(package["rust_version"] for package in packages if package["name"] == "inflight-core")
    faults = [
        f"{package['name']} {package['version']} requires Rust {package['rust_version']}"
        for package in packages
        if package["rust_version"] and version(package["rust_version"]) > version(workspace)
    ]
    faults += [
        f"{file} does not contain: {text.format(workspace)}"
        for file, text in MENTIONS.items()
        if text.format(workspace) not in (ROOT / file).read_text()
    ]
    for line in faults:
        print(line, file=sys.stderr)
    if faults:
        sys.exit(f"the workspace's rust-version is {workspace}")
    print(f"rust-version: none of {len(packages)} packages requires more than Rust {workspace}")


if __name__ == "__main__":
    main()
