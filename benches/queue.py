#!/usr/bin/env python3
"""Measures a queue with many URLs: the time, the CPU time and the memory of each command and of nats-server.

Compares a worker with `inflight gather` on the same list. All processes run on this machine. Needs Linux, `just nats`
and a release build of the program.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
MIB = 1 << 20


@contextmanager
def running(command):
    """Runs a server until the end of the block."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def cpu_seconds(pid):
    # The name of the program is in parentheses, and may contain spaces (proc_pid_stat(5)).
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def peak_mib(pid):
    kib = re.search(r"VmHWM:\s*(\d+)", Path(f"/proc/{pid}/status").read_text())[1]
    return int(kib) * 1024 / MIB


def measure(name, urls, command, nats=None):
    """Runs a command, and prints how much of everything it needed."""
    before = cpu_seconds(nats.pid) if nats else 0
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{name} failed: {errors.decode()}")
    client = (usage.ru_utime + usage.ru_stime) / urls * 1e6
    line = f"{name:8} {seconds:7.1f} s {urls / seconds:9.0f}/s {client:6.1f} us {usage.ru_maxrss * 1024 / MIB:5.0f} MiB"
    if nats:
        server = (cpu_seconds(nats.pid) - before) / urls * 1e6
        line += f" | {server:6.1f} us {peak_mib(nats.pid):5.0f} MiB"
    print(line, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("urls", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--hosts", type=int, default=64)
    parser.add_argument("--partitions", default="64")
    parser.add_argument("--limit", default="64")
    options = parser.parse_args()
    target = Path(os.environ.get("CARGO_TARGET_DIR", "target")).resolve()
    inflight = str(target / "release" / "inflight")
    installed = target / "nats" / "bin" / "nats-server"
    server = str(installed) if installed.exists() else shutil.which("nats-server")
    if server is None:
        sys.exit("nats-server is not installed: run `just nats`")

    folder = Path(tempfile.mkdtemp(prefix="inflight-queue-"))
    port = "4333"
    address = ["--server", f"nats://127.0.0.1:{port}"]
    nats_command = [server, "--jetstream", "--addr", "127.0.0.1", "--port", port, "--store_dir", folder / "nats"]
    try:
        with running([inflight, "origin"]) as origin, running(nats_command) as nats:
            origin_port = origin.stdout.readline().rstrip().rsplit(":", 1)[1]
            host = [f"host{n}.test:{origin_port}" for n in range(options.hosts)]
            urls = folder / "urls.txt"
            with urls.open("w") as file:
                for n in range(options.urls):
                    file.write(f"http://{host[n % options.hosts]}/bytes/12?{n}\n")
            limits = ["--limit", options.limit, "--progress", "never", "--summary", "none"]
            for name in host:
                limits += ["--resolve", f"{name}:127.0.0.1"]
            create = [inflight, "queue", "create", "q", "--partitions", options.partitions, *address]
            while subprocess.run(create, stderr=subprocess.DEVNULL).returncode != 0:
                time.sleep(0.1)
            queue = [inflight, "queue"]
            print("command     time          URLs    CPU   memory | CPU and memory of nats-server; CPU is for each URL")
            measure("push", options.urls, [*queue, "push", "q", "--input", urls, "--seal", *address], nats)
            measure("work", options.urls, [*queue, "work", "q", *limits, *address], nats)
            results = folder / "results.jsonl"
            measure("collect", options.urls, [*queue, "collect", "q", "--output", results, *address], nats)
            if len(results.read_bytes().splitlines()) != options.urls:
                sys.exit("the number of results is wrong")
            size = sum(file.stat().st_size for file in (folder / "nats").rglob("*") if file.is_file())
            print(f"nats-server uses {size / MIB:.0f} MiB of the disk")
            gather = [inflight, "gather", "--input", urls, "--journal", folder / "journal", "--format", "jsonl"]
            measure("gather", options.urls, [*gather, *limits])
    finally:
        shutil.rmtree(folder)


main()
