"""The protocol between the lab and a worker, and code that all Python peers share.

A line on standard input starts a turn: `{"x":100,"iterations":1}`. The worker responds with a line on
standard output: `{"answered":100,"metrics":{"wall":103.2,"cpu":1.9}}`. The arguments define the work
and its size. In the arguments, `x` stands for the value of the experiment's variable. The worker exits
when the server sends a wrong response.
"""

import argparse
import asyncio
import json
import os
import platform
import resource
import sys
import time

# The body of `/bytes/12`.
TWELVE = bytes.fromhex("afcd1d7b39a820e2f465b9a1")


class WrongResponse(Exception):
    """The server sent a wrong response."""


def page(number):
    """Returns the body of a page."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8">'
        f"<title>Page {number}</title></head>\n<body>\n<h1>Page {number}</h1>\n"
        "<p>This page is one of as many as there are numbers.</p>\n"
        f'<p><a href="/page/{number + 1}">Page {number + 1}</a></p>\n</body>\n</html>\n'
    ).encode()


def verify(name, status, body, expected):
    if status != 200 or body != expected:
        raise WrongResponse(f"{name}: the response is wrong (status {status}, {len(body)} bytes)")


def cpu():
    """Returns the CPU time of this process and its children in seconds."""
    used = [resource.getrusage(scope) for scope in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


class Meter:
    """Measures wall and CPU time since its creation, in milliseconds."""

    def __init__(self):
        self.cpu, self.started = cpu(), time.perf_counter()

    def read(self):
        return {
            "wall": (time.perf_counter() - self.started) * 1e3,
            "cpu": (cpu() - self.cpu) * 1e3,
        }


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument("--origin", help="the server's URL, to which paths are appended")
    parser.add_argument("--work", choices=["pages", "requests", "heart"])
    parser.add_argument("--pages", default="x", help="number of pages in a turn")
    parser.add_argument("--limit", default="x", help="maximum number of requests in flight")
    parser.add_argument("--delay-ms", type=int, default=0, help="delay of a page in milliseconds")
    parser.add_argument("--metrics", default="", help="metrics to report, separated by commas")
    return parser.parse_args()


def python(version):
    return f"{version}, {platform.python_implementation()} {platform.python_version()}"


def main(version, works):
    """Runs a peer. `works` maps each kind of work to a function of the arguments. This function returns
    the function that runs a turn: (x, iterations) -> (answered, metrics).
    """
    arguments_ = arguments()
    if arguments_.version:
        print(version())
        return
    # The origin is on this machine, so no proxy may be used.
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]
    try:
        turn = works[arguments_.work](arguments_)
        requested = set(arguments_.metrics.split(","))
        for line in sys.stdin:
            parameters = json.loads(line)
            answered, metrics = turn(int(parameters["x"]), int(parameters["iterations"]))
            selected = {name: value for name, value in metrics.items() if name in requested}
            print(json.dumps({"answered": answered, "metrics": selected}), flush=True)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        # The lab shows this line.
        sys.exit(f"{type(error).__name__}: {error}")


def size(argument, x):
    return x if argument == "x" else int(argument)


def page_turn(arguments_, fetch):
    """Returns a function that runs a turn, in which pages are fetched. `fetch(urls, limit)` returns the list
    of (status, body), in the order of `urls`.
    """

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
                raise WrongResponse(f"{len(results)} of {pages} pages arrived")
            # The measured time includes the verification, as for the other contenders.
            for number, (status, body) in enumerate(results):
                verify(f"page {number}", status, body, page(number))
            for name, value in meter.read().items():
                totals[name] += value / iterations
        return pages * iterations, totals

    return turn


async def heartbeat(stop):
    """Wakes every millisecond until the event `stop` is set. Returns the largest gap between two wake-ups, in
    milliseconds.
    """
    last, largest = time.perf_counter(), 0.0
    while not stop.is_set():
        await asyncio.sleep(0.001)
        now = time.perf_counter()
        last, largest = now, max(largest, now - last)
    return largest * 1e3
