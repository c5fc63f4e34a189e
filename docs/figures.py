#!/usr/bin/env python3
"""Runs the commands of the book and records their outputs.

    docs/figures.py              runs every command of docs/outputs.toml
    docs/figures.py NAME...      runs the commands of these files, such as `failures.txt`
    docs/figures.py --stale      runs the commands whose programs changed since the last recording

The script writes each output to its file. It writes the machine, the date and the hash of the program's sources to
docs/output/recorded.json. docs/check.py compares these hashes with the current sources.
"""

import datetime
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import tomllib
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
MANIFEST = DOCS / "outputs.toml"
RECORDS = DOCS / "output/recorded.json"
# The introduction of the book includes this sentence.
MACHINES = DOCS / "generated/machines.md"


def entries():
    """Returns the entries of the manifest, by the name of the recorded file."""
    return {entry["file"]: entry for entry in tomllib.loads(MANIFEST.read_text())["output"]}


def records():
    return json.loads(RECORDS.read_text()) if RECORDS.exists() else {}


def shared_sources(entry):
    """Returns the sources that all recordings of a kind share."""
    if entry["file"].endswith((".html", ".svg")):
        return ["crates/charts/src"]
    return ["exercises/src"] if entry["command"].startswith("just check ") else []


def source_files(entry):
    """Returns the files whose change makes a recording stale. A folder stands for all files in it."""
    paths = [ROOT / source for source in entry["sources"] + shared_sources(entry)]
    files = {file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]) if not file.is_dir()}
    # The style sheet of the pictures changes no recording.
    return sorted(file for file in files if file.suffix != ".css")


def source_hash(entry):
    digest = hashlib.sha256()
    for file in source_files(entry):
        digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def is_stale(entry, recorded):
    record = recorded.get(entry["file"], {})
    return (record.get("command"), record.get("sources")) != (entry["command"], source_hash(entry))


def machine():
    """Describes the machine: the processor, the number of cores, the memory and the systems."""
    cpu = "unknown processor"
    if os.path.exists("/proc/cpuinfo"):
        names = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
        cpu = names[0] if names else cpu
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    kernel = ".".join(platform.release().split(".")[:2])
    return f"{cpu}, {os.cpu_count()} cores, {memory} MB, {platform.system()} {kernel}, Rust {rustc}"


def describe_machines(recorded):
    """Returns a sentence that names the machines and the dates of all recordings."""
    dates = {}
    for record in recorded.values():
        dates.setdefault(record["machine"], set()).add(record["date"])
    parts = (f"{machine} ({' and '.join(sorted(days))})" for machine, days in sorted(dates.items()))
    return f"We recorded the outputs on this machine: {'; '.join(parts)}.\n"


class CommandError(Exception):
    """A command failed, or printed nothing."""


def record(entry, finished):
    """Runs a command and writes its output. `finished` contains the commands that have written their files."""
    # A command that writes its files itself prints a summary. It can write several files at once.
    if not entry.get("writes_file"):
        (DOCS / entry["file"]).write_text(run(entry))
    elif entry["command"] not in finished:
        run(entry)
        finished.add(entry["command"])
    return {
        "command": entry["command"],
        "sources": source_hash(entry),
        "machine": machine(),
        "date": datetime.date.today().isoformat(),
    }


def run(entry):
    """Runs a command and returns its output. A redirection at the end of the command is for readers only."""
    command = re.sub(r" > \S+$", "", entry["command"])
    environment = dict(os.environ)
    if entry["file"].endswith(".html"):
        environment["INFLIGHT_PICTURE"] = "html"
    done = subprocess.run(
        command, shell=True, executable="/bin/bash", cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    if done.returncode != entry.get("status", 0):
        raise CommandError(f"exit status {done.returncode} instead of {entry.get('status', 0)}")
    if not done.stdout.strip():
        raise CommandError("no output")
    return done.stdout


def warn_if_busy():
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"the machine is busy (load {load:.1f}): the recorded times will be too long", file=sys.stderr)


def main():
    known, recorded = entries(), records()
    names = sys.argv[1:]
    if names == ["--stale"]:
        chosen = [entry for entry in known.values() if is_stale(entry, recorded)]
    else:
        for name in names:
            if not any(file.endswith(name) for file in known):
                sys.exit(f"{name}: not in {MANIFEST.relative_to(ROOT)}")
        chosen = [entry for file, entry in known.items() if not names or any(file.endswith(name) for name in names)]
    warn_if_busy()
    finished, failures = set(), []
    for entry in chosen:
        print(f"{entry['file']}: {entry['command']}", flush=True)
        try:
            recorded[entry["file"]] = record(entry, finished)
        except CommandError as error:
            failures.append(f"{entry['file']}: {entry['command']}: {error}")
        kept = {file: recorded[file] for file in sorted(recorded) if file in known}
        RECORDS.write_text(json.dumps(kept, indent=1) + "\n")
        MACHINES.write_text(describe_machines(kept))
    if failures:
        sys.exit("\n".join(failures))
    print(f"recorded {len(chosen)} of {len(known)} outputs")


if __name__ == "__main__":
    main()
