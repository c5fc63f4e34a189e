#!/usr/bin/env bash
# Gets the peers ready under target/peers, and says which are there: `just peers`.
#
# What is not there is no error: the lab leaves it out and says so.
set -euo pipefail
cd "$(dirname "$0")"

into="${CARGO_TARGET_DIR:-$(git rev-parse --show-toplevel 2>/dev/null || echo ../../..)/target}/peers"
mkdir -p "$into/bin"
into="$(cd "$into" && pwd)"
have() { command -v "$1" >/dev/null 2>&1; }
missing() { echo "peer $1: not present: $2"; }

# The programs are run from where they are written, so that none is older than the lab.
ln -sfn "$PWD" "$into/src"

if ! have python3; then
    echo "python3 is not there: without it there is only go"
elif ! { [[ -x "$into/venv/bin/pip" ]] || python3 -m venv "$into/venv"; }; then
    echo "python3 cannot make a virtual environment: on Debian, apt-get install python3-venv"
elif ! "$into/venv/bin/pip" install --quiet --disable-pip-version-check --requirement python/requirements.txt; then
    echo "pip could not install python/requirements.txt; its message is above"
fi

if have go; then
    # No module is fetched: it is written with the standard library alone.
    (cd go && GOFLAGS=-mod=mod GOPROXY=off GOTOOLCHAIN=local CGO_ENABLED=0 go build -o "$into/bin/go-net-http" .) ||
        echo "go could not build the peer: it takes Go 1.19 or later"
fi

tell() {
    local name="$1" how="$2" version
    shift 2
    if version="$("$@" --version 2>/dev/null)"; then
        echo "peer $name: present: $version"
    else
        missing "$name" "$how"
    fi
}

python() { "$into/venv/bin/python" -B "$into/src/python/$1.py" "${@:2}"; }
echo
tell "aiohttp" "install Python 3, then \`just peers\`" python aiohttp_gather
tell "requests in async def" "install Python 3, then \`just peers\`" python requests_in_async
tell "go" "install Go, then \`just peers\`" "$into/bin/go-net-http"
tell "curl --parallel" "install Python 3 and curl, then \`just peers\`" python curl_parallel
tell "wrk" "install Python 3 and wrk, then \`just peers\`" python wrk_ceiling
