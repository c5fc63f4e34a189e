#!/usr/bin/env bash
# Runs the commands of the page "Fetching a long list of URLs", and writes each command and its output to
# docs/output/gather.txt. The page includes the parts between the anchors. Needs Linux, because each of its 40 hosts is an
# address of the loopback network.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --quiet --release -p inflight-cli
PATH=$(realpath "${CARGO_TARGET_DIR:-target}/release"):$PATH
output=$PWD/docs/output/gather.txt
folder=$(mktemp -d)
trap 'kill $origin 2>/dev/null; rm -rf "$folder"' EXIT
cp docs/gather/fetch.sh "$folder"
cd "$folder"
export HOME=$folder XDG_CONFIG_HOME=$folder/.config NO_PROXY='*' TOKEN=secret
inflight origin --listen 0.0.0.0:8080 > origin.txt &
origin=$!
until [[ -s origin.txt ]]; do sleep 0.1; done
python3 - > urls.txt <<'END'
for host in range(1, 41):
    for n in range(50):
        path = f"anything/{'news' if n % 2 else 'docs'}/page-{n}.html"
        if n == 25:
            path = f"flaky?fail=1&id=host-{host}"
        if n == 40 and host % 10 == 0:
            path = "deny"
        if n == 41 and host % 20 == 0:
            path = "status/404"
        print(f"http://127.0.0.{host}:8080/{path}")
END

# show ANCHOR COMMAND: prints the command and its output. A command may fail, and one with a deadline is interrupted.
show() {
    echo "ANCHOR: $1"
    echo "\$ $2"
    set +e
    (eval "$2") 2>&1 || echo "exit status $?"
    set -e
    echo "ANCHOR_END: $1"
}

# interrupted ANCHOR SECONDS: runs fetch.sh and sends SIGINT, as Ctrl-C does, after this time.
interrupted() {
    echo "ANCHOR: $1"
    echo '$ sh fetch.sh'
    sh fetch.sh 2>&1 &
    local fetch=$!
    sleep "$2"
    kill -INT $fetch
    echo '^C'
    wait $fetch || echo "exit status $?"
    echo "ANCHOR_END: $1"
}

{
    show list 'wc -l urls.txt; head -n 2 urls.txt'
    interrupted first 8
    interrupted second 8
    show third 'sh fetch.sh'
    show failed 'inflight report journal.jsonl --failed'
    show retry 'sh fetch.sh --retry-failed'
    show remaining 'inflight report journal.jsonl --failed --format urls'
    show files "find pages -type f | wc -l; find pages -type f | sort | head -n 3; ls -A pages | grep -v 127"
    show manifest "head -n 1 pages/manifest.jsonl"
} > "$output"
cat "$output"
