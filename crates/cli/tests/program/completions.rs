//! Tests of `inflight completions`.

use std::process::Command;

use crate::program::run;

fn script(shell: &str) -> String {
    let ran = run(["completions", shell]);
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{shell}: {ran:?}");
    ran.stdout
}

#[test]
fn each_shell_gets_a_script_with_every_command_and_its_options() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = script(shell);
        for text in [
            "gather",
            "backends",
            "completions",
            "per-host",
            "remote-name",
        ] {
            assert!(script.contains(text), "{shell} lacks {text}");
        }
    }
}

/// Returns the completions of the last of these words in bash.
#[cfg(unix)]
fn complete_in_bash(words: &[&str]) -> Vec<String> {
    let [.., previous, current] = words else {
        panic!("at least two words")
    };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("inflight.bash");
    std::fs::write(&file, script("bash")).unwrap();
    let code = format!(
        r#"source "$1"; COMP_WORDS=({}); COMP_CWORD={}; _inflight inflight "$2" "$3"; printf '%s\n' "${{COMPREPLY[@]}}""#,
        words.join(" "),
        words.len() - 1,
    );
    let output = Command::new("bash")
        .args(["--norc", "-c", &code, "bash"])
        .arg(&file)
        .args([current, previous])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    stdout.lines().map(str::to_owned).collect()
}

#[cfg(unix)]
#[test]
fn bash_completes_commands_options_and_values() {
    assert_eq!(complete_in_bash(&["inflight", "ga"]), ["gather"]);
    assert_eq!(
        complete_in_bash(&["inflight", "gather", "--per-h"]),
        ["--per-host"]
    );
    assert_eq!(
        complete_in_bash(&["inflight", "backends", "--format", "j"]),
        ["jsonl"]
    );
}
