#!/usr/bin/env python3
"""Writes and checks the parts of the book that come from the tests of its dictionaries.

A dictionary is a page of the book with a row for each test of a test target. The marks `ANCHOR: NAME` in the test
NAME enclose the listing of its row. The script writes

- docs/dictionary/*.rs: each listing without its indentation, and each whole test
- docs/src/dictionary-tests.md: the page to which the rows link

`--check` changes no file, and reports an error for

- a row whose test does not exist, or without a link to its test
- a test without a row
- a page that names a case of the conformance suite, such as `guard::guard_refuses_a_name`, which does not exist
- a file that the script would change
"""

import re
import sys
import textwrap
from pathlib import Path

DOCS = Path(__file__).resolve().parent
SOURCE = DOCS / "src"
TESTS = DOCS.parent / "examples/tests"
CASES = DOCS.parent / "crates/conformance/src/cases"
TESTS_PAGE = SOURCE / "dictionary-tests.md"

# The page, the test target, and the title of its tests.
DICTIONARIES = [
    ("coming-from-python", "python_dictionary", "Coming from aiohttp and httpx"),
    ("coming-from-reqwest", "reqwest_dictionary", "Coming from reqwest"),
]

TEST = re.compile(r"^((?:#\[[^\n]*\]\n)*)fn (\w+)\(\)[^\n]*\{\n.*?^\}\n", re.S | re.M)
MARK = re.compile(r"^\s*// ANCHOR(?:_END)?: \w+\n", re.M)
PAGE_INTRODUCTION = """# Tests of the dictionaries

Each row of [Coming from aiohttp and httpx](coming-from-python.md) and of [Coming from reqwest](coming-from-reqwest.md)
is a test. This page shows the tests. A test starts its own server, the *origin*, or uses the [mock](testing.md) in
virtual time.
"""


class Dictionary:
    """A page of the book and the tests of its rows."""

    def __init__(self, page, target, title):
        self.page, self.target, self.title = page, target, title
        self.listings = DOCS / "dictionary" / f"{target}.rs"
        folder = TESTS / target
        self.files = sorted(folder.glob("*.rs")) if folder.is_dir() else [TESTS / f"{target}.rs"]
        self.tests = {}
        for path in self.files:
            text = path.read_text()
            for found in TEST.finditer(text):
                if "#[test]" in found.group(1):
                    name = found.group(2)
                    self.tests[name] = (MARK.sub("", found.group()), listing(text, name))

    def listings_text(self):
        """Returns the file that the pages include."""
        files = ", ".join(str(path.relative_to(DOCS.parent)) for path in self.files)
        parts = [f"// Written by docs/dictionary.py from {files}.\n"]
        for name, (test, code) in self.tests.items():
            for anchor, text in ((name, code), (f"test_{name}", test)):
                parts.append(f"// ANCHOR: {anchor}\n{text}// ANCHOR_END: {anchor}\n")
        return "\n".join(parts)

    def tests_section(self):
        """Returns the section of the page of tests."""
        section = f"## {self.title}\n\n```console\ncargo test -p inflight-examples --test {self.target}\n```\n"
        for name in self.tests:
            include = f"{{{{#include ../dictionary/{self.target}.rs:test_{name}}}}}"
            heading = f"### {name} {{#{self.page}-{name}}}"
            section += f"\n{heading}\n\n```rust,ignore\n{include}\n```\n"
        return section

    def row_errors(self):
        """Compares the rows of the page with the tests."""
        text = (SOURCE / f"{self.page}.md").read_text()
        rows = set(re.findall(rf"\{{#include \.\./dictionary/{self.target}\.rs:(\w+)\}}", text))
        links = set(re.findall(rf"\(dictionary-tests\.md#{self.page}-(\w+)\)", text))
        tests = {name for name, (_, code) in self.tests.items() if code}
        errors = [f"the row {name} has no test" for name in sorted((rows | links) - tests)]
        errors += [f"the test {name} has no row" for name in sorted(tests - rows)]
        errors += [f"the test {name} has no listing: mark it with ANCHOR" for name in sorted(set(self.tests) - tests)]
        errors += [f"the row {name} has no link to its test" for name in sorted(rows - links)]
        return [f"{self.page}.md: {error}" for error in errors]


def listing(text, name):
    """Returns the parts between the marks of a test, without their indentation. Several parts may have the name of
    the test, for example a function and its call."""
    parts = re.findall(rf"^ *// ANCHOR: {name}\n(.*?)^ *// ANCHOR_END: {name}$", text, re.S | re.M)
    return "".join(textwrap.dedent(part) for part in parts)


def generated():
    """Returns each generated file with its text."""
    dictionaries = [Dictionary(*dictionary) for dictionary in DICTIONARIES]
    files = {dictionary.listings: dictionary.listings_text() for dictionary in dictionaries}
    sections = [dictionary.tests_section() for dictionary in dictionaries]
    files[TESTS_PAGE] = "\n".join([PAGE_INTRODUCTION, *sections])
    return dictionaries, files


def case_errors():
    """Checks the names of cases in the pages: the name of a group, two colons, and the name of the case."""
    found = []
    for page in sorted(SOURCE.rglob("*.md")):
        for group, case in re.findall(r"`(\w+)::([a-z0-9]+(?:_[a-z0-9]+)+)`", page.read_text()):
            path = CASES / f"{group}.rs"
            if path.is_file() and not re.search(rf"\bfn {case}\b", path.read_text()):
                found.append(f"{page.relative_to(SOURCE)}: the conformance suite has no case {group}::{case}")
    return found


def errors():
    """Returns the faults of the pages and of the generated files."""
    dictionaries, files = generated()
    found = [error for dictionary in dictionaries for error in dictionary.row_errors()] + case_errors()
    for path, text in files.items():
        if not path.is_file() or path.read_text() != text:
            found.append(f"{path.relative_to(DOCS)} is out of date: run `python3 docs/dictionary.py`")
    return found


def main():
    if sys.argv[1:] != ["--check"]:
        for path, text in generated()[1].items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    if found := errors():
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
