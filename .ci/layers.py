#!/usr/bin/env python3
"""Checks that crates depend on each other as the diagram in ARCHITECTURE.md shows, and that tests prevent no publishing.

A dev-dependency on a crate of the workspace must have a path and no version. Cargo removes such a dependency from the
published manifest. With a version, `cargo publish` would need the dependency on crates.io first, and dev-dependencies
form cycles.
"""

import json
import subprocess
import sys

RUNTIMES = {f"inflight-{name}" for name in ("threads", "tokio", "async-std", "smol", "virtual")}
CLIENTS = {f"inflight-{name}" for name in ("ureq", "hyper", "surf", "isahc", "mock")}
CORE = {"inflight-core"}
NET = {"inflight-net"}

ALLOWED = {
    "inflight-core": set(),
    "inflight-origin": set(),
    **{name: CORE for name in RUNTIMES | NET},
    "inflight-probe": CORE,
    **{name: CORE | NET for name in CLIENTS},
    "inflight": CORE | RUNTIMES | NET | CLIENTS | {"inflight-probe"},
    "inflight-conformance": CORE | {"inflight", "inflight-origin"},
    "inflight-charts": set(),
    "inflight-simulation": CORE | {"inflight-hyper", "inflight-surf", "inflight-virtual"},
    "inflight-lab": {"inflight", "inflight-charts", "inflight-origin", "inflight-queue"},
    "inflight-queue": set(),
    "inflight-cli": {"inflight", "inflight-origin", "inflight-lab", "inflight-queue"},
    "inflight-instructions": CORE
    | {"inflight-hyper", "inflight-mock", "inflight-surf", "inflight-virtual"},
    "inflight-benches": {"inflight", "inflight-origin", "inflight-lab"},
    "inflight-examples": {"inflight", "inflight-charts", "inflight-origin"},
    "inflight-exercises": {"inflight"},
}


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def versioned_dev_dependencies(packages, members):
    return [
        f"{package['name']}: the dev-dependency on {dependency['name']} must have a path and no version"
        for package in packages
        for dependency in package["dependencies"]
        if dependency["kind"] == "dev" and dependency["name"] in members and dependency["req"] != "*"
    ]


def main():
    metadata = json.loads(run("cargo", "metadata", "--no-deps", "--format-version", "1"))
    members = {package["name"] for package in metadata["packages"]}
    faults = [f"{name}: not in the table of .ci/layers.py" for name in members - set(ALLOWED)]
    faults += versioned_dev_dependencies(metadata["packages"], members)
    for member in sorted(members & set(ALLOWED)):
        tree = run(
            "cargo", "tree", "-p", member, "--all-features", "--edges", "normal",
            "--depth", "1", "--prefix", "none", "--format", "{p}",
        )
        dependencies = {line.split()[0] for line in tree.splitlines() if line} - {member}
        for name in sorted((dependencies & members) - ALLOWED[member]):
            faults.append(f"{member} must not depend on {name}")
    for fault in faults:
        print(fault, file=sys.stderr)
    if faults:
        sys.exit(1)
    print(f"layers: all dependencies between the {len(members)} crates are allowed")


if __name__ == "__main__":
    main()
