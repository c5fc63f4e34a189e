#!/usr/bin/env python3
"""Checks with cargo-semver-checks that no public item has changed in a breaking way since the merge base.

The merge base is the last common commit with `origin/main` or else `main`, or the first parent if there is none or if
it is this commit. `--base REV` selects another commit. A breaking change passes if CHANGELOG.md has more entries that
begin with `**Breaking:**` than at the merge base.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MARK = "- **Breaking:**"


def git(*arguments):
    """Returns the output of a git command, or `None` if it fails."""
    process = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return process.stdout.strip() if process.returncode == 0 else None


def merge_base():
    head = git("rev-parse", "HEAD")
    base = git("merge-base", "HEAD", "origin/main") or git("merge-base", "HEAD", "main")
    return base if base and base != head else git("rev-parse", "--verify", "HEAD^1")


def changed_packages(base):
    """Returns the published crates that existed at the base and have a changed file."""
    metadata = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version", "1"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for package in json.loads(metadata.stdout)["packages"]:
        folder = Path(package["manifest_path"]).parent.relative_to(ROOT)
        is_library = any("lib" in target["kind"] for target in package["targets"])
        is_published = package["publish"] is None and is_library
        if is_published and git("cat-file", "-e", f"{base}:{folder}/Cargo.toml") is not None:
            if git("diff", "--name-only", base, "HEAD", "--", folder):
                yield package["name"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", metavar="REV", default=merge_base())
    parser.add_argument("--package", "-p", metavar="NAME", action="append", default=[])
    arguments = parser.parse_args()
    if not shutil.which("cargo-semver-checks"):
        print("semver: skipped, because cargo-semver-checks is not installed")
        return
    if not arguments.base:
        print("semver: skipped, because the commit has no parent")
        return
    names = arguments.package or list(changed_packages(arguments.base))
    if not names:
        print(f"semver: no published library has changed since {arguments.base[:12]}")
        return
    packages = [f"--package={name}" for name in names]
    # The versions of the crates do not change until a release, so the type of the release must be given: one that
    # breaks nothing.
    command = ["cargo", "semver-checks", *packages, f"--baseline-rev={arguments.base}", "--release-type=minor"]
    if subprocess.run(command, cwd=ROOT).returncode == 0:
        print(f"semver: no breaking change since {arguments.base[:12]}")
        return
    before = (git("show", f"{arguments.base}:CHANGELOG.md") or "").count(MARK)
    if (ROOT / "CHANGELOG.md").read_text().count(MARK) <= before:
        sys.exit(f"semver: a breaking change needs an entry in CHANGELOG.md that begins with `{MARK}`")
    print("semver: CHANGELOG.md lists a breaking change")


if __name__ == "__main__":
    main()
