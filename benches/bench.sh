#!/usr/bin/env bash
# Runs the experiments and prints a summary: bench.sh quick|full|resume.
#
# After Ctrl-C, the current step ends, and the script summarizes the measurements that are finished. The exit status is
# then 130. A step that fails does not stop the script either, if there are measurements to summarize.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

effort="$1"
program="${CARGO_TARGET_DIR:-target}/release/inflight"
is_interrupted=false
status=0
# Records that are not older than this file are from this run.
started="$(mktemp)"
trap 'rm -f "$started"' EXIT

# Ctrl-C reaches the running command too. The shell waits for the command before it runs the trap.
trap 'is_interrupted=true' INT

check_tool() {
    if ! command -v "$1" >/dev/null 2>&1; then
        echo "$1 is not on the PATH: $2. Nothing can be compiled without it." >&2
        exit 1
    fi
}

# The load average is the number of threads that run or wait for a core. Only Linux has the file.
warn_if_busy() {
    local load cores
    [[ -r /proc/loadavg ]] || return 0
    read -r load _ </proc/loadavg
    cores="$(getconf _NPROCESSORS_ONLN)"
    if ((10#${load/./} > cores * 25)); then
        echo "Warning: the machine is busy: the load average of the last minute is $load on $cores cores."
        echo "Stop other programs. Otherwise, the measurements are wrong and will be marked."
    fi
}

# Whether there are measurements to summarize. An older run must not be mistaken for this one.
has_records() {
    local file
    [[ "$effort" != resume ]] || return 0
    for file in target/lab/*.csv; do
        [[ ! -f "$file" || "$started" -nt "$file" ]] || return 0
    done
    return 1
}

# Prints the summary and ends the script.
finish() {
    if has_records; then
        echo
        "$program" lab summary --last-run || status=1
    fi
    if $is_interrupted; then
        has_records || echo "Interrupted before the first measurement."
        exit 130
    fi
    exit "$status"
}

# Runs a command that the next steps need.
need() {
    "$@" || { status=1; finish; }
    ! $is_interrupted || finish
}

# Runs a command without which the summary is still useful.
measure() {
    "$@" || status=1
    ! $is_interrupted || finish
}

check_tool cargo "install Rust from https://rustup.rs"
check_tool cc "install a C compiler (on Debian: apt-get install build-essential)"
warn_if_busy

if [[ "$effort" == quick ]]; then
    echo "Step 1 of 4: compile and run a small program. Compiling takes about 6 minutes on 2 cores."
    need cargo run --release -p inflight-examples --bin blocking_client
    echo "Step 2 of 4: compile the experiments. This takes about 10 minutes on 2 cores."
fi
need cargo build --release -p inflight-cli -p inflight-lab
[[ "$effort" == resume ]] || need cargo bench -p inflight-benches --no-run

case "$effort" in
resume)
    measure "$program" lab run --resume
    ;;
quick)
    echo "Step 3 of 4: run the experiments. This takes about 5 minutes."
    measure "$program" lab run --effort quick
    echo "Step 4 of 4: measure the stalled loop and the cost of a request with criterion. This takes about a minute."
    measure cargo bench --quiet -p inflight-benches --bench lab
    ;;
full)
    measure "$program" lab run --effort full
    export INFLIGHT_BENCH=full
    measure cargo bench --quiet -p inflight-benches --bench lab
    measure cargo bench --quiet -p inflight-benches --bench probe
    ;;
esac
finish
