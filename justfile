set shell := ["bash", "-euo", "pipefail", "-c"]

# Show the recipes.
default:
    @just --list --unsorted

# The first step compiles for about 6 minutes on 2 cores and prints what a blocking call costs. The
# second step compiles the experiments, which takes about 10 more minutes. The third step runs them.
# It leaves out narrow intervals (a few rounds each), the largest points (10,000 in flight), threads
# beyond a thousand, and all of criterion but a few contenders.
#
# Measure a blocking call, then run every experiment briefly and print the figures as tables.
bench:
    @echo "Step 1 of 3: compile and run a small program. Compiling takes about 6 minutes on 2 cores."
    cargo run --release -p inflight-examples --bin blocking_client
    @echo "Step 2 of 3: compile the experiments. This takes about 10 minutes on 2 cores."
    cargo build --release -p inflight-cli -p inflight-lab
    cargo bench -p inflight-benches --no-run
    @echo "Step 3 of 3: run the experiments. This takes about 5 minutes."
    "${CARGO_TARGET_DIR:-target}/release/inflight" lab run --effort quick
    cargo bench --quiet -p inflight-benches --bench lab
    @echo
    cargo bench --quiet -p inflight-benches --bench summary

# Ctrl-C keeps what is finished, and `just bench-resume` does the rest.
#
# Run every experiment with narrow intervals, and criterion on every contender: an hour and a half.
bench-full:
    cargo build --release -p inflight-cli -p inflight-lab
    cargo bench -p inflight-benches --no-run
    "${CARGO_TARGET_DIR:-target}/release/inflight" lab run --effort full
    INFLIGHT_BENCH=full cargo bench --quiet -p inflight-benches --bench lab
    cargo bench --quiet -p inflight-benches --bench probe
    @echo
    cargo bench --quiet -p inflight-benches --bench summary

# Do what is left of the lab's run that was begun last today.
bench-resume:
    cargo build --release -p inflight-cli -p inflight-lab
    "${CARGO_TARGET_DIR:-target}/release/inflight" lab run --resume

# Report the lab's records: lab-report.html with charts, and the tables of the book's page of figures.
lab-report:
    cargo build --release -p inflight-cli
    "${CARGO_TARGET_DIR:-target}/release/inflight" lab report --out lab-report.html --markdown docs/src/figures.md
    python3 docs/check_report.py lab-report.html docs/records/*.csv

# Write the newest records into the book: the tables per cell, and the page of all figures.
bench-figures:
    cargo bench -p inflight-benches --bench summary -- \
        --markdown {{justfile_directory()}}/docs/src/figures.md \
        --markdown {{justfile_directory()}}/docs/src/figures-all.md

# Get the lab's contenders in Python and Go ready, and say which are there: aiohttp, requests, net/http, curl, wrk.
peers:
    bash crates/lab/peers/setup.sh

# Run every test: units, properties, the conformance suite on every cell, doc tests.
test:
    # Most of them wait for events most of the time: more at once than there are cores.
    RUST_TEST_THREADS=4 cargo test --workspace --features inflight-net/hickory
    cargo test -p inflight-core --all-features --test bridges
    cargo test --release -p inflight-probe --features stacks

# Options go to the script, such as `--quick`, `--cell smol/hyper` or `--server nginx-http2`. A server whose package is
# missing is skipped.
#
# Run the clients against nginx, Apache, haproxy and squid, and check that no request is lost.
servers *OPTIONS:
    cargo build --release -p inflight-conformance
    python3 crates/conformance/servers/servers.py "${CARGO_TARGET_DIR:-target}/release/inflight-conformance" {{OPTIONS}}

# Options go to the program, such as `--cell smol/hyper` or `--against http://127.0.0.1:8080`, a
# server like httpbin.
#
# Show the contract as a table: case by cell (`--cell smol/hyper`, `--against URL`).
conformance *OPTIONS:
    cargo run --quiet -p inflight-conformance -- {{OPTIONS}}

# Write the book's page on what a server may send, from the cases that check it.
verdicts:
    cargo run --quiet -p inflight-conformance -- --verdicts {{justfile_directory()}}/docs/src/verdicts.md

# Put each cell under 10 x 10,000 requests, one in ten with a fault: each is answered once, nothing grows.
stress *OPTIONS:
    cargo run --quiet --release -p inflight-conformance -- --stress 10000 {{OPTIONS}}

# Run an example on a backend: `just run hundred_pages smol`.
run EXAMPLE BACKEND="tokio":
    cargo run --quiet -p inflight-examples --no-default-features --features {{BACKEND}} --bin {{EXAMPLE}}

# Format, lint with warnings denied, check the docs of the API, who knows whom, and the Rust version.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --all-features -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --all-features --quiet
    python3 .ci/layers.py
    python3 .ci/rust_version.py

# Check the facade with no feature, each alone, each pair and all (needs cargo-hack).
features:
    cargo hack clippy -p inflight --feature-powerset --depth 2 --quiet -- -D warnings

# Run the tests and the examples as those build them who take one backend alone.
alone:
    for backend in smol async-std ureq; do \
        cargo test --quiet -p inflight -p inflight-examples --no-default-features \
            --features inflight/$backend,inflight-examples/$backend; \
        just run get $backend; \
    done
    cargo test --quiet -p inflight-cli --no-default-features --features tokio --test program backends

# Check licences, sources and bans of the dependencies (needs cargo-deny; its advisories need the network).
deny:
    cargo deny --all-features check licenses bans sources

# Build the book into docs/book and check it: raw includes, empty includes, dead links (needs mdbook).
docs:
    mdbook build docs
    python3 docs/check.py

# All that CI runs.
ci: lint features test alone docs deny
