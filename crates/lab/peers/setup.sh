#!/usr/bin/env bash
# Prepares the peers under target/peers and lists the installed ones: `just peers`.
#
# A missing tool is not an error. If a tool is missing, the lab skips the peers that need it.
set -euo pipefail
cd "$(dirname "$0")"

into="${CARGO_TARGET_DIR:-$(git rev-parse --show-toplevel 2>/dev/null || echo ../../..)/target}/peers"
mkdir -p "$into/bin"
into="$(cd "$into" && pwd)"
have() { command -v "$1" >/dev/null 2>&1; }
missing() { echo "peer $1: not present: $2"; }

# Link to the source folder, so that the Python programs always match the lab.
ln -sfn "$PWD" "$into/src"

if ! have python3; then
    echo "python3 is not installed: only the peer go is available"
elif ! { [[ -x "$into/venv/bin/pip" ]] || python3 -m venv "$into/venv"; }; then
    echo "python3 cannot create a virtual environment: on Debian, apt-get install python3-venv"
elif ! "$into/venv/bin/pip" install --quiet --disable-pip-version-check --requirement python/requirements.txt; then
    echo "pip could not install python/requirements.txt, see its message above"
fi

if have go; then
    # The peer only uses the standard library, so no modules are downloaded.
    (cd go && GOFLAGS=-mod=mod GOPROXY=off GOTOOLCHAIN=local CGO_ENABLED=0 go build -o "$into/bin/go-net-http" .) ||
        echo "go could not build the peer: it needs Go 1.19 or later"
fi

report() {
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
report "aiohttp" "install Python 3, then \`just peers\`" python aiohttp_gather
report "requests in async def" "install Python 3, then \`just peers\`" python requests_in_async
report "go" "install Go, then \`just peers\`" "$into/bin/go-net-http"
report "curl --parallel" "install Python 3 and curl, then \`just peers\`" python curl_parallel
report "wrk" "install Python 3 and wrk, then \`just peers\`" python wrk_ceiling
