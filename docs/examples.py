#!/usr/bin/env python3
"""Writes docs/generated/examples.md: a table with the goal and the command of each example program.

Both come from the first paragraph of a program's documentation, such as "Fetches one page: `just run get`."
"""

import re
from pathlib import Path

DOCS = Path(__file__).resolve().parent
PROGRAMS = DOCS.parent / "examples/src/bin"
PAGE = DOCS / "generated/examples.md"


def sources(program):
    return sorted(program.glob("*.rs")) if program.is_dir() else [program]


def first_paragraph(program):
    main = program / "main.rs" if program.is_dir() else program
    lines = []
    for line in main.read_text().splitlines():
        if not line.startswith("//! "):
            break
        lines.append(line.removeprefix("//! "))
    return " ".join(lines)


def table():
    """Returns the table as Markdown."""
    rows = ["| goal | command | picture |", "|---|---|---|"]
    for program in sorted(PROGRAMS.iterdir()):
        found = re.fullmatch(r"(.*): `((?:just|cargo) .*)`\.", first_paragraph(program))
        if not found:
            raise ValueError(f"{program.name}: the first paragraph does not end with a command: `just run NAME`.")
        goal, command = found.groups()
        name = program.stem
        has_picture = any("print_picture(" in source.read_text() for source in sources(program))
        picture = f"`{command.replace('just run', 'just picture')}`" if has_picture and "picture" not in command else ""
        rows.append(f"| {goal} | `{command}` | {picture} |")
    return "\n".join(rows) + "\n"


def is_current():
    return PAGE.exists() and PAGE.read_text() == table()


if __name__ == "__main__":
    PAGE.write_text(table())
