#!/usr/bin/env bash
# Runs the programs of the book and writes their output to files that the book includes.
set -euo pipefail
cd "$(dirname "$0")/.."

show() { # show FILE EXAMPLE BACKEND
  cargo run --quiet -p inflight-examples --no-default-features --features "$3" --bin "$2" \
    > "docs/output/$1.txt"
}

show get get tokio
show blocking_client blocking_client tokio
show failures failures tokio
show guard guard tokio
show policy policy tokio
show download download tokio
show trace trace tokio
show aiohttp aiohttp tokio
show virtual_time virtual_time tokio
cargo run --quiet -p inflight-examples --bin waterfall > docs/src/images/waterfall.svg
for backend in tokio smol async-std ureq; do
  show "hundred_pages-$backend" hundred_pages "$backend"
  show "stall-$backend" stall "$backend"
done
cargo run --quiet -p inflight-cli -- backends --format table > docs/output/backends.txt
python3 docs/first_page/run.py
# An exercise that is not solved fails.
for chapter in ch01 ch05; do
  just check "$chapter" > "docs/output/check-$chapter.txt" || true
done
