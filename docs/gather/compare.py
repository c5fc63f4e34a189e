#!/usr/bin/env python3
"""Downloads the same list with inflight, curl, aria2c and wget2, and prints a table with their times.

    python3 docs/gather/compare.py target/release/inflight > docs/output/downloaders.md

The list has 2,000 pages of a local server that waits 20 ms before it sends each page. At most 50 requests are in flight.
All programs send an Authorization header and a User-Agent, and save each page under its own name. They run in turn, once
per round. The table shows the median of the rounds with the smallest and the largest value. The ratios compare with curl
in the same round.
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

PAGES, LIMIT, DELAY_MS, ROUNDS = 2000, 50, 20, 7
HEADER, AGENT = "Authorization: Bearer secret", "catalog-crawler/1.0"


def commands(inflight):
    """Returns the command of each program. The placeholder {output} is the directory of the pages."""
    return {
        "inflight": f"{inflight} gather --input urls.txt --limit {LIMIT} -H '{HEADER}' --user-agent '{AGENT}'"
        " --output {output} --names '{{basename}}' --journal {output}.jsonl --format jsonl",
        # --remote-name-all applies only to the URLs after it.
        "curl": f"curl -s -Z --parallel-immediate --parallel-max {LIMIT} -H '{HEADER}' -A '{AGENT}'"
        " --remote-name-all --create-dirs --output-dir {output} -K curl.txt",
        "aria2c": f"aria2c -q -i urls.txt -j {LIMIT} -d {{output}} --header '{HEADER}' -U '{AGENT}'",
        "wget2": f"wget2 -q -i urls.txt --max-threads {LIMIT} -P {{output}} --header '{HEADER}' -U '{AGENT}'",
    }


def run(command, folder, output):
    """Returns the elapsed and the CPU time of a command, in seconds."""
    command = command.format(output=output)
    with open(folder / "log.txt", "wb") as log:
        start = time.monotonic()
        child = subprocess.Popen(["sh", "-c", f"exec {command}"], cwd=folder, stdout=log, stderr=log)
        _, status, usage = os.wait4(child.pid, 0)
        elapsed = time.monotonic() - start
    files = sum(1 for file in (folder / output).iterdir() if file.name != "manifest.jsonl")
    if status != 0 or files != PAGES:
        sys.exit(f"{command}: status {status}, {files} pages\n{(folder / 'log.txt').read_text()[-2000:]}")
    return elapsed, usage.ru_utime + usage.ru_stime


def cell(values, digits=2):
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def main():
    inflight = Path(sys.argv[1]).resolve()
    programs = commands(inflight)
    for name in programs:
        if name != "inflight" and not shutil.which(name):
            sys.exit(f"{name} is not installed")
    folder = Path(tempfile.mkdtemp())
    os.environ.update(NO_PROXY="*", XDG_CONFIG_HOME=str(folder))
    origin = subprocess.Popen([inflight, "origin"], stdout=subprocess.PIPE, text=True)
    try:
        base = origin.stdout.readline().split()[-1]
        urls = [f"{base}/page/{n}?delay_ms={DELAY_MS}" for n in range(PAGES)]
        (folder / "urls.txt").write_text("\n".join(urls) + "\n")
        (folder / "curl.txt").write_text("".join(f'url = "{url}"\n' for url in urls))
        times = {name: [] for name in programs}
        for number in range(ROUNDS + 1):
            for name, command in programs.items():
                output = f"{name}-{number}"
                measured = run(command, folder, output)
                shutil.rmtree(folder / output)
                # The first round warms up the caches.
                if number:
                    times[name].append(measured)
    finally:
        origin.terminate()
        origin.wait()
        shutil.rmtree(folder)
    print("| program | elapsed, s | CPU, s | elapsed / curl | CPU / curl |")
    print("|---|---|---|---|---|")
    for name, values in times.items():
        elapsed, cpu = zip(*values)
        ratios = [
            [value[kind] / curl[kind] for value, curl in zip(values, times["curl"])] for kind in (0, 1)
        ]
        print(f"| {name} | {cell(elapsed)} | {cell(cpu)} | {cell(ratios[0])} | {cell(ratios[1])} |")
    ideal = PAGES / LIMIT * DELAY_MS / 1000
    versions = [
        subprocess.run([name, "--version"], capture_output=True, text=True).stdout.splitlines()[0].split()
        for name in ("curl", "aria2c", "wget2")
    ]
    versions = ["curl " + versions[0][1], "aria2 " + versions[1][-1], "wget2 " + versions[2][2]]
    model = next((line for line in open("/proc/cpuinfo") if line.startswith("model name")), "").partition(":")[2]
    print(
        f"\nNo program can be faster than {ideal:.2f} s: {PAGES} pages, {LIMIT} at once, {DELAY_MS} ms each. {ROUNDS} rounds in turn,"
        f" {', '.join(versions)}, {os.cpu_count()} cores ({model.strip()}), {platform.system()}."
    )


if __name__ == "__main__":
    main()
