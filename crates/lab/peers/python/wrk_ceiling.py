"""wrk, which does nothing with an answer but count it: the ceiling for a client with one thread.

It runs for a time and not for a number of requests, so a turn is a second of it, whatever was asked for.
"""

import json
import subprocess
import urllib.request
from pathlib import Path

import protocol

DONE = Path(__file__).with_name("wrk_done.lua")


def version():
    # It has no flag that tells the version and succeeds.
    said = subprocess.run(["wrk", "--version"], capture_output=True, text=True)
    return " ".join((said.stdout + said.stderr).split()[:2])


def requests(arguments):
    url = f"{arguments.origin}/bytes/12"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def turn(_, iterations):
        # wrk looks at no body, so one answer is looked at here, and then only their number of bytes.
        with opener.open(url) as response:
            protocol.verify("/bytes/12", response.status, response.read(), protocol.TWELVE)
        command = ["wrk", "-t1", f"-c{arguments.limit}", "-d1s", "-s", str(DONE), url]
        before = protocol.cpu()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        used = protocol.cpu() - before
        seen = json.loads(done.stdout.splitlines()[-1])
        answered, failed = seen["requests"], seen["failed"]
        if failed or not answered:
            raise protocol.Wrong(f"{failed} of {answered} requests failed")
        # The heads are of one length, the bodies too.
        if not 12 * answered < seen["bytes"] < 1000 * answered:
            raise protocol.Wrong(f"{answered} answers had {seen['bytes']} bytes")
        each = {"rate": answered / seen["microseconds"] * 1e6, "cpu": used * 1e6 / answered}
        return answered, each

    return turn


if __name__ == "__main__":
    protocol.main(version, {"requests": requests})
