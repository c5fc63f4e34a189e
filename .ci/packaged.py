#!/usr/bin/env python3
"""Checks that the crates can be published, and that the README's program works with the published files.

The script runs `cargo publish --workspace --dry-run`. Then it unpacks the packages into a workspace in a temporary
folder, compiles all of them, and adds a crate whose program is the example of README.md. It runs this program on each of
the four named backends, against a local server.

By default, the dry run does not compile, because it would compile each package alone, with all of its dependencies, for
about 10 minutes. With `--verify`, it does.
"""

import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BACKENDS = ("tokio", "smol", "async-std", "ureq")
PAGES = 20
# libcurl needs this flag: see "Limits" in README.md.
ENVIRONMENT = os.environ | {"CFLAGS": "-DHAVE_POLL=1"}

WORKSPACE = """\
[workspace]
resolver = "3"
members = ["*-{version}", "outside"]

[patch.crates-io]
{patches}

# The profile of the project's workspace, so that both share what they compile.
[profile.dev]
debug = "line-tables-only"
"""

MANIFEST = """\
[package]
name = "outside"
version = "0.1.0"
edition = "2024"

[features]
{features}

[dependencies]
inflight = "{version}"
"""


class Pages(BaseHTTPRequestHandler):
    """Serves `/page/N` with a body of N bytes, and counts the requests in `server.requests`."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.requests[self.path] += 1
        body = b"x" * int(self.path.removeprefix("/page/"))
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    # All pages are requested at once.
    request_queue_size = 2 * PAGES

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Pages)
        self.requests = Counter()

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception):
        self.shutdown()
        super().__exit__(*exception)


def metadata():
    command = ["cargo", "metadata", "--no-deps", "--format-version", "1"]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)


def cargo(*arguments, folder, target):
    """Runs cargo in a folder, and returns what it prints to standard output."""
    environment = ENVIRONMENT | {"CARGO_TARGET_DIR": str(target), "NO_PROXY": "*"}
    command = ["cargo", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


def package_all(packages, target, verify):
    """Checks that the crates can be published, and writes their packages."""
    options = ["--locked", "--quiet", "--allow-dirty"]
    mode = [] if verify else ["--no-verify"]
    cargo("publish", "--workspace", "--dry-run", *mode, *options, folder=ROOT, target=target)
    names = [f"--package={package['name']}" for package in packages]
    cargo("package", "--no-verify", *names, *options, folder=ROOT, target=target)


def unpack(packages, target, folder):
    for package in packages:
        archive = target / f"package/{package['name']}-{package['version']}.crate"
        with tarfile.open(archive) as files:
            files.extractall(folder, filter="data")


def readme_program():
    return re.search(r"^```rust\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)[1]


def create_workspace(packages, folder):
    """Makes the folder of the unpacked packages a workspace, and adds the crate with the README's program."""
    version = packages[0]["version"]
    patches = "\n".join(f'{package["name"]} = {{ path = "{package["name"]}-{version}" }}' for package in packages)
    features = "\n".join(f'{name} = ["inflight/{name}"]' for name in BACKENDS)
    (folder / "outside/src").mkdir(parents=True)
    (folder / "outside/src/main.rs").write_text(readme_program())
    (folder / "outside/Cargo.toml").write_text(MANIFEST.format(version=version, features=features))
    (folder / "Cargo.toml").write_text(WORKSPACE.format(version=version, patches=patches))
    # The same versions of the other dependencies as in the project's workspace.
    (folder / "Cargo.lock").write_text((ROOT / "Cargo.lock").read_text())


def check_backend(backend, folder, target):
    """Runs the program on a backend. Fails if it does not fetch each page once and print its size."""
    with Server() as server:
        urls = [f"http://127.0.0.1:{server.server_port}/page/{size}" for size in range(1, PAGES + 1)]
        options = ["--quiet", "--package=outside", f"--features={backend}"]
        output = cargo("run", *options, "--", *urls, folder=folder, target=target)
        expected = [f"{url}: {size} bytes" for size, url in enumerate(urls, start=1)]
        if sorted(output.splitlines()) != sorted(expected):
            sys.exit(f"{backend}: unexpected output:\n{output}")
        if len(server.requests) != PAGES or set(server.requests.values()) != {1}:
            sys.exit(f"{backend}: the server received {dict(server.requests)}")
    print(f"packaged: the README's program fetched {PAGES} pages on the backend {backend}", flush=True)


def main():
    workspace = metadata()
    target = Path(workspace["target_directory"])
    packages = [package for package in workspace["packages"] if package["publish"] is None]
    package_all(packages, target, verify="--verify" in sys.argv[1:])
    print(f"packaged: {len(packages)} crates can be published", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        unpack(packages, target, folder)
        create_workspace(packages, folder)
        cargo("check", "--quiet", "--workspace", "--exclude=outside", "--all-features", folder=folder, target=target)
        print(f"packaged: all {len(packages)} packages compile", flush=True)
        for backend in BACKENDS:
            check_backend(backend, folder, target)


if __name__ == "__main__":
    main()
