"""`curl --parallel`: one process for each turn, so the time includes its start and its connections."""

import subprocess
import tempfile
from pathlib import Path

import protocol

# curl's maximum number of parallel transfers. curl silently reduces a higher limit to this number.
MAX_PARALLEL = 300


def version():
    result = subprocess.run(["curl", "--version"], capture_output=True, text=True, check=True)
    return " ".join(result.stdout.split()[:2])


def pages(arguments):
    def fetch(urls, limit):
        if limit > MAX_PARALLEL:
            raise protocol.WrongResponse(f"curl has at most {MAX_PARALLEL} transfers at once, not {limit}")
        with tempfile.TemporaryDirectory() as folder:
            command = ["curl", "--disable", "--silent", "--show-error", "--config", "-"]
            if limit > 1:
                # Without --parallel-immediate, curl first waits for a connection to multiplex on.
                command += ["--parallel", "--parallel-max", str(limit), "--parallel-immediate"]
            lines = ['write-out = "%{urlnum} %{http_code}\\n"']
            for number, url in enumerate(urls):
                lines += [f'url = "{url}"', f'output = "{folder}/{number}"']
            done = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True)
            if done.returncode != 0:
                raise protocol.WrongResponse(f"curl exited with {done.returncode}: {done.stderr.strip()}")
            results = [(0, b"")] * len(urls)
            for line in done.stdout.splitlines():
                number, status = map(int, line.split())
                results[number] = status, Path(folder, str(number)).read_bytes()
            return results

    return protocol.page_turn(arguments, fetch)


if __name__ == "__main__":
    protocol.main(version, {"pages": pages})
