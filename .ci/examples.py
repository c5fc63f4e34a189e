#!/usr/bin/env python3
"""Checks that the documentation of every public item has an example, or a link to one ("For an example, see ..").

A public item is a function, type, trait or constant that is declared `pub` outside all functions and impl
blocks, in the root of a crate, in a public module, or under a name that a `pub use` exports. Methods, modules,
items in `macro_rules!` and items with `#[doc(hidden)]` do not count.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("core", "inflight", "probe", "runtimes/*", "clients/*")
FILES = ("net/src/hickory.rs",)
LINK = "For an example"

ITEM = re.compile(r"^( {4})?pub (?:const |async |unsafe )*(fn|struct|enum|union|trait|type|const|static) (\w+)")
# An item in one of these blocks is indented.
BLOCK = re.compile(r"^(?:(?:pub )?mod \w+|\w+!) \{$")


def exported_names(files):
    """Returns the last names of all paths in `pub use`."""
    uses = [use for file in files for use in re.findall(r"^\s*pub use ([^;]+);", file.read_text(), re.M)]
    return {name for use in uses for name in re.findall(r"(\w+)(?=\s*(?:[,}]|$))", use)}


def is_public_module(file, src):
    """Returns whether a file is the root of a crate or a module that the root declares `pub`."""
    parts = file.relative_to(src).with_suffix("").parts
    parts = parts[:-1] if parts[-1] in ("lib", "mod") else parts
    root = (src / "lib.rs").read_text()
    return not parts or (len(parts) == 1 and re.search(rf"^pub mod {parts[0]};", root, re.M))


def documentation(lines, at):
    """Returns the doc comment and the attributes above a line."""
    first, in_attribute = at, False
    while first and (in_attribute or re.match(r"\s*(///|#\[|.*\]$)", lines[first - 1])):
        first -= 1
        text = lines[first].strip()
        # Attributes may have several lines. The last one ends with a bracket.
        in_attribute = not text.startswith(("///", "#["))
    return "\n".join(lines[first:at])


def public_items(file):
    """Yields the indices, kinds and names of the items that are declared `pub`."""
    block = ""
    for at, line in enumerate(file.read_text().splitlines()):
        if line and not line.startswith((" ", "}", ")", "/", "#")):
            block = line
        found = ITEM.match(line)
        if found and (not found[1] or BLOCK.match(block)):
            yield at, found[2], found[3]


def main():
    faults, count = [], 0
    sources = {src: sorted(src.rglob("*.rs")) for crate in SOURCES for src in (ROOT / "crates").glob(f"{crate}/src")}
    for path in FILES:
        sources[ROOT / "crates" / path] = [ROOT / "crates" / path]
    for src, files in sorted(sources.items()):
        exported = exported_names(files)
        for file in files:
            is_public = file == src or is_public_module(file, src)
            lines = file.read_text().splitlines()
            for at, kind, name in public_items(file):
                docs = documentation(lines, at)
                if not (is_public or name in exported) or "#[doc(hidden)]" in docs:
                    continue
                count += 1
                if "```" not in docs and LINK not in docs:
                    faults.append(f"{file.relative_to(ROOT)}:{at + 1}: {kind} {name} has no example, and no link to one")
    if faults:
        sys.exit("\n".join(faults))
    print(f"examples: each of {count} public items has an example or a link to one")


main()
