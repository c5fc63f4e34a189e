#!/usr/bin/env python3
"""Checks the names of types, traits and functions in all crates.

A name must not be on the list of metaphors. No two types in one crate share a name. Several types may be
called `Inner`, `State` or `Shared`, each next to its single owner.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

METAPHORS = set(
    """
    Roll Entry Round Ringer Alarm Bell Seat Place Gate Draft Hop Governed Told Own Observed Kept Known
    Life Lease Nothing Never Dial Drained LookUps Ask Beat Heart Late Slow Look Strip Heat Dots
    """.split()
)
METAPHORS |= {re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower() for name in METAPHORS}
PRIVATE = {"Inner", "State", "Shared"}

DEFINITION = re.compile(
    r"^( *)(?:pub(?:\([^)]*\))? )?(?:const |async |unsafe )*(struct|enum|union|trait|type|fn) (\w+)", re.M
)


def code(path):
    return re.sub(r"//[^\n]*", "", path.read_text())


def main():
    faults = []
    crates = [path.parent for path in ROOT.glob("**/Cargo.toml") if "target" not in path.parts]
    for crate in sorted(crates):
        if not (crate / "src").is_dir():
            continue
        defined = {}
        files = [path for folder in ("src", "tests", "benches") for path in sorted((crate / folder).glob("**/*.rs"))]
        for path in files:
            text = code(path)
            tests = text.find("#[cfg(test)]\nmod tests")
            for found in DEFINITION.finditer(text):
                indent, kind, name = found.groups()
                where = f"{path.relative_to(ROOT)}: {kind} {name}"
                if name in METAPHORS:
                    faults.append(f"{where}: use the standard term")
                is_test = path.parts[len(crate.parts)] != "src" or 0 <= tests < found.start()
                # Associated types and types in macros or functions are indented.
                if kind != "fn" and not indent and not is_test and name not in PRIVATE:
                    defined.setdefault(name, []).append(str(path.relative_to(crate)))
        binaries = {name: [p for p in paths if not p.startswith("src/bin/")] for name, paths in defined.items()}
        for name, paths in sorted(binaries.items()):
            if len(paths) > 1:
                faults.append(f"{crate.relative_to(ROOT)}: {len(paths)} types have the name {name}: {', '.join(paths)}")
    if faults:
        sys.exit("\n".join(faults))
    print(f"names: {len(crates)} packages use none of the {len(METAPHORS)} listed metaphors")


main()
