"""wrk, which counts responses without checking them: the upper bound for a client with one thread.

wrk runs for a fixed time, not for a number of requests. A turn therefore takes one second.
"""

import json
import subprocess
import urllib.request
from pathlib import Path

import protocol

DONE = Path(__file__).with_name("wrk_done.lua")


def version():
    # wrk --version prints the version and fails.
    result = subprocess.run(["wrk", "--version"], capture_output=True, text=True)
    return " ".join((result.stdout + result.stderr).split()[:2])


def requests(arguments):
    url = f"{arguments.origin}/bytes/12"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def turn(_, iterations):
        # wrk does not check bodies. This function verifies one response here, and the total number of bytes
        # below.
        with opener.open(url) as response:
            protocol.verify("/bytes/12", response.status, response.read(), protocol.TWELVE)
        command = ["wrk", "-t1", f"-c{arguments.limit}", "-d1s", "-s", str(DONE), url]
        before = protocol.cpu()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        used = protocol.cpu() - before
        counts = json.loads(done.stdout.splitlines()[-1])
        answered, failed = counts["requests"], counts["failed"]
        if failed or not answered:
            raise protocol.WrongResponse(f"{failed} of {answered} requests failed")
        # Each response has a body of 12 bytes and a head of unknown length.
        if not 12 * answered < counts["bytes"] < 1000 * answered:
            raise protocol.WrongResponse(f"{answered} responses had {counts['bytes']} bytes")
        each = {"rate": answered / counts["microseconds"] * 1e6, "cpu": used * 1e6 / answered}
        return answered, each

    return turn


if __name__ == "__main__":
    protocol.main(version, {"requests": requests})
