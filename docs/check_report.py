#!/usr/bin/env python3
"""Checks a report of the lab in headless Chromium: check_report.py REPORT.html RECORDS.csv...

Fails on a message in the console, on anything that is loaded from elsewhere, on a picture that shows
nothing or whose letters overlap, on a figure that the keyboard does not reach, and on a table that is
not what the records say. Where there is no Chromium it says so and checks the tables alone. With
--shots DIR it leaves pictures of the page: light, dark, on a phone, printed.
"""

import argparse
import csv
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
]
faults = []


class Browser:
    """A Chromium that is spoken to over two pipes, as its DevTools protocol allows."""

    def __init__(self, program, profile):
        # It reads from its descriptor 3 and writes to its 4.
        to_read, self.out = os.pipe()
        self.back, to_write = os.pipe()
        shell = f'exec "$0" "$@" 3<&{to_read} 4>&{to_write}'
        self.process = subprocess.Popen(
            ["bash", "-c", shell, program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(to_read, to_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self.number, self.buffer, self.events, self.session = 0, b"", [], None

    def message(self):
        while b"\0" not in self.buffer:
            piece = os.read(self.back, 1 << 16)
            if not piece:
                sys.exit("the browser ended")
            self.buffer += piece
        line, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(line)

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.message()
            if answer.get("id") == self.number:
                if "error" in answer:
                    sys.exit(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def wait(self, event):
        while not any(one.get("method") == event for one in self.events):
            self.events.append(self.message())

    def run(self, script):
        answer = self.call("Runtime.evaluate", expression=f"({script})()", returnByValue=True)
        if "exceptionDetails" in answer:
            sys.exit(f"a check failed to run: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def key(self, name, code):
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code)

    def open(self, page):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=page.as_uri())
        self.wait("Page.loadEventFired")

    def size(self, width, height, phone=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if phone else 1, mobile=phone)

    def scheme(self, name):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def shot(self, path):
        height = self.run("() => document.documentElement.scrollHeight")
        width = self.run("() => document.documentElement.clientWidth")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)["data"]
        path.write_bytes(b64decode(data))

    def print(self, path):
        path.write_bytes(b64decode(self.call("Page.printToPDF", printBackground=False, preferCSSPageSize=True)["data"]))

    def close(self):
        os.close(self.out)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.back)


# Of each picture that is shown: how large it is, how many figures it has and how large those are, letters that
# lie on each other, and letters outside.
PICTURES = """() => Array.from(document.querySelectorAll("svg.picture")).filter(one => one.getClientRects().length).map(svg => {
  const all = Array.from(svg.querySelectorAll(".datum")).map(one => one.getBoundingClientRect());
  const texts = Array.from(svg.querySelectorAll("text")).map(one => [one.textContent, one.getBoundingClientRect()]).filter(([text]) => text);
  const over = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 4;
  const overlaps = [];
  texts.forEach(([one, a], n) => texts.slice(n + 1).forEach(([other, b]) => { if (over(a, b)) { overlaps.push(one + " / " + other); } }));
  const box = svg.getBoundingClientRect();
  const out = texts.filter(([, one]) => one.left < box.left - 2 || one.right > box.right + 2 || one.bottom > box.bottom + 2).map(([text]) => text);
  return { id: svg.id, width: box.width, height: box.height, data: all.length, empty: all.filter(one => one.width * one.height === 0).length, overlaps, out };
})"""

FOCUSED = """() => {
  const one = document.activeElement, tip = document.getElementById("tip"), box = tip.getBoundingClientRect();
  const datum = Boolean(one && one.closest && one.closest(".datum"));
  return { datum, picture: datum ? one.closest("svg").id : null, label: datum ? one.getAttribute("aria-label") : null,
    shown: !tip.hidden && box.width > 0 ? tip.textContent : null };
}"""


def check_pictures(browser, where):
    pictures = browser.run(PICTURES)
    if not pictures:
        faults.append(f"{where}: no picture is shown")
    for one in pictures:
        name = f"{where}: {one['id']}"
        if one["width"] < 100 or one["height"] < 40:
            faults.append(f"{name} is {one['width']:.0f} x {one['height']:.0f}")
        if not one["data"] or one["empty"]:
            faults.append(f"{name} shows {one['data']} figures, {one['empty']} of them nowhere")
        for text in one["overlaps"]:
            faults.append(f"{name}: letters on letters: {text}")
        for text in one["out"]:
            faults.append(f"{name}: letters outside: {text}")
    if browser.run("() => document.documentElement.scrollWidth > document.documentElement.clientWidth"):
        faults.append(f"{where}: the page is wider than its window")
    return [one["id"] for one in pictures]


def check_keyboard(browser, pictures):
    """The tab key reaches each picture, an arrow the next figure in it, and both show what it says."""
    reached = set()
    browser.run("() => { document.activeElement.blur(); window.scrollTo(0, 0); }")
    stops = browser.run("() => document.querySelectorAll('a, summary, [tabindex=\"0\"]').length")
    for _ in range(stops + 5):
        browser.key("Tab", 9)
        at = browser.run(FOCUSED)
        if not at["datum"]:
            continue
        reached.add(at["picture"])
        if at["shown"] != at["label"]:
            faults.append(f"{at['picture']}: the focus is on {at['label']!r} and shows {at['shown']!r}")
        browser.key("ArrowRight", 39)
        then = browser.run(FOCUSED)
        if then["picture"] != at["picture"] or then["shown"] != then["label"]:
            faults.append(f"{at['picture']}: an arrow leads to {then}")
    for picture in pictures:
        if picture not in reached:
            faults.append(f"{picture}: the tab key does not reach it")


def check_console(browser, page):
    for event in browser.events:
        method, what = event.get("method"), event.get("params", {})
        if method in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"):
            faults.append(f"console: {json.dumps(what)[:300]}")
        if method == "Network.requestWillBeSent":
            url = what["request"]["url"]
            if url != page.as_uri() and not url.startswith(("data:", "about:")):
                faults.append(f"it loads {url}")


class Tables(HTMLParser):
    """The figures of the tables, by what they are of."""

    def __init__(self, text):
        super().__init__()
        self.experiment, self.figures = None, {}
        self.cell = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "section":
            self.experiment = attributes.get("id", "").removeprefix("of-")
        self.cell = None
        if tag == "td" and "data-value" in attributes:
            self.cell = (self.experiment, attributes["data-metric"], attributes["data-contender"], float(attributes["data-x"]))
            self.figures.setdefault(self.cell, [float(attributes["data-value"]), ""])

    def handle_endtag(self, tag):
        self.cell = None

    def handle_data(self, text):
        if self.cell:
            self.figures[self.cell][1] = text


def check_tables(page, files):
    runs = {}
    for path in files:
        lines = [line for line in path.read_text().splitlines() if line and not line.startswith("# ")]
        for row in csv.DictReader(lines):
            if row["run"] != "run" and not row["thrown"]:
                anchor = re.sub("[^A-Za-z0-9]", "-", row["experiment"])
                key = (anchor, row["metric"], row["contender"], float(row["x"]))
                # By round: of a round that was repeated, the last counts.
                rounds = runs.setdefault(anchor, {}).setdefault(row["run"], {}).setdefault(key, {})
                rounds[int(row["round"])] = float(row["value"])
    tables = Tables(page.read_text())
    # Of each experiment the last run counts.
    values = {}
    for by_run in runs.values():
        values.update(by_run[max(by_run)])
    if not tables.figures:
        faults.append("there are no tables")
    for key, (value, text) in tables.figures.items():
        if key not in values:
            faults.append(f"{key} is in a table and not in the records")
            continue
        expected = statistics.median(values[key].values())
        if abs(value - expected) > 1e-9 * abs(expected):
            faults.append(f"{key}: the table has {value}, the records {expected}")
        shown = float(re.sub("[^0-9.]", "", text.split()[0]))
        # Three digits, and of large ones all before the point.
        if abs(shown - expected) > max(0.006 * abs(expected), 1e-9):
            faults.append(f"{key}: {text!r} is shown for {expected}")
    for key in values:
        if key not in tables.figures:
            faults.append(f"{key} is in the records and in no table")
    return len(tables.figures)


def chromium():
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        if shutil.which(name):
            return shutil.which(name)
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("records", type=Path, nargs="*")
    parser.add_argument("--shots", type=Path, metavar="DIR")
    options = parser.parse_args()
    page = options.page.resolve()
    figures = check_tables(page, options.records) if options.records else 0
    told = [f"{figures} figures of the tables are those of the records"]
    program = chromium()
    if program is None:
        told.append("SKIPPED: there is no Chromium, so no picture was looked at")
    else:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            browser = Browser(program, profile)
            try:
                told.append(look(browser, page, options.shots))
            finally:
                browser.close()
    for fault in faults:
        print(fault, file=sys.stderr)
    if faults:
        sys.exit(1)
    print("report: " + "; ".join(told))


def look(browser, page, shots):
    browser.open(page)
    shown = 0
    for where, width, height, phone in (("desk", 1280, 900, False), ("phone", 390, 844, True)):
        browser.size(width, height, phone)
        for scheme in ("light", "dark"):
            browser.scheme(scheme)
            pictures = check_pictures(browser, f"{where}, {scheme}")
            if shots:
                shots.mkdir(parents=True, exist_ok=True)
                browser.shot(shots / f"{where}-{scheme}.png")
        shown += len(pictures)
        check_keyboard(browser, pictures)
    browser.size(1280, 900)
    browser.scheme("light")
    if shots:
        browser.print(shots / "print.pdf")
    check_console(browser, page)
    return f"{shown} pictures show something, on a desk and on a phone; the keyboard reaches all"


if __name__ == "__main__":
    main()
