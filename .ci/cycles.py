#!/usr/bin/env python3
"""Checks that no import cycle in a crate contains more than two files, or more than one folder.

A file depends on another file if it names an item that the other file defines. For a re-exported name, the
file that defines the item counts. Tests inside a file do not count.

With a crate's folder as argument, the script prints what each file of that crate imports.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LARGEST_CYCLE = 2
IDENTIFIER = r"[A-Za-z_][A-Za-z0-9_]*"


def strip_tests_and_comments(text):
    """Returns the code without comments, strings and the module `tests`."""
    text = re.sub(r"//[^\n]*", "", text)
    text = re.sub(r'"(?:\\.|[^"\\])*"', '""', text, flags=re.S)
    return re.sub(r"#\[cfg\((?:all\()?test\b.*?\]\s*mod \w+ \{.*", "", text, flags=re.S)


def expand(tree):
    """Returns the paths of a use tree such as `a::{b, c::{self, d as e}}`, each with the name that it introduces."""
    tree = tree.strip()
    brace = tree.find("{")
    if brace < 0:
        path, _, name = tree.partition(" as ")
        parts = [part.strip() for part in path.split("::")]
        return [(parts, (name or parts[-1]).strip())]
    prefix = [part.strip() for part in tree[:brace].split("::") if part.strip()]
    inside, depth, start, items = tree[brace + 1 : tree.rindex("}")], 0, 0, []
    for at, char in enumerate(inside + ","):
        depth += (char == "{") - (char == "}")
        if char == "," and depth == 0:
            items.append(inside[start:at])
            start = at + 1
    paths = []
    for item in filter(str.strip, items):
        for parts, name in expand(item):
            if parts == ["self"]:
                parts, name = [], name if name != "self" else prefix[-1]
            paths.append((prefix + parts, name))
    return paths


class Crate:
    def __init__(self, src):
        self.src = src
        root = next(path for path in (src / "lib.rs", src / "main.rs") if path.exists())
        self.files = {(): root}
        self.collect(root, ())
        self.code = {path: strip_tests_and_comments(path.read_text()) for path in self.files.values()}
        self.uses = {module: list(self.use_paths(module)) for module in self.files}

    def collect(self, file, module):
        folder = file.parent if file.name in ("lib.rs", "main.rs", "mod.rs") else file.with_suffix("")
        for name in re.findall(rf"^\s*(?:pub(?:\([^)]*\))? )?mod ({IDENTIFIER});", strip_tests_and_comments(file.read_text()), re.M):
            for path in (folder / f"{name}.rs", folder / name / "mod.rs"):
                if path.exists():
                    self.files[*module, name] = path
                    self.collect(path, (*module, name))

    def use_paths(self, module):
        """Yields each imported path as an absolute path, the name that it introduces, and whether the import is public."""
        for public, tree in re.findall(r"\b(pub(?:\([^)]*\))? )?use ([^;]+);", self.code[self.files[module]]):
            for parts, name in expand(" ".join(tree.split())):
                absolute = self.absolute_path(module, parts)
                if absolute:
                    yield absolute, name, bool(public)

    def absolute_path(self, module, parts):
        if parts[0] == "crate":
            return tuple(parts[1:])
        if parts[0] == "self":
            return (*module, *parts[1:])
        if parts[0] == "super":
            base = list(module)
            while parts and parts[0] == "super":
                base, parts = base[:-1], parts[1:]
            return (*base, *parts)
        if (*module, parts[0]) in self.files:
            return (*module, *parts)
        return None

    def defining_module(self, path, seen=()):
        """Returns the module that defines the item at a path."""
        module = ()
        for at, part in enumerate(path):
            if (*module, part) in self.files:
                module = (*module, part)
                continue
            for target, name, public in self.uses[module]:
                if name == part and public and (target, module) not in seen:
                    return self.defining_module((*target, *path[at + 1 :]), (*seen, (target, module)))
            return module
        return module

    def edges(self):
        edges = {path: set() for path in self.files.values()}
        for module, path in self.files.items():
            targets = [target for target, _, public in self.uses[module] if not self.is_reexport(module, target, public)]
            body = re.sub(r"\buse [^;]+;", "", self.code[path])
            for found in re.findall(rf"\b((?:crate|super|self)(?:::{IDENTIFIER})+)", body):
                targets.append(self.absolute_path(module, found.split("::")))
            local = {parts[-1] for parts in self.files if parts and parts[:-1] == module}
            for found in re.findall(rf"(?<![:\w])({IDENTIFIER}(?:::{IDENTIFIER})+)", body):
                if found.split("::")[0] in local:
                    targets.append((*module, *found.split("::")))
            for target in targets:
                file = self.files[self.defining_module(target)]
                if file != path:
                    edges[path].add(file)
        return edges

    def is_reexport(self, module, target, public):
        """Returns whether a module re-exports an item of its own submodules. This is not a dependency."""
        return public and target[: len(module)] == module


def components(edges):
    """Returns the strongly connected components (Tarjan's algorithm)."""
    index, low, stack, on_stack, found = {}, {}, [], set(), []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        on_stack.add(node)
        for other in edges[node]:
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in on_stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            component = []
            while not component or component[-1] != node:
                component.append(stack.pop())
                on_stack.discard(component[-1])
            found.append(component)

    for node in edges:
        if node not in index:
            visit(node)
    return found


def folder_edges(edges, src):
    """Returns the imports between the folders of a crate. Files outside all folders do not count."""
    def folder(path):
        parts = path.relative_to(src).parts
        return parts[0] if len(parts) > 1 else None

    folders = {folder(path): set() for path in edges}
    for path, others in edges.items():
        folders[folder(path)] |= {folder(other) for other in others} - {folder(path), None}
    folders.pop(None, None)
    return folders


def main():
    crates = sorted(path.parent for path in ROOT.glob("**/Cargo.toml") if (path.parent / "src").is_dir() and "target" not in path.parts)
    crates = [crate for crate in crates if any((crate / "src" / name).exists() for name in ("lib.rs", "main.rs"))]
    violations = 0
    for crate in crates:
        edges = Crate(crate / "src").edges()
        if len(sys.argv) > 1:
            if crate == (ROOT / sys.argv[1]).resolve():
                for path, others in sorted(edges.items()):
                    print(path.relative_to(crate / "src"), "->", *sorted(str(o.relative_to(crate / "src")) for o in others))
            continue
        for component in components(edges):
            if len(component) > LARGEST_CYCLE:
                violations += 1
                names = sorted(str(path.relative_to(crate / "src")) for path in component)
                print(f"{crate.relative_to(ROOT)}: {len(names)} files import each other: {', '.join(names)}")
        for component in components(folder_edges(edges, crate / "src")):
            if len(component) > 1:
                violations += 1
                print(f"{crate.relative_to(ROOT)}: folders import each other: {', '.join(sorted(component))}")
    if violations:
        sys.exit(1)
    if len(sys.argv) == 1:
        print(f"cycles: none of more than {LARGEST_CYCLE} files, and none between folders, in {len(crates)} crates")


main()
