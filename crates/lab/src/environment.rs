//! What a run ran on. Records are published: nothing here names a person, a host or a folder.

use std::fs;

use inflight::Cell;

use crate::peers;
use crate::record::Environment;
use crate::worker::measure::CallCounter;

mod built {
    #![allow(
        dead_code,
        unreachable_pub,
        reason = "written by a build script, which notes more than is used"
    )]
    include!(concat!(env!("OUT_DIR"), "/built.rs"));
}

/// The packages whose versions decide.
const PACKAGES: [&str; 14] = [
    "tokio",
    "smol",
    "async-executor",
    "async-io",
    "async-std",
    "blocking",
    "hyper",
    "hyper-util",
    "isahc",
    "curl-sys",
    "surf",
    "async-h1",
    "ureq",
    "reqwest",
];

/// What changes from minute to minute: it is recorded, and makes no other environment.
const VOLATILE: [&str; 2] = ["load average", "pinned"];

/// The machine and the programs, as they are now.
pub fn here() -> Environment {
    let mut environment = Environment::new();
    let mut note = |key: &str, value: Option<String>| {
        let value = value.unwrap_or_else(|| "unknown".to_owned());
        environment.insert(key.to_owned(), value.trim().to_owned());
    };
    note("cpu", Some(cpu_model()));
    note("cores", Some(cores().to_string()));
    note("memory", memory());
    note("system", Some(std::env::consts::OS.to_owned()));
    note("architecture", Some(std::env::consts::ARCH.to_owned()));
    note(
        "kernel",
        fs::read_to_string("/proc/sys/kernel/osrelease").ok(),
    );
    note("rustc", Some(built::RUSTC_VERSION.to_owned()));
    note("profile", Some(built::PROFILE.to_owned()));
    note("inflight", Some(built::PKG_VERSION.to_owned()));
    for (name, version) in built::DEPENDENCIES {
        if PACKAGES.contains(&name) {
            note(&format!("version of {name}"), Some(version.to_owned()));
        }
    }
    let cells: Vec<String> = Cell::compiled().map(|cell| cell.to_string()).collect();
    note("cells", Some(cells.join(" ")));
    // The experiments say it again where they differ.
    note(
        "worker threads",
        Some("1 on each runtime, 2 in blockers".to_owned()),
    );
    note(
        "origin",
        Some("one thread, a process of its own".to_owned()),
    );
    note(
        "open files",
        inflight_origin::raise_file_limit()
            .ok()
            .map(|limit| limit.to_string()),
    );
    let counter = CallCounter::find().map(|counter| counter.to_string());
    note("system calls counted by", counter);
    let load = fs::read_to_string("/proc/loadavg").ok();
    note(
        "load average",
        load.map(|text| text.split(' ').take(3).collect::<Vec<_>>().join(" ")),
    );
    environment.extend(peers::environment());
    environment
}

/// Whether figures of one may be added to those of the other.
pub fn same(one: &Environment, other: &Environment) -> bool {
    let lasting = |environment: &Environment| {
        let mut lasting = environment.clone();
        lasting.retain(|key, _| !VOLATILE.contains(&&**key));
        lasting
    };
    lasting(one) == lasting(other)
}

/// A name for the machine that tells nothing of whose it is: its processor and how many cores.
pub fn machine() -> String {
    slug(&cpu_model(), cores())
}

fn slug(cpu: &str, cores: usize) -> String {
    let mut words = Vec::new();
    for word in cpu
        .replace("(R)", " ")
        .replace("(TM)", " ")
        .to_lowercase()
        .split(|c: char| !c.is_ascii_alphanumeric())
    {
        if !matches!(word, "" | "processor" | "cpu" | "core") {
            words.push(word.to_owned());
        }
    }
    words.truncate(5);
    words.push(format!("{cores}-cores"));
    words.join("-")
}

/// How many cores this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn cpu_model() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    field("model name")
        .or_else(|| field("Hardware"))
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

fn memory() -> Option<String> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let kilobytes: u64 = info
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?
        .trim()
        .strip_suffix("kB")?
        .trim()
        .parse()
        .ok()?;
    Some(format!("{} MB", kilobytes / 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_named_by_its_processor() {
        assert_eq!(
            slug("Intel(R) Xeon(R) Processor @ 2.80GHz", 2),
            "intel-xeon-2-80ghz-2-cores"
        );
        assert_eq!(slug("aarch64", 8), "aarch64-8-cores");
    }

    #[test]
    fn the_load_makes_no_other_environment() {
        let one = here();
        let mut other = one.clone();
        other.insert("load average".into(), "9 9 9".into());
        assert!(same(&one, &other));
        other.insert("kernel".into(), "another".into());
        assert!(!same(&one, &other));
    }

    #[test]
    fn versions_are_known() {
        let environment = here();
        for name in ["tokio", "hyper", "smol", "isahc", "surf", "ureq", "reqwest"] {
            assert!(
                environment.contains_key(&format!("version of {name}")),
                "{name}"
            );
        }
        assert_ne!(environment["rustc"], "unknown");
    }
}
