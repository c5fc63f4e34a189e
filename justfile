set shell := ["bash", "-euo", "pipefail", "-c"]

runtimes := "rt-tokio,rt-smol,rt-async-std,rt-threads,rt-virtual"
clients := "client-hyper,client-surf,client-isahc,client-ureq,client-mock"

# Print the five recipes that a newcomer needs. `just --list` prints all.
default:
    @{{just_executable()}} --list --unsorted --list-heading $'Five recipes to begin with. `just --list` prints all.\n' \
        | grep -E '^[^ ]|^ +(bench|test|run|check|docs-serve) '

# The first step compiles for about 6 minutes on 2 cores and prints the cost of a blocking call. The
# second step compiles the experiments, which takes about 10 more minutes. The third step runs them
# with few rounds, so the intervals are wide. It leaves out measurements with 10,000 requests in
# flight or more than a thousand threads. In the fourth step, criterion measures the stalled loop and
# the CPU time of a request. After Ctrl-C, the recipe summarizes what is finished, and
# `just bench-resume` measures the rest.
#
# Measure a blocking call and every backend (about 25 minutes), and print what the measurements answer.
[no-exit-message]
bench:
    @bash benches/bench.sh quick

# Run every experiment with many rounds, and criterion on every contender (about 90 minutes).
[no-exit-message]
bench-full:
    @bash benches/bench.sh full

# Resume the last lab run of today, and print what the measurements answer.
[no-exit-message]
bench-resume:
    @bash benches/bench.sh resume

# The first run builds the dependencies too. Without a commit, the base is the merge base with the main branch.
#
# Compare the instructions per request with those of a commit, and fail above 2 % (needs valgrind).
[no-exit-message]
instructions *BASE:
    python3 .ci/instructions.py {{BASE}}

# The book shows the records in docs/records, one file for each machine. This recipe replaces a machine's file with the
# newest records in target/lab: `just bench-keep amd-epyc-2-cores`.
#
# Keep the newest records of this machine for the book.
bench-keep MACHINE:
    cp "$(ls -t target/lab/*.csv | head -n 1)" docs/records/{{MACHINE}}.csv

# Write the report on docs/records: lab-report.html, and the charts and tables of docs/src/figures.md.
lab-report:
    cargo build --release -p inflight-cli
    "${CARGO_TARGET_DIR:-target}/release/inflight" lab report --out lab-report.html --markdown docs/src/figures.md \
        --figures docs/output $(printf -- '--records %s ' docs/records/*.csv)
    python3 docs/check_report.py lab-report.html docs/records/*.csv

# Write a machine's records from docs/records into the book: the tables by cell, and the page of all figures.
bench-figures MACHINE:
    cargo build --release -p inflight-cli
    "${CARGO_TARGET_DIR:-target}/release/inflight" lab summary \
        --records docs/records/{{MACHINE}}.csv --markdown docs/src/figures.md --markdown docs/src/figures-all.md

# Prepare the optional contenders of the lab (aiohttp, requests, net/http, aioduct, trillium-client, curl, wrk) and list the available ones.
peers:
    bash crates/lab/peers/setup.sh

# Install nats-server for the tests of `inflight queue`, unless it is on the PATH, and old versions of it.
nats:
    @bash .ci/nats.sh

# Run every test: unit tests, property tests, the conformance suite on every backend, doc tests.
test:
    # Tests mostly wait for events, so more tests than cores can run at once.
    RUST_TEST_THREADS=4 cargo test --workspace --features inflight-net/hickory
    # The program that compares the four backends needs all of them.
    cargo test -p inflight-examples --features all-backends --test run four_runtimes
    cargo test -p inflight-core --all-features --test bridges
    cargo test --release -p inflight-probe --features stacks,tokio-hooks

# Options are passed to the script, such as `--quick`, `--cell smol/hyper` or `--server nginx-http2`. A server whose
# package is missing is skipped.
#
# Run the clients against nginx, Apache, haproxy and squid, and check that no request is lost.
servers *OPTIONS:
    cargo build --release -p inflight-conformance
    python3 crates/conformance/servers/servers.py "${CARGO_TARGET_DIR:-target}/release/inflight-conformance" {{OPTIONS}}

# Options are passed to the program, such as `--cell smol/hyper`. With `--against http://127.0.0.1:8080`,
# the suite runs against another server like httpbin.
#
# Run the conformance suite and print a table of cases and backends (`--cell smol/hyper`, `--against URL`).
conformance *OPTIONS:
    cargo run --quiet -p inflight-conformance -- {{OPTIONS}}

# Write the page of the book on malformed and hostile responses, from the cases that check them.
verdicts:
    cargo run --quiet -p inflight-conformance -- --verdicts {{justfile_directory()}}/docs/src/verdicts.md

# Send 10 x 10,000 requests on each backend, one in ten with a fault, and check that none is lost and nothing leaks.
stress *OPTIONS:
    cargo run --quiet --release -p inflight-conformance -- --stress 10000 {{OPTIONS}}

# The test takes some minutes for each backend: `just soak smol/isahc` tests only one of them.
#
# Send a million requests on each backend, one in ten with a fault, and check that no resource grows.
soak CELL="all" REQUESTS="1000000":
    cargo run --quiet --release -p inflight-conformance -- --stress $(({{REQUESTS}} / 10)) \
        {{ if CELL == "all" { "" } else { "--cell " + CELL } }}

# Gather a list of a million URLs with `inflight gather`, kill it ten times, and check the journal and the resources.
soak-killed CELL="tokio" REQUESTS="1000000":
    cargo build --release -p inflight-cli
    cargo run --quiet --release -p inflight-conformance -- --stress $(({{REQUESTS}} / 10)) --cell {{CELL}} \
        --killed "${CARGO_TARGET_DIR:-target}/release/inflight"

# Fetch a list with three workers of `inflight queue`, and kill workers and nats-server at random moments (needs `just nats`).
queue-killed URLS="50000" KILLS="10" SERVER_KILLS="2":
    QUEUE_URLS={{URLS}} QUEUE_KILLS={{KILLS}} QUEUE_SERVER_KILLS={{SERVER_KILLS}} \
        cargo test --release -p inflight-cli --test program -- --nocapture --test-threads 1 workers_and_the_server

# Measure a queue with many URLs: the commands, nats-server, and `gather` with the same list (needs `just nats`).
queue-measure URLS="1000000":
    @cargo build --quiet --release -p inflight-cli
    @python3 benches/queue.py {{URLS}}

# Run the tests of queues with the oldest nats-server that they support (needs `just nats`).
queue-oldest:
    NATS_REQUIRED=1 NATS_SERVER="$(realpath "${CARGO_TARGET_DIR:-target}/nats-oldest/bin/nats-server")" \
        cargo test -p inflight-queue --test queue -- --include-ignored

# Run both soak tests with few requests, as CI does (about a minute, without the compilation).
soak-small:
    @{{just_executable()}} soak all 20000
    @{{just_executable()}} soak-killed tokio 20000

# The programs measure times, so they are compiled with optimizations.
#
# Run an example on a backend: `just run hundred_pages smol`.
run EXAMPLE BACKEND="tokio":
    cargo run --quiet --release -p inflight-examples --no-default-features --features {{BACKEND}} --bin {{EXAMPLE}}

# Simulate gathers under faults in virtual time: `just simulate --seeds 10000`, or `just simulate --seed 17` to replay.
simulate *OPTIONS:
    cargo run --quiet --release -p inflight-simulation -- {{OPTIONS}}

# Plant ten bugs, one after another, and print how many seeds of the simulation find each of them.
simulate-bugs SEEDS="1000":
    RUSTFLAGS="--cfg inflight_bugs" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/bugs" \
        cargo run --quiet --release -p inflight-simulation -- --bugs {{SEEDS}}

# The seeds are in fuzz/seeds. New inputs go to fuzz/corpus, and inputs that fail go to fuzz/artifacts. Without a nightly
# compiler, the recipe prints a message and does nothing. cargo-fuzz is not necessary. As many targets run at once as
# there are cores, so all of them take six hours on two cores.
#
# Fuzz each target, or one of them, for an hour: `just fuzz`, `just fuzz chunked_bodies`, `just fuzz all 600`.
[no-exit-message]
fuzz TARGET="all" SECONDS="3600":
    @python3 .ci/fuzz.py --seconds {{SECONDS}} {{ if TARGET == "all" { "" } else { TARGET } }}

# Fuzz each target for 10 seconds, as CI does (a minute on two cores, without the compilation).
[no-exit-message]
fuzz-small:
    @python3 .ci/fuzz.py --seconds 10

# `LOOM_MAX_PREEMPTIONS=4 just loom` explores more orders. A filter selects models: `just loom in_flight`.
#
# Run models of tasks, permits, lookups and the pool in all orders of their threads (10 s, and 6 minutes to compile).
loom FILTER="":
    #!/usr/bin/env bash
    set -euo pipefail
    export RUSTFLAGS="--cfg inflight_loom" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/loom"
    mkdir -p "$CARGO_TARGET_DIR"
    for crate in core net; do
        cargo test --quiet --release -p inflight-$crate --lib models::{{FILTER}} -- --nocapture
    done | tee "$CARGO_TARGET_DIR/models"
    grep -q "model: " "$CARGO_TARGET_DIR/models" || { echo "no model has this name" >&2; exit 1; }

# Run tests of the core in Miri, which finds undefined behaviour and data races (2 minutes, and 3 to compile).
miri:
    @if ! cargo +nightly miri --version > /dev/null 2>&1; then \
        echo "miri: skipped, because this command is missing: cargo +nightly miri"; \
    else \
        MIRIFLAGS="-Zmiri-disable-isolation" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/miri" \
            cargo +nightly miri test -p inflight-core --test task --test offload; \
    fi

# Run an example and draw what happened, as an SVG file: `just picture waterfall > waterfall.svg`.
picture EXAMPLE BACKEND="tokio":
    @INFLIGHT_PICTURE=${INFLIGHT_PICTURE:-svg} {{just_executable()}} run {{EXAMPLE}} {{BACKEND}}

# docs/outputs.toml lists the commands. Without a name, the recipe runs all of them, which takes about half an hour.
#
# Run the commands of the book again, and record their outputs and pictures: `just figures waterfall.html`.
figures *NAMES:
    python3 docs/figures.py {{NAMES}}

# Check your solution of an exercise, such as exercises/ch05/start.rs: `just check ch05`.
[no-exit-message]
check CHAPTER:
    @cargo build -p inflight-exercises --bin {{CHAPTER}}
    @"${CARGO_TARGET_DIR:-target}/debug/{{CHAPTER}}"

# Print the solution of an exercise: `just solution ch05`.
solution CHAPTER:
    @cat exercises/{{CHAPTER}}/solution.rs

# Verify that each exercise fails for the expected reason, and that its solution passes.
exercises:
    cargo build -p inflight-exercises
    @for folder in exercises/ch*; do \
        chapter=$(basename "$folder"); \
        echo -n "$chapter: "; \
        "${CARGO_TARGET_DIR:-target}/debug/$chapter" --verify; \
    done

# Check formatting, lints, the API docs, the dependencies between crates, import cycles, names, examples, and the Rust version.
lint:
    cargo fmt --all --check
    cargo fmt --manifest-path crates/lab/peers/rust/Cargo.toml --check
    cargo fmt --manifest-path fuzz/Cargo.toml --check
    cargo clippy --workspace --all-targets --all-features -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --all-features --quiet
    python3 .ci/layers.py
    python3 .ci/cycles.py
    python3 .ci/names.py
    python3 .ci/examples.py
    python3 .ci/rust_version.py

# The features of runtimes and clients are those that code of the facade combines.
#
# Check the facade with no feature, each feature alone, each pair of runtimes and clients, and all features (needs cargo-hack).
features:
    cargo hack clippy -p inflight --each-feature --quiet -- -D warnings
    cargo hack clippy -p inflight --feature-powerset --depth 2 --quiet \
        --include-features {{runtimes}},{{clients}} -- -D warnings

# Check the facade with each pair of features (172 combinations).
feature-pairs:
    # A named backend is a pair of features.
    cargo hack clippy -p inflight --feature-powerset --depth 2 --exclude-features tokio,smol,async-std,ureq --quiet \
        -- -D warnings

# Build and run the program of the tutorial's first chapter, in a crate of its own.
first-page:
    python3 docs/first_page/run.py --check

# Run one unchanged program with each of the four named backends.
swap:
    @for backend in tokio smol async-std ureq; do \
        echo "backend $backend"; \
        cargo run --quiet -p inflight-examples --no-default-features --features $backend --bin hundred_pages || exit 1; \
    done

# Print what the compiler reports about a program of the tutorial's second chapter: `just error e0728`.
[no-exit-message]
error NAME:
    @python3 docs/errors/run.py {{NAME}}

# Check that each of these programs has its error, and that its fixed version compiles.
errors:
    python3 docs/errors/run.py --check

# Run the tests and an example with only one backend enabled, as a user builds them.
alone:
    for backend in smol async-std ureq; do \
        cargo test --quiet -p inflight -p inflight-examples --no-default-features \
            --features inflight/$backend,inflight-examples/$backend || exit 1; \
    done
    cargo test --quiet -p inflight-cli --no-default-features --features tokio --test program backends

# With `--verify`, cargo also compiles each package alone, which takes about 10 minutes.
#
# Check that the crates can be published, and run the README's program with the packages on the four named backends.
packaged *OPTIONS:
    python3 .ci/packaged.py {{OPTIONS}}

# Options are passed to the script, such as `--base REV` or `--package inflight-core`.
#
# Check with cargo-semver-checks that the public API has no breaking change since the merge base.
semver *OPTIONS:
    python3 .ci/semver.py {{OPTIONS}}

# On Windows, the recipe tests these crates. Elsewhere, it only compiles them, and needs the target
# x86_64-pc-windows-gnu and mingw's gcc.
#
# Check the library and the program with the backend `tokio` for Windows.
windows:
    @if [[ {{os()}} == windows ]]; then \
        cargo test -p inflight-core -p inflight-net -p inflight-tokio -p inflight-hyper; \
        cargo test -p inflight --features tokio; \
        cargo build -p inflight-cli --no-default-features --features tokio; \
    elif rustup target list --installed | grep -q x86_64-pc-windows-gnu && type x86_64-w64-mingw32-gcc; then \
        cargo check --target x86_64-pc-windows-gnu -p inflight --features tokio; \
        cargo check --target x86_64-pc-windows-gnu -p inflight-cli --no-default-features --features tokio; \
    else \
        echo "windows: skipped, because the target x86_64-pc-windows-gnu or mingw's gcc is missing"; \
    fi

# Check licences, sources and bans of the dependencies (needs cargo-deny).
deny:
    cargo deny --all-features check licenses bans sources

# Build the book into docs/book, and check its includes and links (needs mdbook).
docs:
    mdbook build docs
    python3 docs/check.py

# The links to the API docs work only in the published book, which `just site` builds.
#
# Build the book and open it at http://127.0.0.1:3000 (needs mdbook). The book is built again when a page changes.
docs-serve:
    mdbook serve docs --open

# Build the book and the API docs of all crates into target/site, as they are published.
site:
    cargo doc --workspace --no-deps --all-features --quiet
    just docs
    mkdir -p target
    rm -rf target/site
    cp -r docs/book target/site
    cp -r "${CARGO_TARGET_DIR:-target}/doc" target/site/api

# Options are passed to the script, such as `tutorial/ch01.html` or `--screenshots shots`. Without Chromium, the script
# checks nothing.
#
# Visit every page of the built book in Chromium: check text, contrast, keyboard and search, on a desktop and a phone.
appearance *OPTIONS: docs
    python3 docs/simulator_check.py
    python3 docs/appearance.py {{OPTIONS}}

# Run everything that CI runs on each change.
ci: lint features test exercises alone swap first-page errors docs appearance deny (simulate-bugs "1000")

# Run the checks of CI that find rarer errors.
ci-deep: packaged semver feature-pairs instructions windows soak-small queue-oldest queue-killed fuzz-small loom miri
