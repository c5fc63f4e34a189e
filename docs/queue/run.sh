#!/usr/bin/env bash
# Runs the commands of chapter 15, and prints each command and its output. The page includes the parts between the
# anchors from docs/output/queue.txt. Needs `just nats`, and Linux, because each of its 40 hosts is an address of the loopback
# network.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --quiet --release -p inflight-cli
target=$(realpath "${CARGO_TARGET_DIR:-target}")
PATH=$target/release:$PATH:$target/nats/bin
folder=$(mktemp -d)
running=()
trap 'kill "${running[@]}" 2>/dev/null; rm -rf "$folder"' EXIT
cd "$folder"
export HOME=$folder XDG_CONFIG_HOME=$folder/.config NO_PROXY='*'
inflight origin --listen 0.0.0.0:8080 > origin.txt &
running+=($!)
until [[ -s origin.txt ]]; do sleep 0.1; done
for host in {1..40}; do
    for n in {1..50}; do echo "http://127.0.0.$host:8080/page/$n?delay_ms=500"; done
done > urls.txt
echo 'http://127.0.0.1:8080/status/404' >> urls.txt

# show ANCHOR COMMAND: prints the command and its output. A command may fail.
show() {
    echo "ANCHOR: $1"
    echo "\$ $2"
    set +e
    (eval "$2") 2>&1 || echo "exit status $?"
    set -e
    echo "ANCHOR_END: $1"
}

# start NAME COMMAND: starts the command in the background.
start() {
    eval "exec $2" > "$1.log" 2>&1 &
    running+=($!)
}

{
    start server 'nats-server --jetstream --store_dir data'
    until inflight queue create probe 2>/dev/null; do sleep 0.1; done
    inflight queue drop probe
    show create 'inflight queue create pages --lease 5s'
    show push 'wc -l urls.txt; inflight queue push pages --input urls.txt --seal'
    for worker in 1 2 3; do start "worker$worker" 'inflight queue work pages --per-host 2 --fail-status'; done
    sleep 5
    show status 'inflight queue status pages --format table'
    kill -9 "${running[-1]}"
    sleep 2
    show killed 'inflight queue status pages --format table'
    wait "${running[2]}" "${running[3]}"
    show done 'inflight queue status pages --format table'
    show collect 'inflight queue collect pages --output results.jsonl; wc -l results.jsonl'
    show again 'inflight queue collect pages --output results.jsonl; wc -l results.jsonl'
    show requests 'curl -s http://127.0.0.1:8080/stats | python3 -m json.tool | grep requests'
    show table 'inflight queue collect pages --format table'
    show drop 'inflight queue drop pages; inflight queue status pages'
} > >(sed "s/$(hostname)/machine/") # The names of the workers contain it.
