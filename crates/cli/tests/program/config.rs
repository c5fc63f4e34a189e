//! Tests of the configuration file.

use std::fs;

use inflight_origin::Origin;
use serde_json::Value;

use crate::program::{ProgramOutput, finish, program, run};

/// Runs the program with a configuration file of this content.
fn run_with_config(content: &str, arguments: &[&str]) -> ProgramOutput {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    fs::write(&file, content).unwrap();
    let config = ["--config", file.to_str().unwrap()];
    run(arguments.iter().copied().chain(config))
}

#[test]
fn a_file_sets_the_defaults_of_options() {
    let origin = Origin::start().unwrap();
    let url = origin.url("/headers");
    let config = "user-agent = 'common/1'\nheader = ['X-A: 1', 'X-B: 2']\nlimit = 5\ntimeout = 2\n\
                  [get]\nuser-agent = 'own/1'\n[gather]\nsummary = 'none'\nfail-status = true\n";
    let ran = run_with_config(config, &["get", &url]);
    let echo: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(echo["headers"]["User-Agent"], "own/1");
    assert_eq!(
        (&echo["headers"]["X-A"], &echo["headers"]["X-B"]),
        (&"1".into(), &"2".into())
    );
    let ran = run_with_config(config, &["gather", &origin.url("/status/404")]);
    assert_eq!((ran.code, &*ran.stderr), (Some(1), ""));
}

#[test]
fn the_command_line_replaces_the_values_of_the_file() {
    let origin = Origin::start().unwrap();
    let url = origin.url("/headers");
    let config = "user-agent = 'file/1'\nheader = ['X-A: 1']\nno-proxy = true\nhttp2 = true\n";
    let arguments = [
        "get",
        "--user-agent",
        "own/1",
        "-H",
        "X-B: 2",
        "--http1.1",
        &url,
    ];
    let ran = run_with_config(config, &arguments);
    let echo: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(echo["headers"]["User-Agent"], "own/1");
    assert_eq!(
        (&echo["headers"]["X-A"], &echo["headers"]["X-B"]),
        (&Value::Null, &"2".into())
    );
    // An option on the command line also replaces one that excludes it.
    let ran = run_with_config(
        config,
        &["get", "--http1.1", "--proxy", "http://127.0.0.1:1/", &url],
    );
    assert_eq!(ran.code, Some(0), "NO_PROXY applies: {ran:?}");
}

#[test]
fn a_bad_file_is_a_usage_error_that_names_it() {
    for (content, expected) in [
        ("limits = 5", "limits is not an option of gather or get"),
        ("[get]\nlimit = 5", "limit is not an option of get"),
        ("output = 'x'", "output can be set only on the command line"),
        ("limit = 0", "at least 1"),
        ("insecure = 'yes'", "insecure: must be true or false"),
        ("limit = [1]", "limit: must be a string or a number"),
        ("get = 1", "get must be a table"),
        ("\nlimit = secret", "line 2 is not valid TOML"),
        ("header = 'Authorization secret'", "the value of --header"),
        ("'http1.1' = true\nhttp2 = true", "exclude each other"),
    ] {
        let ran = run_with_config(content, &["gather", "http://127.0.0.1:1/"]);
        assert_eq!(ran.code, Some(2), "{content}: {ran:?}");
        assert!(ran.stderr.contains(expected), "{content}: {ran:?}");
        assert!(ran.stderr.contains("config.toml"), "{content}: {ran:?}");
        assert!(!ran.stderr.contains("secret"), "{content}: {ran:?}");
    }
    let ran = run(["get", "--config", "missing.toml", "http://127.0.0.1:1/"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn the_file_in_the_directory_of_the_user_is_read() {
    let origin = Origin::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("inflight")).unwrap();
    let file = directory.path().join("inflight/config.toml");
    fs::write(&file, "user-agent = 'file/1'").unwrap();
    let mut command = program(["get", &origin.url("/headers")]);
    let ran = finish(
        command
            .env("XDG_CONFIG_HOME", directory.path())
            .spawn()
            .unwrap(),
    );
    assert!(ran.stdout.contains("file/1"), "{ran:?}");
}
