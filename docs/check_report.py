#!/usr/bin/env python3
"""Checks a report of the lab in headless Chromium: check_report.py REPORT.html RECORDS.csv...

The script reports an error for:

- a message in the browser's console
- a resource that the page loads
- a chart that is empty, or whose labels overlap or are cut off, or a line that crosses out a label
- a chart that the keyboard cannot reach
- a table whose figures differ from the records

Without Chromium, the script checks only the tables. With --shots DIR, it writes screenshots of the page
(light, dark, desktop, phone) and a PDF.
"""

import argparse
import csv
import re
import statistics
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path

from browser import Browser, find_chromium

errors = []

# Returns for each visible chart: its size, the number of its data points, the number of those without an area,
# the pairs of labels that overlap, the labels that are cut off, and the labels that a line crosses.
CHARTS = """() => Array.from(document.querySelectorAll("svg.picture")).filter(svg => svg.getClientRects().length).map(svg => {
  const points = Array.from(svg.querySelectorAll(".datum")).map(point => point.getBoundingClientRect());
  const labels = Array.from(svg.querySelectorAll("text")).map(text => [text.textContent, text.getBoundingClientRect()]).filter(([text]) => text);
  const overlap = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 4;
  const overlaps = [];
  labels.forEach(([first, a], n) => labels.slice(n + 1).forEach(([second, b]) => { if (overlap(a, b)) { overlaps.push(first + " / " + second); } }));
  const box = svg.getBoundingClientRect();
  const cut = labels.filter(([, at]) => at.left < box.left - 2 || at.right > box.right + 2 || at.bottom > box.bottom + 2).map(([text]) => text);
  const onLine = Array.from(svg.querySelectorAll("line, polyline")).flatMap(line => {
    const length = line.getTotalLength(), toPage = line.getScreenCTM();
    return Array.from({ length: Math.ceil(length / 2) + 1 }, (_, n) => line.getPointAtLength(Math.min(2 * n, length)).matrixTransform(toPage));
  });
  const isInside = at => point => point.x > at.left + 2 && point.x < at.right - 2 && point.y > at.top + 4 && point.y < at.bottom - 4;
  const crossed = labels.filter(([, at]) => onLine.some(isInside(at))).map(([text]) => text);
  return { id: svg.id, width: box.width, height: box.height, points: points.length, empty: points.filter(at => at.width * at.height === 0).length, overlaps, cut, crossed };
})"""

# Returns the data point that has the focus, and the text of the tooltip.
FOCUSED = """() => {
  const active = document.activeElement, tip = document.getElementById("tip"), box = tip.getBoundingClientRect();
  const isPoint = Boolean(active && active.closest && active.closest(".datum"));
  return { isPoint, chart: isPoint ? active.closest("svg").id : null, label: isPoint ? active.getAttribute("aria-label") : null,
    tooltip: !tip.hidden && box.width > 0 ? tip.textContent : null };
}"""


def check_charts(browser, view):
    charts = browser.evaluate(CHARTS)
    if not charts:
        errors.append(f"{view}: the page shows no chart")
    for chart in charts:
        name = f"{view}: {chart['id']}"
        if chart["width"] < 100 or chart["height"] < 40:
            errors.append(f"{name} is too small: {chart['width']:.0f} x {chart['height']:.0f}")
        if not chart["points"] or chart["empty"]:
            errors.append(f"{name} has {chart['points']} data points, {chart['empty']} of them without an area")
        for labels in chart["overlaps"]:
            errors.append(f"{name}: labels overlap: {labels}")
        for label in chart["crossed"]:
            errors.append(f"{name}: a line crosses a label: {label}")
        for label in chart["cut"]:
            errors.append(f"{name}: a label is cut off: {label}")
    if browser.evaluate("() => document.documentElement.scrollWidth > document.documentElement.clientWidth"):
        errors.append(f"{view}: the page is wider than its window")
    return [chart["id"] for chart in charts]


def check_keyboard(browser, charts):
    """Checks that Tab moves the focus to each chart, arrow keys move it in the chart, and the tooltip is the label."""
    reached = set()
    browser.evaluate("() => { document.activeElement.blur(); window.scrollTo(0, 0); }")
    stops = browser.evaluate("() => document.querySelectorAll('a, summary, [tabindex=\"0\"]').length")
    for _ in range(stops + 5):
        browser.press_key("Tab")
        focus = browser.evaluate(FOCUSED)
        if not focus["isPoint"]:
            continue
        reached.add(focus["chart"])
        if focus["tooltip"] != focus["label"]:
            errors.append(f"{focus['chart']}: the tooltip of {focus['label']!r} is {focus['tooltip']!r}")
        browser.press_key("ArrowRight")
        moved = browser.evaluate(FOCUSED)
        if moved["chart"] != focus["chart"] or moved["tooltip"] != moved["label"]:
            errors.append(f"{focus['chart']}: an arrow key moves the focus to {moved}")
    for chart in charts:
        if chart not in reached:
            errors.append(f"{chart}: the Tab key does not reach it")


def check_console(browser, page):
    errors.extend(f"console: {message}" for message in browser.console_messages())
    for event in browser.events:
        if event.get("method") == "Network.requestWillBeSent":
            url = event["params"]["request"]["url"]
            if url != page.as_uri() and not url.startswith(("data:", "about:")):
                errors.append(f"the page loads {url}")


class Tables(HTMLParser):
    """Collects the figures of the tables by experiment, metric, contender and value of the variable."""

    def __init__(self, text):
        super().__init__()
        self.experiment, self.figures = None, {}
        self.key = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "section":
            self.experiment = attributes.get("id", "").removeprefix("of-")
        self.key = None
        if tag == "td" and "data-value" in attributes:
            self.key = (self.experiment, attributes["data-metric"], attributes["data-contender"], float(attributes["data-x"]))
            self.figures.setdefault(self.key, [float(attributes["data-value"]), ""])

    def handle_endtag(self, tag):
        self.key = None

    def handle_data(self, text):
        if self.key:
            self.figures[self.key][1] = text


def check_tables(page, files):
    runs = {}
    for path in files:
        lines = [line for line in path.read_text().splitlines() if line and not line.startswith("# ")]
        for row in csv.DictReader(lines):
            if row["run"] != "run" and not row["thrown"]:
                anchor = re.sub("[^A-Za-z0-9]", "-", row["experiment"])
                key = (anchor, row["metric"], row["contender"], float(row["x"]))
                # If a round was repeated, its last repetition counts.
                rounds = runs.setdefault(anchor, {}).setdefault(row["run"], {}).setdefault(key, {})
                rounds[int(row["round"])] = float(row["value"])
    tables = Tables(page.read_text())
    # Only the last run of each experiment counts.
    values = {}
    for by_run in runs.values():
        values.update(by_run[max(by_run)])
    if not tables.figures:
        errors.append("the page has no table")
    for key, (value, text) in tables.figures.items():
        if key not in values:
            errors.append(f"{key} is in a table but not in the records")
            continue
        expected = statistics.median(values[key].values())
        if abs(value - expected) > 1e-9 * abs(expected):
            errors.append(f"{key}: the value in the table is {value}, and in the records {expected}")
        shown = float(re.sub("[^0-9.]", "", text.split()[0]))
        # Tables show three significant digits, and all digits of a large integer.
        if abs(shown - expected) > max(0.006 * abs(expected), 1e-9):
            errors.append(f"{key}: the table shows {text!r} for {expected}")
    for key in values:
        if key not in tables.figures:
            errors.append(f"{key} is in the records but in no table")
    return len(tables.figures)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("records", type=Path, nargs="*")
    parser.add_argument("--shots", type=Path, metavar="DIR")
    options = parser.parse_args()
    page = options.page.resolve()
    figures = check_tables(page, options.records) if options.records else 0
    results = [f"{figures} figures in the tables agree with the records"]
    program = find_chromium()
    if program is None:
        results.append("SKIPPED: Chromium is not installed, so the charts were not checked")
    else:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            browser = Browser(program, profile)
            try:
                results.append(check_page(browser, page, options.shots))
            finally:
                browser.close()
    for error in errors:
        print(error, file=sys.stderr)
    if errors:
        sys.exit(1)
    print("report: " + "; ".join(results))


def check_page(browser, page, shots):
    browser.open(page.as_uri())
    checked = 0
    for device, width, height, phone in (("desktop", 1280, 900, False), ("phone", 390, 844, True)):
        browser.set_size(width, height, phone)
        for scheme in ("light", "dark"):
            browser.set_media(scheme)
            charts = check_charts(browser, f"{device}, {scheme}")
            if shots:
                shots.mkdir(parents=True, exist_ok=True)
                browser.save_screenshot(shots / f"{device}-{scheme}.png")
        checked += len(charts)
        check_keyboard(browser, charts)
    browser.set_size(1280, 900)
    browser.set_media("light")
    if shots:
        browser.save_pdf(shots / "print.pdf")
    check_console(browser, page)
    return f"{checked} charts are complete on a desktop and a phone, and the keyboard reaches all"


if __name__ == "__main__":
    main()
