"""The lines between the lab and a worker, and what is the same for every peer in Python.

A line on standard input asks for a turn, `{"x":100,"iterations":1}`; a line on standard output tells
what it took, `{"answered":100,"metrics":{"wall":103.2,"cpu":1.9}}`. The work and its size are on the
command line, where `x` stands for the variable's value. A wrong answer of the server ends the peer.
"""

import argparse
import asyncio
import json
import os
import platform
import resource
import sys
import time

# The first bytes that the origin makes, which is all of `/bytes/12`.
TWELVE = bytes.fromhex("afcd1d7b39a820e2f465b9a1")


class Wrong(Exception):
    """The server's answer is not the one that it should be."""


def page(number):
    """What the origin has on a page."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8">'
        f"<title>Page {number}</title></head>\n<body>\n<h1>Page {number}</h1>\n"
        "<p>This page is one of as many as there are numbers.</p>\n"
        f'<p><a href="/page/{number + 1}">Page {number + 1}</a></p>\n</body>\n</html>\n'
    ).encode()


def verify(what, status, body, expected):
    if status != 200 or body != expected:
        raise Wrong(f"{what} was answered {status} with {len(body)} bytes that are not its own")


def cpu():
    """The CPU time of this process and of those that it ran, in seconds."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


class Meter:
    """Measures from where it is made; in milliseconds."""

    def __init__(self):
        self.cpu, self.started = cpu(), time.perf_counter()

    def read(self):
        return {
            "wall": (time.perf_counter() - self.started) * 1e3,
            "cpu": (cpu() - self.cpu) * 1e3,
        }


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--version", action="store_true", help="say what it is, and end")
    parser.add_argument("--origin", help="the URL before every path")
    parser.add_argument("--work", choices=["pages", "requests", "heart"])
    parser.add_argument("--pages", default="x", help="how many in a turn")
    parser.add_argument("--limit", default="x", help="how many at once")
    parser.add_argument("--delay-ms", type=int, default=0, help="what a page takes")
    parser.add_argument("--metrics", default="", help="which to tell, with commas between")
    return parser.parse_args()


def python(version):
    return f"{version}, {platform.python_implementation()} {platform.python_version()}"


def main(version, works):
    """`works` has for each work that the peer can do: arguments -> (x, iterations) -> (answered, metrics)."""
    arguments_ = arguments()
    if arguments_.version:
        print(version())
        return
    # The origin is on this machine, whatever the environment says of proxies.
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]
    try:
        turn = works[arguments_.work](arguments_)
        wanted = set(arguments_.metrics.split(","))
        for line in sys.stdin:
            ask = json.loads(line)
            answered, metrics = turn(int(ask["x"]), int(ask["iterations"]))
            told = {name: value for name, value in metrics.items() if name in wanted}
            print(json.dumps({"answered": answered, "metrics": told}), flush=True)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        # One line: the lab shows it.
        sys.exit(f"{type(error).__name__}: {error}")


def size(given, x):
    return x if given == "x" else int(given)


def page_turn(arguments_, fetch):
    """Turns that fetch pages; `fetch(urls, limit)` gives (status, body) in the order of the URLs."""

    def turn(x, iterations):
        pages, limit = size(arguments_.pages, x), size(arguments_.limit, x)
        urls = [
            f"{arguments_.origin}/page/{n}?delay_ms={arguments_.delay_ms}" for n in range(pages)
        ]
        totals = {"wall": 0.0, "cpu": 0.0}
        for _ in range(iterations):
            meter = Meter()
            results = fetch(urls, limit)
            if len(results) != pages:
                raise Wrong(f"{len(results)} of {pages} pages were answered")
            # In the time, as it is with the others.
            for number, (status, body) in enumerate(results):
                verify(f"page {number}", status, body, page(number))
            for name, value in meter.read().items():
                totals[name] += value / iterations
        return pages * iterations, totals

    return turn


async def heart(stop):
    """Beats each millisecond, as ours does, until it is stopped; the largest gap in milliseconds."""
    last, largest = time.perf_counter(), 0.0
    while not stop.is_set():
        await asyncio.sleep(0.001)
        now = time.perf_counter()
        last, largest = now, max(largest, now - last)
    return largest * 1e3
