#!/usr/bin/env python3
"""Visits every page of the built book in headless Chromium, on a desktop and a phone, in light and dark.

The script reports an error for:

- a message in the browser's console, or a file that the server does not have
- a page that is wider than its window, text that is cut off, and a column of a table with a word on each line
- text smaller than 12 pixels, also in pictures
- labels of a picture that overlap
- text whose contrast is below 4.5, or below 3 if it is large
- a link, a tab or a control that the Tab key does not reach, or whose focus is invisible
- tabs and the interactive figure: without JavaScript, on paper, and with the arrow keys
- a fault of the same kinds in the themes that are not the default, on two pages
- a search for "stall" or "timeout" that finds nothing

`docs/appearance.py PAGE...` checks only these pages, such as `tutorial/ch01.html`. With `--screenshots DIR`, the script
also saves a picture of each view. Without Chromium, it prints a message and checks nothing.
"""

import argparse
import functools
import sys
import tempfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from browser import Browser, find_chromium

DOCS = Path(__file__).resolve().parent
BOOK = DOCS / "book"
CHECKS = (DOCS / "appearance.js").read_text()
# These files have no text of their own: a copy of all pages, the sidebar without JavaScript, and an error page.
NOT_PAGES = ("print.html", "toc.html", "404.html")
VIEWS = (("desktop", 1280, 900, False), ("phone", 390, 844, True))
SCHEMES = ("light", "dark")
THEMES = ("rust", "coal", "ayu")
THEMED_PAGES = ("tutorial/ch01.html", "policy.html")
SEARCHES = ("stall", "timeout")
# Some pages of figures have hundreds of links of the same kind.
MOST_TABS = 150


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class QuietServer(ThreadingHTTPServer):
    def handle_error(self, *_):
        """Ignores connections that the browser closes when it opens the next page."""


class Checker:
    """Visits pages and collects errors."""

    def __init__(self, browser, address, screenshots):
        self.browser, self.address, self.screenshots = browser, address, screenshots
        self.errors, self.stops = [], 0

    def error(self, view, message):
        self.errors.append(f"{view}: {message}")

    def run(self, function, *arguments):
        """Calls a function of appearance.js in the page."""
        script = f"(...parameters) => {{ {CHECKS}; return {function}(...parameters); }}"
        return self.browser.evaluate(script, *arguments)

    def visit(self, page):
        self.browser.navigate(f"{self.address}/{page}")

    def report_console(self, view):
        for message in self.browser.console_messages():
            self.error(view, f"console: {message}")

    def check_page(self, page):
        for device, width, height, phone in VIEWS:
            self.browser.set_size(width, height, phone)
            self.visit(page)
            for scheme in SCHEMES:
                view = f"{page}, {device}, {scheme}"
                self.browser.set_media(scheme)
                for message in self.run("visibleFaults"):
                    self.error(view, message)
                if self.screenshots:
                    name = page.removesuffix(".html").replace("/", "-")
                    self.browser.save_screenshot(self.screenshots / f"{name}-{device}-{scheme}.png")
            self.check_keyboard(f"{page}, {device}")
            self.report_console(f"{page}, {device}")
        self.check_paper(page)
        self.check_without_script(page)

    def check_keyboard(self, view):
        """Presses Tab until the focus leaves the page's text. Each control must get a visible focus."""
        expected = self.run("startKeyboard")
        reached = set()
        for _ in range(MOST_TABS):
            self.browser.press_key("Tab")
            focus = self.run("focused")
            if focus is None:
                break
            # A listing that scrolls also takes the focus, and is no control.
            if focus["index"] >= 0:
                reached.add(focus["index"])
            if not focus["visible"]:
                self.error(view, f"the focus of {focus['name']} is invisible")
        else:
            # The page has more controls. Those after the last one were not tried.
            expected = expected[: max(reached, default=0)]
        self.stops += len(reached)
        for index in range(len(expected)):
            if index not in reached:
                self.error(view, f"the Tab key does not reach {expected[index]}")

    def check_paper(self, page):
        self.browser.set_size(720, 1000)
        self.browser.set_media("light", "print")
        for message in self.run("visibleFaults") + self.run("hiddenVariants"):
            self.error(f"{page}, on paper", message)
        self.browser.set_media("light")

    def check_without_script(self, page):
        if not self.run("hasScriptedParts"):
            return
        self.browser.call("Emulation.setScriptExecutionDisabled", value=True)
        self.visit(page)
        for message in self.run("hiddenVariants"):
            self.error(f"{page}, without JavaScript", message)
        self.browser.call("Emulation.setScriptExecutionDisabled", value=False)

    def check_themes(self):
        """Checks the themes that a reader can choose instead of the default ones."""
        for theme in THEMES:
            for page in THEMED_PAGES:
                self.visit(page)
                self.run("chooseTheme", theme)
                self.visit(page)
                for message in self.run("visibleFaults"):
                    self.error(f"{page}, theme {theme}", message)
        self.run("chooseTheme", None)

    def check_tabs(self, pages):
        """Chooses a backend with the arrow keys, and checks that the other pages remember it."""
        visited = []
        chosen = None
        for page in pages:
            self.visit(page)
            selected = self.run("selectedTabs")
            if not selected:
                continue
            visited.append(page)
            if chosen is None:
                self.run("focusTab")
                self.browser.press_key("ArrowRight")
                chosen = self.run("focusedTab")
                selected = self.run("selectedTabs")
                if chosen is None or chosen == "tokio":
                    self.error(page, f"the right arrow key moves the focus to the tab {chosen}")
            for names in selected:
                if chosen in names["all"] and names["selected"] != [chosen]:
                    self.error(page, f"the selected tabs are {names['selected']}, but the reader chose {chosen}")
        return len(visited)

    def check_simulator(self, pages):
        """Moves each slider of the interactive figure with an arrow key."""
        for page in pages:
            self.visit(page)
            if not self.run("isStaticFigureCurrent"):
                self.error(page, "the interactive figure without JavaScript differs from the one that the model draws")
            for name in self.run("sliders"):
                before = self.run("focusSlider", name)
                self.browser.press_key("ArrowRight")
                after = self.run("simulatorState")
                if after is None or after["focus"] != name:
                    self.error(page, f"an arrow key on the slider {name} opens another page")
                    self.visit(page)
                elif after == before or after["sentence"] == before["sentence"]:
                    self.error(page, f"an arrow key on the slider {name} does not change the figure")
            self.browser.set_size(390, 844, True)
            self.visit(page)
            for setting in ({"pages": 100, "limit": 1, "delay": 500}, {"pages": 1, "blocking": 0}, {"blocking": 1000}):
                self.run("setSliders", setting)
                for message in self.run("visibleFaults"):
                    self.error(f"{page}, the interactive figure with {setting}", message)
            self.browser.set_size(1280, 900)

    def check_search(self):
        for word, scheme in zip(SEARCHES, SCHEMES, strict=True):
            self.browser.set_media(scheme)
            self.visit("index.html")
            if not self.run("search", word):
                self.error("search", f"{word!r} finds nothing")
            for message in self.run("visibleFaults"):
                self.error(f"search for {word!r}, {scheme}", message)
            self.report_console(f"search for {word!r}")


def check_book(browser, address, options):
    checker = Checker(browser, address, options.screenshots)
    pages = options.pages or [str(path.relative_to(BOOK)) for path in sorted(BOOK.rglob("*.html"))]
    pages = [page for page in pages if page not in NOT_PAGES]
    browser.open(f"{address}/index.html")
    for page in pages:
        checker.check_page(page)
    browser.set_size(1280, 900)
    tabs = checker.check_tabs(pages)
    checker.check_simulator([page for page in pages if page == "tutorial/ch01.html"])
    if not options.pages:
        checker.check_themes()
        checker.check_search()
    for error in checker.errors:
        print(error, file=sys.stderr)
    if checker.errors:
        sys.exit(f"appearance: {len(checker.errors)} faults")
    print(
        f"appearance: {len(pages)} pages are legible at 1280 and 390 pixels, in light and dark; the keyboard reaches "
        f"{checker.stops} links and controls; {tabs} pages have tabs"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="*", metavar="PAGE")
    parser.add_argument("--screenshots", type=Path, metavar="DIR")
    options = parser.parse_args()
    program = find_chromium()
    if program is None:
        print("SKIPPED: Chromium is not installed, so the appearance of the book was not checked")
        return
    if not (BOOK / "index.html").is_file():
        sys.exit("docs/book does not exist: run `mdbook build docs`")
    if options.screenshots:
        options.screenshots.mkdir(parents=True, exist_ok=True)
    server = QuietServer(("127.0.0.1", 0), functools.partial(QuietHandler, directory=BOOK))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(program, profile)
        try:
            check_book(browser, f"http://127.0.0.1:{server.server_port}", options)
        finally:
            browser.close()
            server.shutdown()


if __name__ == "__main__":
    main()
