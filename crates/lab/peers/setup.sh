#!/usr/bin/env bash
# Prepares the peers under target/peers and lists the installed ones: `just peers`.
#
# A missing tool is not an error. If a tool is missing, the lab skips the peers that need it. The list names the tool.
set -euo pipefail
cd "$(dirname "$0")"

into="${CARGO_TARGET_DIR:-$(git rev-parse --show-toplevel 2>/dev/null || echo ../../..)/target}/peers"
mkdir -p "$into/bin"
into="$(cd "$into" && pwd)"
# A program of an earlier build would pass for the current one if the build fails.
rm -f "$into/bin/"*
have() { command -v "$1" >/dev/null 2>&1; }

# Link to the source folder, so that the Python programs always match the lab.
ln -sfn "$PWD" "$into/src"

absent() { echo "$1 is not on the PATH: on Debian, apt-get install $2"; }

# Why the Python programs, and those that need packages from pip, do not run. Empty if they should run.
python_problem=""
pip_problem=""
if ! have python3; then
    python_problem="$(absent python3 "python3 python3-venv")"
elif ! { [[ -x "$into/venv/bin/pip" ]] || python3 -m venv "$into/venv"; }; then
    python_problem="python3 cannot create a virtual environment: on Debian, apt-get install python3-venv"
elif ! "$into/venv/bin/pip" install --quiet --disable-pip-version-check --requirement python/requirements.txt; then
    pip_problem="pip could not install python/requirements.txt, see its message above"
fi

go_problem=""
if ! have go; then
    go_problem="$(absent go golang)"
# The peer only uses the standard library, so no modules are downloaded.
elif ! (cd go && GOFLAGS=-mod=mod GOPROXY=off GOTOOLCHAIN=local CGO_ENABLED=0 go build -o "$into/bin/go-net-http" .); then
    go_problem="go could not build the peer: it needs Go 1.19 or later"
fi

rust_problem=""
if ! have cargo; then
    rust_problem="cargo is not on the PATH: see https://rustup.rs"
elif ! cargo build --quiet --release --locked --manifest-path rust/Cargo.toml --target-dir "$into/rust"; then
    rust_problem="cargo could not build the peer: it needs Rust 1.95 or later, see the message above"
else
    cp "$into/rust/release/aioduct" "$into/rust/release/trillium-client" "$into/bin/"
fi

# report NAME PROBLEM COMMAND...: prints the version that the command prints, or why it does not run.
report() {
    local name="$1" problem="$2" version
    shift 2
    if version="$("$@" --version 2>&1)"; then
        echo "peer $name: present: $version"
    else
        echo "peer $name: not present: ${problem:-$(tail -n 1 <<<"$version")}"
    fi
}

# Returns the problem of a peer that is a Python program and needs another program.
needs() {
    if [[ -n "$python_problem" ]]; then
        echo "$python_problem"
    elif ! have "$1"; then
        absent "$1" "$1"
    fi
}

python() { "$into/venv/bin/python" -B "$into/src/python/$1.py" "${@:2}"; }
echo
report "aiohttp" "${python_problem:-$pip_problem}" python aiohttp_gather
report "requests in async def" "${python_problem:-$pip_problem}" python requests_in_async
report "go" "$go_problem" "$into/bin/go-net-http"
report "aioduct" "$rust_problem" "$into/bin/aioduct"
report "trillium-client" "$rust_problem" "$into/bin/trillium-client"
report "curl --parallel" "$(needs curl)" python curl_parallel
report "wrk" "$(needs wrk)" python wrk_ceiling
