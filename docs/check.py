#!/usr/bin/env python3
"""Checks the built book and the project's pages.

The script reports an error for:

- an include that mdBook did not replace, or whose text is empty
- a Rust listing that is not included from a file, or that no command runs
- a recorded output without its command directly above it, or whose program changed since it was recorded
- a recorded file that docs/outputs.toml does not list, or that no page includes
- a picture without a text alternative
- a link to a missing file or anchor, also between the book and the API docs
- an error kind that the page of errors does not list
- generated tabs, or a generated interactive figure, that are not current
- a README.md or ARCHITECTURE.md that is too long
- a program in the README that differs from the example, or a row of figures that is not in the book
"""

import collections
import os
import re
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import dictionary
import examples
import figures
import simulator_check
import tabs

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
BOOK = DOCS / "book"
SOURCE = DOCS / "src"

# These files of docs/output are not recorded outputs.
NOT_RECORDED = {"recorded.json"}

# `just site` publishes the API docs in the folder `api` of the book. `just lint` builds them in this folder.
API_DOCS = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "doc"

README_BYTES = 8192
ARCHITECTURE_LINES = 120
README_PROGRAM = ROOT / "examples/src/bin/gather.rs"

# A path, and an anchor or a range of lines.
INCLUDE = re.compile(r"\{\{#include\s+([^}:]+?)(?::([\w-]+|\d*:\d*))?\s*\}\}")
errors = []


class Page(HTMLParser):
    """Collects the links and the anchors of a page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        for name in ("id", "name"):
            if attributes.get(name):
                self.anchors.add(attributes[name])
        for name in ("href", "src"):
            if attributes.get(name):
                self.links.append(attributes[name])


def included_text(path, part):
    """Returns the text of an include, or an empty string for a missing anchor, as mdBook does."""
    text = path.read_text()
    if part is None:
        return text
    if lines := re.fullmatch(r"(\d*):(\d*)", part):
        first, last = lines.groups()
        return "\n".join(text.splitlines()[int(first or 1) - 1 : int(last) if last else None])
    return anchor_text(text, part)


def anchor_text(text, anchor):
    """Returns the text between the marks of an anchor, or an empty string."""
    found = re.search(rf"ANCHOR: {re.escape(anchor)}\n(.*?)\n[^\n]*ANCHOR_END: {re.escape(anchor)}\b", text, re.S)
    return found.group(1) if found else ""


def markdown_files():
    """Returns the pages, and the tabs that pages include."""
    return sorted(SOURCE.rglob("*.md")) + sorted(tabs.GENERATED.glob("tabs-*.md"))


def check_sources():
    for page in markdown_files():
        text, page_name = page.read_text(), page.relative_to(DOCS)
        command = False
        for block in re.finditer(r"^```(\S*)\n(.*?)^```", text, re.S | re.M):
            language, body = block.groups()
            command = command or language == "console"
            if language.startswith("rust") and not INCLUDE.search(body):
                errors.append(f"{page_name}: a Rust listing is not included from a file, so nothing compiles it")
            for include in INCLUDE.finditer(body):
                name, part = include.groups()
                path = (page.parent / name).resolve()
                if not path.is_file():
                    errors.append(f"{page_name}: the included file {name} does not exist")
                elif not included_text(path, part).strip():
                    errors.append(f"{page_name}: the include {name}:{part} is empty")
                if not command:
                    errors.append(f"{page_name}: there is no command above the listing {name}")


def check_outputs():
    """Checks the recorded outputs: docs/outputs.toml lists their commands and programs."""
    known, recorded, used = figures.entries(), figures.records(), set()
    for page in markdown_files():
        text, page_name = page.read_text(), page.relative_to(DOCS)
        for include in INCLUDE.finditer(text):
            file = (page.parent / include.group(1)).resolve()
            if DOCS / "output" not in file.parents:
                continue
            name = str(file.relative_to(DOCS))
            used.add(name)
            if entry := known.get(name):
                check_command_above(entry, text[: include.start()], page_name)
            else:
                errors.append(f"{page_name}: docs/outputs.toml does not list {name}")
    for name, entry in known.items():
        if not (DOCS / name).is_file():
            errors.append(f"docs/{name}: not recorded yet: run `just figures {name}`")
        elif figures.is_stale(entry, recorded):
            errors.append(f"docs/{name}: its program changed since it was recorded: run `just figures {name}`")
        elif name.endswith(".html") and not re.search(r"<desc[^>]*>[^<]{60}", (DOCS / name).read_text()):
            errors.append(f"docs/{name}: the picture has no text alternative")
        if name.startswith("output/") and name not in used:
            errors.append(f"docs/{name}: no page includes it")
    if not figures.MACHINES.exists() or figures.MACHINES.read_text() != figures.describe_machines(recorded):
        errors.append("docs/generated/machines.md: differs from docs/output/recorded.json: run `just figures --stale`")
    for file in (DOCS / "output").iterdir():
        if file.name not in NOT_RECORDED and f"output/{file.name}" not in known:
            errors.append(f"docs/output/{file.name}: docs/outputs.toml does not list it")


def check_command_above(entry, text, page_name):
    """Checks that the last block of commands in the text contains the command of an output."""
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.S | re.M)
    lines = [line.removeprefix("$ ") for line in blocks[-1].splitlines()] if blocks else []
    if not entry.get("shows_commands") and entry["command"] not in lines:
        errors.append(f"{page_name}: the command of {entry['file']} is not directly above it: {entry['command']}")


def check_book():
    pages = {path: Page(path.read_text()) for path in BOOK.rglob("*.html")}
    if not pages:
        sys.exit("docs/book does not exist: run `mdbook build docs`")
    for path, page in pages.items():
        if "{{#" in path.read_text():
            errors.append(f"{path.relative_to(BOOK)}: an include was not replaced")
        for link in page.links:
            check_link(path, link, page, pages)


def check_link(path, link, page, pages):
    if re.match(r"[a-z]+:", link) or link.startswith("//"):
        return
    name, _, anchor = link.partition("#")
    name = name.partition("?")[0]
    target = (path.parent / name).resolve() if name else path
    if BOOK / "api" in target.parents:
        target = API_DOCS / target.relative_to(BOOK / "api")
        if not API_DOCS.exists():
            return
    if not target.exists():
        errors.append(f"{path.relative_to(BOOK)}: dead link {link}")
    elif anchor and target in pages and anchor not in pages[target].anchors:
        errors.append(f"{path.relative_to(BOOK)}: dead anchor {link}")


def check_pictures_style():
    style = (ROOT / "crates/charts/src/pictures.css").read_text()
    if (DOCS / "theme/pictures.css").read_text() != style:
        errors.append("docs/theme/pictures.css: differs from crates/charts/src/pictures.css: copy it")


def book_links(line):
    """Returns the pages of the book to which a line of the API docs links. The API docs are in a folder of the book."""
    return re.findall(r"\]\((?:\.\./)+([\w/-]+)\.html\)", line)


def check_api_docs():
    """Checks the links from the API docs to the book, and that a chapter's items link back to the chapter."""
    taught = collections.defaultdict(set)
    for file in sorted((ROOT / "crates").rglob("src/**/*.rs")):
        pages = set()
        for line in file.read_text().splitlines():
            is_doc = re.match(r"\s*//[/!]", line)
            if is_doc:
                pages.update(book_links(line))
                errors.extend(
                    f"{file.relative_to(ROOT)}: there is no page {page}.md in the book"
                    for page in book_links(line)
                    if not (SOURCE / f"{page}.md").exists()
                )
            item = re.match(r"\s*pub (?:async )?(?:fn|struct|enum|trait) (\w+)", line)
            if item or (pages and not line):
                # The documentation of a crate ends at the first blank line.
                taught[item[1] if item else crate_name(file)] |= pages
                pages = set()
    for chapter in sorted((SOURCE / "tutorial").glob("*.md")):
        for link, method in re.findall(r"\.\./api/([\w/.]+)\.html(?:#method\.(\w+))?", chapter.read_text()):
            crate, *_, item = link.split("/")
            name = method or (crate if item == "index" else item.split(".")[1])
            if f"tutorial/{chapter.stem}" not in taught[name]:
                errors.append(f"{chapter.name}: the API docs of {name} have no link back to the chapter")


def crate_name(file):
    manifest = file.parents[1] / "Cargo.toml"
    return tomllib.loads(manifest.read_text())["package"]["name"].replace("-", "_") if manifest.exists() else ""


def check_examples():
    if not examples.is_current():
        errors.append("docs/generated/examples.md: differs from the programs: run `python3 docs/examples.py`")


def check_dictionaries():
    errors.extend(dictionary.errors())


def check_errors():
    text = (ROOT / "crates/core/src/error.rs").read_text()
    kinds = re.findall(r'=> "(\w+)"', text[text.index("pub fn as_str") : text.index("fn sentence")])
    page = (SOURCE / "errors.md").read_text()
    for kind in kinds:
        if f"| `{kind}` |" not in page:
            errors.append(f"errors.md: the table lacks the error kind {kind}")


def check_project_pages():
    pages = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    pages += [ROOT / "exercises/README.md"]
    pages += sorted((DOCS / "decisions").glob("*.md"))
    for page in pages:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            if not re.match(r"[a-z]+:", link) and not (page.parent / link.partition("#")[0]).exists():
                errors.append(f"{page.relative_to(ROOT)}: dead link {link}")
    lines = len((ROOT / "ARCHITECTURE.md").read_text().splitlines())
    if lines > ARCHITECTURE_LINES:
        errors.append(f"ARCHITECTURE.md: {lines} lines, but at most {ARCHITECTURE_LINES} are allowed: write a decision page")


def check_readme():
    readme = ROOT / "README.md"
    text = readme.read_text()
    size = readme.stat().st_size
    if size > README_BYTES:
        errors.append(f"README.md: {size} bytes, but at most {README_BYTES} are allowed: move text into the book")
    programs = re.findall(r"^```rust\n(.*?)\n```$", text, re.S | re.M)
    if programs != [anchor_text(README_PROGRAM.read_text(), "gather")]:
        errors.append(f"README.md: the program differs from {README_PROGRAM.relative_to(ROOT)}")
    # A row of figures begins with a cell, such as `| tokio/hyper |`.
    figures = (SOURCE / "figures.md").read_text().splitlines()
    rows = re.findall(r"^\| [a-z-]+/[a-z-]+ .*$", text, re.M)
    if not rows:
        errors.append("README.md: it has no row of figures")
    for row in rows:
        if row not in figures:
            errors.append(f"README.md: this row is not in docs/src/figures.md: {row}")


check_sources()
check_outputs()
errors += tabs.check() + simulator_check.check()
check_pictures_style()
check_api_docs()
check_errors()
check_examples()
check_dictionaries()
check_book()
check_project_pages()
check_readme()
for error in errors:
    print(error, file=sys.stderr)
if errors:
    sys.exit(1)
print("docs: all includes and links are valid")
