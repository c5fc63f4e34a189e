"""`curl --parallel`: a curl for each turn, so that its start and its connections are in the time."""

import subprocess
import tempfile
from pathlib import Path

import protocol

# Newer ones have no higher limit; asked for more, curl would do with this without a word.
MOST = 300


def version():
    said = subprocess.run(["curl", "--version"], capture_output=True, text=True, check=True)
    return " ".join(said.stdout.split()[:2])


def pages(arguments):
    def fetch(urls, limit):
        if limit > MOST:
            raise protocol.Wrong(f"curl has at most {MOST} transfers at once, not {limit}")
        with tempfile.TemporaryDirectory() as folder:
            command = ["curl", "--disable", "--silent", "--show-error", "--config", "-"]
            if limit > 1:
                # Without the third it would first wait whether a connection can be shared.
                command += ["--parallel", "--parallel-max", str(limit), "--parallel-immediate"]
            lines = ['write-out = "%{urlnum} %{http_code}\\n"']
            for number, url in enumerate(urls):
                lines += [f'url = "{url}"', f'output = "{folder}/{number}"']
            done = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True)
            if done.returncode != 0:
                raise protocol.Wrong(f"curl ended with {done.returncode}: {done.stderr.strip()}")
            results = [(0, b"")] * len(urls)
            for line in done.stdout.splitlines():
                number, status = map(int, line.split())
                results[number] = status, Path(folder, str(number)).read_bytes()
            return results

    return protocol.page_turn(arguments, fetch)


if __name__ == "__main__":
    protocol.main(version, {"pages": pages})
