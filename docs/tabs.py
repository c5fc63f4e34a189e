#!/usr/bin/env python3
"""Writes the tabs of the book: the places where the four named backends differ.

To add tabs to a page:

1. Add an entry to docs/tabs.toml. `{backend}` stands for the name of the backend:

       [stall]
       output = "stall-{backend}.txt"

   An output is a recorded file of docs/output. docs/outputs.toml contains its command, which the tab shows above the
   output. A text needs no command:

       [features]
       language = "toml"
       text = 'inflight = { features = ["{backend}"] }'

   `language` is the language of the block, and the default is `text`. If an output is a picture (`four-{backend}.html`),
   the tab shows the picture. A table of texts replaces the text if the backends have nothing in common:
   `text.tokio = "..."`, `text.smol = "..."`. The tabs of an entry are all four backends, or `backends = ["tokio", "smol"]`.

2. Run `python3 docs/tabs.py`. It writes docs/generated/tabs-stall.md.

3. Include this file in the page, on a line of its own. The page needs no console block of its own:

       {{#include ../../generated/tabs-stall.md}}

The file contains the variants one below the other, each with a label. docs/theme/tabs.js turns them into tabs. The
outputs are includes, so the file stays current when an output is recorded again.

`python3 docs/tabs.py --check`, and `check()` for other scripts, report the files that are not current. `files()` returns
the generated files. Their includes need the same checks as the includes of a page.
"""

import sys
import tomllib
from pathlib import Path

DOCS = Path(__file__).resolve().parent
DECLARATION = DOCS / "tabs.toml"
MANIFEST = DOCS / "outputs.toml"
GENERATED = DOCS / "generated"

# The labels of the tabs. The order is the order of the default backend.
BACKENDS = {
    "tokio": "tokio, with hyper",
    "smol": "smol, with isahc",
    "async-std": "async-std, with surf",
    "ureq": "threads, with ureq",
}


def block(language, text):
    return f"```{language}\n{text}\n```"


def recorded(name):
    """Returns a recorded output below its command."""
    file = f"output/{name}"
    commands = [entry["command"] for entry in tomllib.loads(MANIFEST.read_text())["output"] if entry["file"] == file]
    if not commands:
        sys.exit(f"docs/tabs.toml: docs/outputs.toml does not list {file}")
    include = "{{#include ../" + file + "}}"
    return [block("console", commands[0]), include if name.endswith(".html") else block("text", include)]


def variant(entry, backend):
    """Returns the blocks of a tab."""
    if "output" in entry:
        return recorded(entry["output"].replace("{backend}", backend))
    text = entry["text"]
    text = text[backend] if isinstance(text, dict) else text
    return [block(entry.get("language", "text"), text.replace("{backend}", backend).strip("\n"))]


def markdown(entry):
    """Returns the file of an entry. Blank lines separate Markdown from HTML."""
    parts = ['<div class="tabs">']
    for backend in entry.get("backends", BACKENDS):
        parts += [
            f'<div class="tab" data-tab="{backend}">',
            f'<p class="tab-label">{BACKENDS[backend]}</p>',
            *variant(entry, backend),
            "</div>",
        ]
    parts.append("</div>")
    return "\n\n".join(parts) + "\n"


def entries():
    return tomllib.loads(DECLARATION.read_text())


def files():
    """Returns the path and the text of each generated file."""
    return {GENERATED / f"tabs-{name}.md": markdown(entry) for name, entry in entries().items()}


def check():
    """Returns an error for each file that is missing or not current."""
    current = files()
    errors = [
        f"{path.relative_to(DOCS)} is not current: run `python3 docs/tabs.py`"
        for path, text in current.items()
        if not path.is_file() or path.read_text() != text
    ]
    errors += [
        f"{path.relative_to(DOCS)} has no entry in docs/tabs.toml: delete it"
        for path in sorted(GENERATED.glob("tabs-*.md"))
        if path not in current
    ]
    return errors


def main():
    if sys.argv[1:] != ["--check"]:
        for path, text in files().items():
            path.write_text(text)
    if errors := check():
        sys.exit("\n".join(errors))
    print(f"tabs: {len(files())} files are current")


if __name__ == "__main__":
    main()
