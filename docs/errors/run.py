#!/usr/bin/env python3
"""Compiles the programs of the tutorial's second chapter, most of which have an error.

    run.py e0728      prints what the compiler reports about src/bin/e0728.rs
    run.py --check    fails unless each program has its error, and unless its fixed version compiles

The check compares only the codes of the errors, because the texts and the lints change with each version of the
compiler.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

CRATE = Path(__file__).resolve().parent
ROOT = CRATE.parent.parent
PROGRAMS = CRATE / "src/bin"
FIXED = "_fixed"

# The name of a program begins with the code of its error, except for these. An error without a code has a text.
OTHER_CODES = {
    "never_runs": "unused_must_use",
    "not_general": "implementation of `FnOnce` is not general enough",
    "not_send": "future cannot be sent between threads safely",
}

# The paths in messages are relative to the clone, wherever the clone and the toolchain are.
PATHS = [
    (re.escape(f"{ROOT}/"), ""),
    (r"(?<![\w/])src/bin/", "docs/errors/src/bin/"),
    (r"\S*/(?:rustc/[0-9a-f]+|rustlib/src/rust)/library/", "library/"),
    (r"\S*/registry/src/[^/]+/", ""),
]


def cargo(*arguments, **options):
    # The same versions of the dependencies as in the main workspace, and the same folder for what is compiled.
    shutil.copy(ROOT / "Cargo.lock", CRATE)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).absolute()
    environment = os.environ | {"CARGO_TARGET_DIR": str(target)}
    return subprocess.run(["cargo", "check", *arguments], cwd=CRATE, env=environment, text=True, **options)


def compile_dependencies():
    """Compiles the library. The first time, this takes a while, so that a person should see the progress."""
    quiet = [] if sys.stderr.isatty() else ["--quiet"]
    if cargo("--package", "inflight", *quiet).returncode:
        sys.exit("the library does not compile")


def diagnostics(*arguments):
    """Returns the errors and warnings of each program."""
    process = cargo("--keep-going", "--message-format", "json", *arguments, capture_output=True)
    found = {}
    for line in process.stdout.splitlines():
        item = json.loads(line)
        message = item.get("message")
        # The last message of a program has no place in the source. It counts the errors.
        if message and message["spans"] and Path(item["target"]["src_path"]).is_relative_to(PROGRAMS):
            found.setdefault(item["target"]["name"], []).append(message)
    if process.returncode and not found:
        sys.exit(process.stderr)
    return found


def code_of(message):
    return message["code"]["code"] if message["code"] else message["message"]


def expected_code(name):
    return OTHER_CODES.get(name) or name.partition("_")[0].upper()


def rendered(message):
    text = message["rendered"]
    for path, replacement in PATHS:
        text = re.sub(path, replacement, text)
    return text.rstrip()


def show(name):
    """Prints the messages of a program. Returns the exit status."""
    if not (PROGRAMS / f"{name}.rs").is_file():
        names = ", ".join(sorted(path.stem for path in PROGRAMS.glob("*.rs")))
        sys.exit(f"there is no program {name}: choose one of {names}")
    compile_dependencies()
    messages = diagnostics("--bin", name).get(name, [])
    print("\n\n".join(map(rendered, messages)) or f"docs/errors/src/bin/{name}.rs compiles without a warning")
    return int(any(message["level"] == "error" for message in messages))


def compared(name, messages):
    """Returns the messages that the check compares: all errors, and the warning that a program has instead of an error."""
    return [message for message in messages if message["level"] == "error" or code_of(message) == expected_code(name)]


def faults_of(name, messages):
    """Yields what is wrong with a program and its fixed version."""
    codes = {code_of(message) for message in compared(name, messages.get(name, []))}
    if codes != {expected_code(name)}:
        yield f"{name}.rs: expected {expected_code(name)}, and the compiler reports {codes or 'nothing'}"
    if not (PROGRAMS / f"{name}{FIXED}.rs").is_file():
        yield f"{name}{FIXED}.rs is missing"
    for message in compared(name, messages.get(name + FIXED, [])):
        yield f"{name}{FIXED}.rs: the compiler reports\n{rendered(message)}"


def check():
    compile_dependencies()
    messages = diagnostics("--bins")
    names = sorted(path.stem for path in PROGRAMS.glob("*.rs") if not path.stem.endswith(FIXED))
    faults = [fault for name in names for fault in faults_of(name, messages)]
    if faults:
        sys.exit("\n".join(faults))
    print(f"errors: each of {len(names)} programs has its error, and each fixed version compiles")


def main():
    arguments = sys.argv[1:]
    if arguments == ["--check"]:
        check()
    elif len(arguments) == 1:
        sys.exit(show(arguments[0]))
    else:
        sys.exit(__doc__)


main()
