//! Tests of the script of `just bench`. Scripts with the names `cargo` and `inflight` take the place of the programs, so
//! nothing is compiled or measured.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use rustix::process::{Pid, Signal, kill_process_group};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bench.sh");

/// Shell commands that create a file and then end in an orderly way when they are interrupted, as the real programs do.
///
/// They consist of short waits, because a shell that starts a program can lose an interrupt: the copy of the shell
/// receives it, and then the program takes its place. The shell itself notices the interrupt after the wait.
fn until_interrupted(created: &Path) -> String {
    let created = created.display();
    format!("trap 'exit 130' INT\n>{created}\nfor ((i = 0; i < 6000; i++)); do sleep 0.01; done")
}

/// A folder of programs that takes the place of the workspace: the script finds itself and the target folder in it.
struct Programs {
    folder: tempfile::TempDir,
}

impl Programs {
    /// Creates programs that print their names and arguments and succeed.
    fn new() -> Self {
        let programs = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        for name in [
            "bash", "dirname", "getconf", "mkdir", "mktemp", "rm", "sleep",
        ] {
            let found = std::env::split_paths(&std::env::var_os("PATH").unwrap())
                .map(|folder| folder.join(name))
                .find(|path| path.exists())
                .unwrap();
            symlink(found, programs.folder.path().join(name)).unwrap();
        }
        fs::create_dir(programs.path("benches")).unwrap();
        symlink(SCRIPT, programs.path("benches/bench.sh")).unwrap();
        programs.write("cargo", "echo cargo $*");
        programs.write("cc", "");
        programs.write_inflight("");
        programs
    }

    fn path(&self, name: &str) -> PathBuf {
        match name {
            "inflight" => self.folder.path().join("target/release/inflight"),
            name => self.folder.path().join(name),
        }
    }

    /// Writes a program as a shell script.
    fn write(&self, name: &str, commands: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(
            &path,
            format!("#!{}\n{commands}\n", self.path("bash").display()),
        )
        .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Writes a program `inflight` whose `lab run` records a measurement and then executes the commands.
    fn write_inflight(&self, commands: &str) {
        self.write(
            "inflight",
            &format!(
                "echo inflight $*\n[[ $2 == run ]] || exit 0\nmkdir -p target/lab\n>target/lab/records.csv\n{commands}"
            ),
        );
    }

    fn command(&self, effort: &str) -> Command {
        let mut command = Command::new(self.path("bash"));
        command
            .arg(self.path("benches/bench.sh"))
            .arg(effort)
            .env("PATH", self.folder.path())
            .env_remove("CARGO_TARGET_DIR")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, effort: &str) -> (Option<i32>, String) {
        output(&self.command(effort).output().unwrap())
    }

    /// Runs the script in its own process group, and interrupts the group when a program has created the file.
    fn interrupt(&self, effort: &str, file: &Path) -> (Option<i32>, String) {
        let child = self.command(effort).process_group(0).spawn().unwrap();
        let group = Pid::from_child(&child);
        while !file.exists() {
            std::thread::yield_now();
        }
        kill_process_group(group, Signal::INT).unwrap();
        output(&child.wait_with_output().unwrap())
    }
}

fn output(output: &Output) -> (Option<i32>, String) {
    let [stdout, stderr] =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    (output.status.code(), format!("{stdout}{stderr}"))
}

#[test]
fn the_summary_comes_last() {
    let (code, text) = Programs::new().run("quick");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("inflight lab run --effort quick\n"), "{text}");
    assert!(
        text.trim_end().ends_with("inflight lab summary --last-run"),
        "{text}"
    );
}

#[test]
fn after_an_interrupt_of_the_experiments_the_rest_is_skipped_and_the_summary_printed() {
    let programs = Programs::new();
    let file = programs.folder.path().join("begun");
    programs.write_inflight(&until_interrupted(&file));
    let (code, text) = programs.interrupt("quick", &file);
    assert_eq!(code, Some(130), "{text}");
    assert!(!text.contains("--bench lab"), "{text}");
    assert!(
        text.trim_end().ends_with("inflight lab summary --last-run"),
        "{text}"
    );
}

#[test]
fn after_an_interrupt_of_criterion_the_summary_is_printed() {
    let programs = Programs::new();
    let file = programs.folder.path().join("begun");
    programs.write(
        "cargo",
        &format!(
            "echo cargo $*\n[[ $* == *--quiet* ]] || exit 0\n{}",
            until_interrupted(&file)
        ),
    );
    let (code, text) = programs.interrupt("quick", &file);
    assert_eq!(code, Some(130), "{text}");
    assert!(
        text.trim_end().ends_with("inflight lab summary --last-run"),
        "{text}"
    );
}

#[test]
fn after_an_interrupt_of_the_compiler_there_is_nothing_to_summarize() {
    let programs = Programs::new();
    let file = programs.folder.path().join("begun");
    programs.write("cargo", &until_interrupted(&file));
    let (code, text) = programs.interrupt("quick", &file);
    assert_eq!(code, Some(130), "{text}");
    assert!(!text.contains("summary"), "{text}");
    assert!(
        text.contains("Interrupted before the first measurement."),
        "{text}"
    );
}

#[test]
fn a_failed_experiment_does_not_prevent_the_summary() {
    let programs = Programs::new();
    programs.write_inflight("exit 1");
    let (code, text) = programs.run("quick");
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("--bench lab") && text.contains("lab summary"),
        "{text}"
    );
}

#[test]
fn without_a_measurement_of_this_run_an_older_one_is_not_summarized() {
    let programs = Programs::new();
    let older = programs.path("target/lab/older.csv");
    fs::create_dir_all(older.parent().unwrap()).unwrap();
    let hour = Duration::from_secs(3600);
    fs::File::create(older)
        .and_then(|file| file.set_modified(SystemTime::now() - hour))
        .unwrap();
    programs.write("inflight", "exit 1");
    let (code, text) = programs.run("quick");
    assert_eq!(code, Some(1), "{text}");
    assert!(!text.contains("summary"), "{text}");
}

#[test]
fn each_missing_tool_is_named_alone() {
    for tool in ["cargo", "cc"] {
        let programs = Programs::new();
        fs::remove_file(programs.path(tool)).unwrap();
        let (code, text) = programs.run("quick");
        assert_eq!(code, Some(1), "{text}");
        assert!(
            text.contains(&format!("{tool} is not on the PATH")),
            "{text}"
        );
        assert_eq!(text.matches("not on the PATH").count(), 1, "{text}");
        assert!(!text.contains("Step"), "{text}");
    }
}
