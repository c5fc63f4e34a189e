#!/usr/bin/env python3
"""Compares backends in the records of all machines, and prints a Markdown table and what it shows.

    python3 docs/compare_backends.py overhead cpu tokio/hyper smol/hyper
    python3 docs/compare_backends.py gather wall@100 tokio/hyper threads/ureq

The number after `@` is a value of the experiment's variable, such as the number of pages. Without it, the variable has
only one value.

Each cell of the table is the median of the rounds on one machine, with the smallest and the largest value in brackets.
One backend is below another only if its largest value is below the other's smallest value on every machine. A single
round has no interval, so it decides nothing.
"""

import csv
import itertools
import statistics
import sys
from pathlib import Path

RECORDS = Path(__file__).resolve().parent / "records"
UNITS = {"us": "µs", "1": "", "1/s": "/s"}


def read_rounds(path, experiment, metric):
    """Returns the unit of a metric, and the values of each contender, without discarded turns."""
    name, _, x = metric.partition("@")
    lines = (line for line in path.read_text().splitlines() if not line.startswith("#"))
    rows = [row for row in csv.DictReader(lines) if (row["experiment"], row["metric"]) == (experiment, name)]
    # Like the lab's report, this script uses the last run of an experiment.
    last_run = max((row["run"] for row in rows), default="")
    rows = [row for row in rows if row["run"] == last_run]
    values = sorted({float(row["x"]) for row in rows})
    if not values:
        sys.exit(f"{path.name} has no metric {name} of the experiment {experiment}")
    if not x and len(values) > 1:
        sys.exit(f"{path.name} has several values: write one of {', '.join(f'{name}@{value:g}' for value in values)}")
    at = float(x) if x else values[0]
    rounds = {}
    for row in rows:
        if float(row["x"]) == at and not row["thrown"]:
            # A discarded round is repeated under the same number.
            rounds.setdefault(row["contender"], {})[row["round"]] = float(row["value"])
    values = {contender: list(by_round.values()) for contender, by_round in rounds.items()}
    return UNITS.get(rows[0]["unit"], rows[0]["unit"]), values


def show_number(value):
    """Formats a number with three significant digits, and with commas from a thousand on."""
    digits = max(0, 3 - len(str(int(abs(value))))) if value >= 1 else 3
    return f"{value:,.{digits}f}"


def show_cell(values, unit):
    if not values:
        return "not measured"
    middle = f"{show_number(statistics.median(values))} {unit}".rstrip()
    if len(values) == 1:
        return f"{middle} (one round)"
    return f"{middle} ({show_number(min(values))} to {show_number(max(values))})"


def is_below(machines, low, high):
    """Returns whether the interval of `low` is below the interval of `high` on every machine."""
    pairs = [(rounds.get(low, []), rounds.get(high, [])) for _, rounds in machines]
    return all(len(a) > 1 and len(b) > 1 and max(a) < min(b) for a, b in pairs)


def enumerate_names(names):
    *first, last = (f"`{name}`" for name in names)
    return f"{', '.join(first)} and {last}" if first else last


def findings(machines, contenders):
    """Yields what the intervals show, and which pairs they leave undecided."""
    pairs = list(itertools.combinations(contenders, 2))
    undecided = [(a, b) for a, b in pairs if not is_below(machines, a, b) and not is_below(machines, b, a)]
    if undecided == pairs:
        yield "The records cannot tell any two of these apart."
        return
    for low in contenders:
        if above := [high for high in contenders if is_below(machines, low, high)]:
            yield f"`{low}` is below {enumerate_names(above)} on every machine."
    if undecided:
        yield f"The records cannot tell: {', '.join(f'`{a}` or `{b}`' for a, b in undecided)}."


def main():
    if len(sys.argv) < 5:
        sys.exit(f"{__doc__}\nusage: compare_backends.py EXPERIMENT METRIC BACKEND BACKEND...")
    experiment, metric, *contenders = sys.argv[1:]
    paths = sorted(RECORDS.glob("*.csv"))
    machines = [read_rounds(path, experiment, metric) for path in paths]
    print(f"| backend | {' | '.join(path.stem for path in paths)} |")
    print("|---|" + "---|" * len(paths))
    for contender in contenders:
        cells = (show_cell(rounds.get(contender, []), unit) for unit, rounds in machines)
        print(f"| `{contender}` | {' | '.join(cells)} |")
    print()
    for finding in findings(machines, contenders):
        print(f"- {finding}")


main()
