#!/usr/bin/env python3
"""Runs the clients against real servers that close connections, and checks that no request is lost.

A profile is a server from a Debian package with some settings. Most profiles close connections
early. A cell is a runtime with a client, such as smol/hyper. Against each profile, each cell sends
GETs and then POSTs, 100 in flight. A request is lost if the client returns an error. The script
checks:

- a cell whose client is hyper, surf or ureq loses no GET;
- a cell whose client is isahc loses no more GETs than curl does;
- no POST of a cell is in an access log twice.

The script prints lost POSTs but does not fail because of them. curl and aiohttp run for comparison.
The exit status is 1 if a check fails. Each cell takes some seconds for each profile.
"""

import argparse
import collections
import contextlib
import dataclasses
import functools
import grp
import itertools
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIMIT = 100
CLIENT_TIMEOUT = 300
RELOAD_INTERVAL = 0.2
CELLS = [
    *("tokio/hyper", "smol/hyper", "async-std/hyper"),
    *("tokio/surf", "smol/surf", "async-std/surf"),
    *("threads/ureq", "tokio/ureq", "smol/ureq", "async-std/ureq"),
    *("tokio/isahc", "smol/isahc", "async-std/isahc"),
]
QUICK_CELLS = ["tokio/hyper", "smol/surf", "threads/ureq", "smol/isahc"]
# The Debian package of each program has the program's name.
COMMANDS = {
    "nginx": "nginx -p {0} -e {0}/error.log -c {0}/nginx.conf",
    "apache2": "apache2 -d {0} -f {0}/apache2.conf -DFOREGROUND",
    "haproxy": "haproxy -db -f {0}/haproxy.conf",
    "squid": "squid -N -f {0}/squid.conf",
}
# If root starts a server, these settings make it run as another user. haproxy needs none.
USERS = {
    "nginx": "user {} {};",
    "apache2": "User {}\nGroup {}",
    "squid": "cache_effective_user {}\ncache_effective_group {}",
}
# No process may use a proxy from the environment. A user's PATH may lack the servers' directories.
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")
}
ENVIRONMENT["PATH"] = os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin"


class Failed(Exception):
    """A server or a client program does not work, so there is no result."""


@dataclasses.dataclass
class Profile:
    """A server program with settings. `tls` adds TLS and HTTP/2; `reload` reloads it repeatedly."""

    name: str
    program: str
    settings: str = ""
    tls: bool = False
    reload: bool = False

    def is_proxy(self):
        return self.program in ("haproxy", "squid")

    def programs(self):
        return [self.program] + ["nginx"] * self.is_proxy() + ["openssl"] * self.tls


PROFILES = [
    Profile("nginx-http1-requests-10", "nginx", "keepalive_requests 10;"),
    Profile("nginx-http1-keepalive-0", "nginx", "keepalive_timeout 0;"),
    Profile("nginx-http2-requests-10", "nginx", "keepalive_requests 10;", tls=True),
    Profile("nginx-http2-reload", "nginx", tls=True, reload=True),
    Profile("nginx-http1-reload", "nginx", reload=True),
    Profile("apache-keepalive-1s", "apache2", "KeepAliveTimeout 1"),
    # No connection of a busy client is idle for a second, but many are for some milliseconds.
    Profile("apache-keepalive-10ms", "apache2", "KeepAliveTimeout 10ms"),
    Profile("haproxy-keepalive-10ms", "haproxy", "timeout http-keep-alive 10ms"),
    Profile("squid", "squid", "client_idle_pconn_timeout 1 second"),
]


@dataclasses.dataclass
class Server:
    process: subprocess.Popen
    port: int
    log: Path


@dataclasses.dataclass
class Target:
    """A running profile, and how clients reach it."""

    base: str
    # The server that clients connect to, then the server behind it.
    servers: list
    proxy: str | None = None
    root_certificate: Path | None = None


@dataclasses.dataclass
class Result:
    """The results of the requests that one client sent."""

    sent: int
    answered: int
    # The number of lost requests by kind of error.
    lost: dict
    examples: list
    # The paths that are more than once in an access log.
    twice: list = dataclasses.field(default_factory=list)
    protocol: str = ""

    def lost_count(self):
        return self.sent - self.answered


def find(program):
    return shutil.which(program, path=ENVIRONMENT["PATH"])


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def unprivileged():
    """Returns the user and the group of a server that root starts."""
    try:
        user = pwd.getpwnam("www-data")
    except KeyError:
        user = pwd.getpwnam("nobody")
    return user.pw_name, grp.getgrgid(user.pw_gid).gr_name


def launch(stack, program, directory, **values):
    """Starts a server in its own directory. The end of the stack stops the server."""
    directory.mkdir()
    port = free_port()
    values |= {"DIR": directory, "PORT": port, "USER": ""}
    if os.geteuid() == 0 and program in USERS:
        user, group = unprivileged()
        values["USER"] = USERS[program].format(user, group)
        shutil.chown(directory, user, group)
    (directory / "page.txt").write_text("a page\n")
    text = (HERE / f"{program}.conf").read_text()
    text = re.sub("@([A-Z]+)@", lambda found: str(values[found[1]]), text)
    (directory / f"{program}.conf").write_text(text)
    command = [part.format(directory) for part in COMMANDS[program].split()]
    command[0] = find(program)
    process = stack.enter_context(running(command, directory, port))
    # haproxy cannot write its log to a file, so its standard output is the log.
    log = directory / ("stdout.log" if program == "haproxy" else "access.log")
    return Server(process, port, log)


@contextlib.contextmanager
def running(command, directory, port):
    """Runs a server in the foreground. Waits until it accepts connections; stops it at the end."""
    stdout, stderr = directory / "stdout.log", directory / "stderr.log"
    with open(stdout, "ab") as output, open(stderr, "ab") as errors:
        pipes = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": errors}
        # In a session of its own, the server gets neither SIGINT nor SIGWINCH from the terminal.
        process = subprocess.Popen(command, **pipes, env=ENVIRONMENT, start_new_session=True)
    try:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            if process.poll() is not None or time.monotonic() > deadline:
                logs = [log for log in (stderr, directory / "error.log") if log.exists()]
                messages = "\n".join(log.read_text(errors="replace")[-1000:] for log in logs)
                raise Failed(f"{command[0]} does not accept connections: {messages.strip()}")
            time.sleep(0.02)
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                # Nothing has waited for the process yet, so the group still has this id.
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@contextlib.contextmanager
def reloading(process):
    """Makes nginx replace its worker processes at short intervals."""
    ended = threading.Event()

    def reload():
        while not ended.wait(RELOAD_INTERVAL):
            process.send_signal(signal.SIGHUP)

    thread = threading.Thread(target=reload)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def certificates(directory):
    """Creates a certificate authority, and a certificate for 127.0.0.1 and localhost."""
    shutil.copy(HERE / "openssl.cnf", directory)
    key = "-config openssl.cnf -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    for arguments in (
        f"req -x509 {key} -extensions authority -days 2 -subj /CN=authority"
        " -keyout authority.key -out authority.pem",
        f"req -new {key} -subj /CN=localhost -keyout server.key -out server.csr",
        "x509 -req -in server.csr -CA authority.pem -CAkey authority.key -CAcreateserial"
        " -days 2 -extfile openssl.cnf -extensions server -out server.pem",
    ):
        command = [find("openssl"), *arguments.split()]
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
        if done.returncode != 0:
            raise Failed(f"openssl {arguments} failed: {done.stderr.strip()}")
    return directory / "authority.pem"


def start(stack, profile, directory):
    """Starts the servers of a profile. The end of the stack stops them."""
    directory.mkdir()
    values = {"SETTINGS": profile.settings, "LISTEN": ""}
    target = Target("", [])
    if profile.is_proxy():
        target.servers.append(launch(stack, "nginx", directory / "nginx", SETTINGS="", LISTEN=""))
        values["UPSTREAM"] = target.servers[0].port
    if profile.tls:
        target.root_certificate = certificates(directory)
        values["LISTEN"] = "ssl http2"
        values["SETTINGS"] += f"ssl_certificate {directory}/server.pem;"
        values["SETTINGS"] += f"ssl_certificate_key {directory}/server.key;"
    front = launch(stack, profile.program, directory / "front", **values)
    target.servers.insert(0, front)
    server = front
    if profile.program == "squid":
        # The URLs of requests to a forward proxy have the address of the server behind it.
        server = target.servers[1]
        target.proxy = f"http://127.0.0.1:{front.port}"
    target.base = f"{'https' if profile.tls else 'http'}://127.0.0.1:{server.port}"
    return target


def run_client(command):
    pipes = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True}
    try:
        return subprocess.run(command, **pipes, timeout=CLIENT_TIMEOUT, env=ENVIRONMENT)
    except subprocess.TimeoutExpired:
        raise Failed(f"{command[0]} has not ended within {CLIENT_TIMEOUT} s") from None
    except OSError as error:
        raise Failed(f"{command[0]} does not start: {error}") from None


def run_program(command, target, base, method, count):
    """Runs a program with the options of `inflight-conformance --load`."""
    command = [*command, "--load", base, "--method", method]
    command += ["--requests", str(count), "--limit", str(LIMIT)]
    if target.proxy:
        command += ["--proxy", target.proxy]
    if target.root_certificate:
        command += ["--root-certificate", target.root_certificate]
    done = run_client(command)
    if done.returncode != 0:
        raise Failed(f"the client ended with status {done.returncode}: {done.stderr[-500:].strip()}")
    try:
        line = json.loads(done.stdout)
        result = Result(count, line["answered"], line["lost"], line["examples"])
    except (ValueError, KeyError, TypeError):
        raise Failed(f"the client printed no valid line: {done.stdout[:500]!r}") from None
    if result.lost_count() != sum(result.lost.values()):
        raise Failed(f"the client's numbers do not add up to {count}: {done.stdout.strip()}")
    return result


def run_curl(target, base, method, count):
    """Runs one curl that sends all requests."""
    # --disable ignores ~/.curlrc, and works only as the first option.
    command = [find("curl"), "--disable", "--silent", "--output", os.devnull]
    command += ["--parallel", "--parallel-immediate", "--parallel-max", str(LIMIT)]
    command += ["--write-out", "%{http_code} %{exitcode}\n", f"{base}/[0-{count - 1}]"]
    if method == "POST":
        command += ["--data", "a body"]
    if target.proxy:
        command += ["--proxy", target.proxy]
    if target.root_certificate:
        command += ["--http2", "--cacert", target.root_certificate]
    done = run_client(command)
    lost = collections.Counter(done.stdout.splitlines())
    answered = lost.pop("200 0", 0)
    if answered == 0:
        raise Failed(f"curl got no response: status {done.returncode}: {done.stderr.strip()}")
    kinds = {f"status {line.replace(' ', ', curl ')}": times for line, times in lost.items()}
    return Result(count, answered, kinds, [])


def logged(log, offset, method, path):
    """Returns how often each path is in the log after the offset, and the HTTP versions."""
    paths, protocols = collections.Counter(), set()
    with open(log, "rb") as file:
        file.seek(offset)
        text = file.read().decode(errors="replace")
    for line in text.splitlines():
        fields = line.split()
        # The server may still be writing the last line.
        if len(fields) == 4 and fields[0] == method:
            logged_path = urllib.parse.urlsplit(fields[1]).path
            if logged_path.startswith(f"{path}/"):
                paths[logged_path] += 1
                protocols.add(fields[3].removeprefix("HTTP/"))
    return paths, protocols


def measure(run, target, method, path, count):
    """Sends requests to new paths, then finds in the access logs the paths that arrived twice."""
    logs = [server.log for server in target.servers]
    offsets = [log.stat().st_size if log.exists() else 0 for log in logs]
    result = run(target, target.base + path, method, count)
    for server in target.servers:
        if server.process.poll() is not None:
            raise Failed(f"{server.process.args[0]} ended with status {server.process.returncode}")
    deadline = time.monotonic() + 10
    twice = set()
    for log, offset in zip(logs, offsets):
        # A proxy logs no paths for a client that uses CONNECT, but the server behind it does.
        expected = result.answered if log == logs[-1] else 0
        before = None
        # The server writes a line when the request has ended, which may be after the client's end.
        while (seen := logged(log, offset, method, path)) != before or len(seen[0]) < expected:
            if time.monotonic() > deadline:
                raise Failed(f"{log} has {len(seen[0])} of {expected} answered requests")
            before = seen
            time.sleep(0.1)
        paths, protocols = seen
        twice |= {path for path, times in paths.items() if times > 1}
        result.protocol = result.protocol or "+".join(sorted(protocols))
    result.twice = sorted(twice)
    return result


COLUMNS = "{:<24} {:<15} {:>7} {:>10} {:>10} {:>5} {:>7}  {}"
HEADER = ("profile", "client", "HTTP", "GET lost", "POST lost", "twice", "seconds", "lost by kind")


def print_row(profile, client, get, post, seconds):
    kinds = [f"GET {kind}: {times}" for kind, times in sorted(get.lost.items())]
    kinds += [f"POST {kind}: {times}" for kind, times in sorted(post.lost.items())]
    lost = [f"{result.lost_count()}/{result.sent}" for result in (get, post)]
    row = (profile.name, client, get.protocol, *lost, len(post.twice), f"{seconds:.1f}")
    print(COLUMNS.format(*row, "; ".join(kinds)).rstrip(), flush=True)


def broken_rules(cell, get, post, curl):
    example = f": {get.examples[0]}" if get.examples else ""
    if not cell.endswith("/isahc") and get.lost_count() > 0:
        yield f"lost {get.lost_count()} GETs{example}"
    if cell.endswith("/isahc") and curl is not None and get.lost_count() > curl.lost_count():
        yield f"lost {get.lost_count()} GETs, but curl lost {curl.lost_count()}{example}"
    if post.twice:
        yield f"the server processed {len(post.twice)} POSTs twice, such as {post.twice[0]}"


def run_profile(profile, clients, options, directory, runs):
    """Runs all clients against a profile. Returns the failed checks of the cells."""
    broken, curl = [], None
    with contextlib.ExitStack() as stack:
        target = start(stack, profile, directory)
        if profile.reload:
            stack.enter_context(reloading(target.servers[0].process))
        for client, run in clients.items():
            number, started = next(runs), time.monotonic()
            rules = []
            try:
                get = measure(run, target, "GET", f"/page/{number}", options.requests)
                post = measure(run, target, "POST", f"/post/{number}", options.posts)
                print_row(profile, client, get, post, time.monotonic() - started)
                rules = broken_rules(client, get, post, curl)
                if client == "curl":
                    curl = get
            except Failed as error:
                print(f"{profile.name:<24} {client:<15} failed: {error}", flush=True)
                rules = [error]
            if client in options.cell:
                broken += [f"{profile.name}, {client}: {rule}" for rule in rules]
    return broken


def aiohttp_python():
    """Returns a Python with aiohttp: from the environment, or the one that `just peers` makes."""
    target = os.environ.get("CARGO_TARGET_DIR", f"{HERE}/../../../target")
    python = os.environ.get("INFLIGHT_AIOHTTP_PYTHON", f"{target}/peers/venv/bin/python")
    with contextlib.suppress(OSError):
        if subprocess.run([python, "-c", "import aiohttp"], capture_output=True).returncode == 0:
            return python
    return None


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="profiles: " + ", ".join(profile.name for profile in PROFILES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("program", type=Path, help="the path of the program inflight-conformance")
    add("--cell", nargs="+", action="extend", help="only these cells; default: all of them")
    add("--server", nargs="+", action="extend", help="only profiles whose name begins with this")
    add("--requests", type=int, help="GETs per cell and profile; default: 5000")
    add("--posts", type=int, help="POSTs per cell and profile; default: 500")
    add("--quick", action="store_true", help="fewer cells, 1000 GETs and 100 POSTs")
    options = parser.parse_args()
    options.program = options.program.resolve()
    options.cell = options.cell or (QUICK_CELLS if options.quick else CELLS)
    options.requests = options.requests or (1000 if options.quick else 5000)
    options.posts = options.posts or (100 if options.quick else 500)
    names = tuple(options.server or [""])
    options.profiles = [profile for profile in PROFILES if profile.name.startswith(names)]
    if not options.profiles:
        parser.error(f"no profile begins with {' or '.join(names)}")
    return options


def main():
    options = parse_arguments()
    # SIGTERM raises an exception as SIGINT does, so that the servers are stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    clients = {}
    # curl runs first, because isahc is compared with it.
    if find("curl"):
        clients["curl"] = run_curl
    else:
        print("isahc is not compared with curl: install the package curl")
    for cell in options.cell:
        clients[cell] = functools.partial(run_program, [options.program, "--cell", cell])
    if python := aiohttp_python():
        clients["aiohttp"] = functools.partial(run_program, [python, HERE / "aiohttp_load.py"])
    else:
        print("aiohttp does not run: use `just peers`, or set INFLIGHT_AIOHTTP_PYTHON")

    print(COLUMNS.format(*HEADER), flush=True)
    broken, runs = [], itertools.count(1)
    with tempfile.TemporaryDirectory(prefix="inflight-servers-") as root:
        # Servers that root starts change to another user and need access to their directories.
        os.chmod(root, 0o755)
        for profile in options.profiles:
            missing = [program for program in profile.programs() if not find(program)]
            if missing:
                print(f"{profile.name:<24} skipped: install the package {' and '.join(missing)}")
                continue
            try:
                broken += run_profile(profile, clients, options, Path(root, profile.name), runs)
            except Failed as error:
                broken.append(f"{profile.name}: {error}")
    for rule in broken:
        print(f"broken: {rule}")
    return 1 if broken else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
