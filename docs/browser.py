"""Controls headless Chromium with the DevTools protocol, for the scripts that check pages."""

import json
import os
import select
import shutil
import subprocess
import sys
from base64 import b64decode

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
# The time in which the browser must answer, in seconds.
PATIENCE = 60

KEY_CODES = {"Tab": 9, "Enter": 13, "Escape": 27, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowRight": 39}


def find_chromium():
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        if shutil.which(name):
            return shutil.which(name)
    return None


class Browser:
    """A Chromium process with one tab, controlled over two pipes."""

    def __init__(self, program, profile):
        # Chromium reads commands from descriptor 3 and writes responses to descriptor 4.
        child_in, self.commands = os.pipe()
        self.responses, child_out = os.pipe()
        shell = f'exec "$0" "$@" 3<&{child_in} 4>&{child_out}'
        self.process = subprocess.Popen(
            ["bash", "-c", shell, program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(child_in, child_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(child_in)
        os.close(child_out)
        self.last_id, self.buffer, self.events, self.session = 0, b"", [], None

    def read_message(self):
        while b"\0" not in self.buffer:
            if not select.select([self.responses], [], [], PATIENCE)[0]:
                sys.exit(f"the browser has not answered for {PATIENCE} s")
            chunk = os.read(self.responses, 1 << 16)
            if not chunk:
                sys.exit("the browser exited")
            self.buffer += chunk
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def call(self, method, **parameters):
        self.last_id += 1
        message = {"id": self.last_id, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while True:
            response = self.read_message()
            if response.get("id") == self.last_id:
                if "error" in response:
                    sys.exit(f"{method}: {response['error']}")
                return response["result"]
            self.events.append(response)

    def wait_for(self, event):
        while not any(received.get("method") == event for received in self.events):
            self.events.append(self.read_message())

    def evaluate(self, script, *arguments):
        """Calls a JavaScript function with JSON arguments. Returns its result, also of an async function."""
        expression = f"({script})({', '.join(json.dumps(argument) for argument in arguments)})"
        response = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in response:
            sys.exit(f"a script failed in the browser: {response['exceptionDetails']}")
        return response["result"].get("value")

    def press_key(self, name):
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=KEY_CODES[name])

    def open(self, url):
        """Opens a URL in a new tab."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.navigate(url)

    def navigate(self, url):
        """Opens a URL in the current tab, and forgets the events of the page before."""
        self.events = []
        self.call("Page.navigate", url=url)
        self.wait_for("Page.loadEventFired")

    def set_size(self, width, height, phone=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if phone else 1, mobile=phone)

    def set_media(self, scheme, media=""):
        """Emulates a color scheme (`light` or `dark`) and a medium (`print` or `screen`; the default is the screen)."""
        self.call("Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}])

    def console_messages(self):
        """Returns the page's messages and exceptions."""
        methods = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")
        return [json.dumps(event["params"])[:300] for event in self.events if event.get("method") in methods]

    def save_screenshot(self, path, longest=16000):
        """Saves the whole page, or its beginning if the page is longer than Chromium can draw."""
        height = self.evaluate("() => document.documentElement.scrollHeight")
        width = self.evaluate("() => document.documentElement.clientWidth")
        clip = {"x": 0, "y": 0, "width": width, "height": min(height, longest), "scale": 1}
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)["data"]
        path.write_bytes(b64decode(data))

    def save_pdf(self, path):
        path.write_bytes(b64decode(self.call("Page.printToPDF", printBackground=False, preferCSSPageSize=True)["data"]))

    def close(self):
        os.close(self.commands)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.responses)
