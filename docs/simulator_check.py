#!/usr/bin/env python3
"""Checks the interactive figure of chapter 1, docs/theme/simulator.js.

Without an option, the script checks that docs/generated/simulator.html is current. This file is the figure that readers
without JavaScript see. If node is installed, the script also runs the tests of the model, docs/simulator_test.js.

With `--write`, the script writes docs/generated/simulator.html. This needs node.

With `--measure`, the script compares the model with real runs: the medians of ten runs of the program `blocking_page`
for each of several parameter sets. This needs node, and a machine with nothing else to do. `just figures` records the
result, docs/output/simulator.txt.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
MODEL = DOCS / "theme/simulator.js"
TESTS = DOCS / "simulator_test.js"
FIGURE = DOCS / "generated/simulator.html"

# The delay of a page in ms, the number of pages, the limit, and the blocking call in ms.
PARAMETER_SETS = [
    (100, 20, 10, 150),
    (100, 20, 10, 0),
    (100, 20, 1, 0),
    (100, 20, 1, 500),
    (100, 20, 20, 500),
    (100, 100, 100, 0),
    (100, 100, 10, 300),
    (50, 40, 8, 200),
    (20, 100, 10, 0),
    (20, 100, 5, 100),
    (500, 60, 30, 1000),
]
RUNS = 10
TOLERANCE = 0.05


def call_node(expression):
    """Evaluates an expression with the module `simulator`. Returns what it prints."""
    script = f"const simulator = require({json.dumps(str(MODEL))}); process.stdout.write({expression})"
    return subprocess.run(["node", "-e", script], check=True, capture_output=True, text=True).stdout


def model_hash():
    return hashlib.sha256(MODEL.read_bytes()).hexdigest()[:16]


def static_figure():
    return call_node("simulator.figure()").replace("<figure ", f'<figure data-model="{model_hash()}" ', 1)


def check():
    """Returns an error if the figure without JavaScript is not the one that the model draws."""
    text = FIGURE.read_text() if FIGURE.is_file() else ""
    recorded = re.search(r'data-model="(\w+)"', text)
    if recorded is None or recorded[1] != model_hash():
        return [f"{FIGURE.relative_to(DOCS)} is not current: run `python3 docs/simulator_check.py --write`"]
    if shutil.which("node") and text != static_figure():
        return [f"{FIGURE.relative_to(DOCS)} differs from the figure that the model draws"]
    return []


def run_tests():
    if not shutil.which("node"):
        return "SKIPPED: node is not installed, so the tests of the model did not run"
    if subprocess.run(["node", TESTS]).returncode:
        sys.exit("a test of the model failed")
    return "the tests of the model passed"


def build_program():
    subprocess.run(["cargo", "build", "--release", "--quiet", "-p", "inflight-examples", "--bin", "blocking_page"], cwd=ROOT, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/blocking_page"


def real_medians(program, parameters):
    outputs = [subprocess.run([program, *map(str, parameters)], check=True, capture_output=True) for _ in range(RUNS)]
    runs = [json.loads(output.stdout) for output in outputs]
    gap = "largest_gap_ms" if parameters[-1] else "median_gap_ms"
    return [statistics.median(run[name] for run in runs) for name in ("total_ms", gap)]


def predicted(parameters):
    names = ("delay", "pages", "limit", "blocking")
    script = f"JSON.stringify(simulator.results({json.dumps(dict(zip(names, parameters)))}))"
    results = json.loads(call_node(script))
    return [results["total"], results["gap"]]


def compare(name, real, model):
    """Returns an error if the model is wrong by more than the tolerance."""
    if abs(model - real) <= TOLERANCE * real:
        return []
    return [f"{name}: the model predicts {model:.1f} ms, but the median is {real:.1f} ms"]


def measure():
    """Prints a line for each parameter set. Returns an error for each result of the model that is wrong."""
    program = build_program()
    errors = []
    print("times in ms                |    all pages    |       gap")
    print("delay pages limit blocking |    real  figure |    real  figure")
    for parameters in PARAMETER_SETS:
        total, gap = real_medians(program, parameters)
        model_total, model_gap = predicted(parameters)
        delay, pages, limit, blocking = parameters
        print(f"{delay:5} {pages:5} {limit:5} {blocking:8} | {total:7.1f} {model_total:7.1f} | {gap:7.1f} {model_gap:7.1f}", flush=True)
        errors += compare(f"{parameters}, all pages", total, model_total)
        errors += compare(f"{parameters}, gap", gap, model_gap)
    return errors


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--measure", action="store_true")
    options = parser.parse_args()
    if options.write:
        FIGURE.write_text(static_figure())
    errors = check()
    result = "the figure without JavaScript is current"
    if options.measure:
        errors += measure()
        result += f"; the model agrees with the medians of {RUNS} runs for {len(PARAMETER_SETS)} parameter sets"
    else:
        result += f"; {run_tests()}"
    if errors:
        sys.exit("\n".join(errors))
    print(f"simulator: {result}")


if __name__ == "__main__":
    main()
