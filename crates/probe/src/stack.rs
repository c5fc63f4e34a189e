//! The stack of a stuck thread.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// The call stack of a stuck thread, the innermost frame first, up to the outermost probed poll. The
/// frames of the runtime around that poll are left out. The stack of a [`LoopThread`](crate::LoopThread)
/// also has some frames of the runtime.
///
/// An inlined function has its own frame.
///
/// ```
/// use inflight_probe::Event;
///
/// /// Prints the line in which a future is stuck.
/// fn print(event: &Event) {
///     if let Event::Stalled(stall) = event
///         && let Some(frame) = stall.culprit()
///     {
///         println!("{} is stuck in {frame}", stall.label);
///     }
/// }
/// # print(&Event::EventsLost(1));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    pub(crate) frames: Vec<Frame>,
}

/// A frame of a [`Stack`].
///
/// For an example, see [`Stack`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frame {
    /// The function's name. `None` without symbols.
    pub function: Option<String>,
    /// The source file, as passed to the compiler. `None` without line tables.
    pub file: Option<PathBuf>,
    /// The line in the source file.
    pub line: Option<u32>,
}

impl Stack {
    /// Returns all frames, the innermost first.
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// Returns the innermost frame of the program's own code (see [`Frame::is_own`]). `None` if there
    /// is none, for example without line tables.
    pub fn culprit(&self) -> Option<&Frame> {
        self.frames.iter().find(|frame| frame.is_own())
    }

    /// Returns whether the thread is in `tokio::task::block_in_place`, which has moved the thread's
    /// other tasks to another thread.
    pub(crate) fn is_in_block_in_place(&self) -> bool {
        self.frames.iter().any(Frame::is_block_in_place)
    }

    pub(crate) fn to_json(&self) -> Value {
        self.frames.iter().map(Frame::to_json).collect()
    }
}

/// Writes one line for each frame.
impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.frames.iter().map(Frame::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl Frame {
    /// Returns whether this is the program's own code, judged by its file: a Rust file that belongs
    /// neither to the standard library (`/rustc/`, the toolchain's `library`), nor to a package that
    /// cargo has fetched (`registry/src`, `git/checkouts`), nor to this crate. Vendored packages count
    /// as the program's own code.
    pub fn is_own(&self) -> bool {
        let Some(file) = self.file.as_deref().and_then(Path::to_str) else {
            return false;
        };
        let fetched = ["/registry/src/", "/git/checkouts/", "/rustlib/src/rust/"];
        file.ends_with(".rs")
            && self.line.is_some()
            && !file.starts_with("/rustc/")
            && !file.starts_with("library/")
            && !fetched.iter().any(|part| file.contains(part))
            && !file.starts_with(concat!(env!("CARGO_MANIFEST_DIR"), "/src/"))
    }

    fn is_block_in_place(&self) -> bool {
        // The name of an inlined function has no path.
        let name = self.function.as_deref().unwrap_or_default();
        let path = name.split('<').next().unwrap_or_default();
        let path = path.trim_end_matches("::");
        let in_tokio = |file: &PathBuf| {
            let mut folders = file.components();
            folders.any(|folder| folder.as_os_str().to_string_lossy().starts_with("tokio"))
        };
        path.rsplit("::").next() == Some("block_in_place")
            && (path.starts_with("tokio::") || self.file.as_ref().is_some_and(in_tokio))
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "function": self.function,
            "file": self.file.as_ref().map(|file| file.to_string_lossy()),
            "line": self.line,
        })
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.function.as_deref().unwrap_or("?"))?;
        if let Some(file) = &self.file {
            write!(f, " ({}", file.display())?;
            if let Some(line) = self.line {
                write!(f, ":{line}")?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(function: &str, file: &str) -> Frame {
        Frame {
            function: Some(function.to_owned()),
            file: Some(file.into()),
            line: Some(7),
        }
    }

    #[test]
    fn the_culprit_is_the_innermost_frame_of_own_code() {
        let stack = Stack {
            frames: vec![
                Frame {
                    function: Some("recv".to_owned()),
                    file: None,
                    line: None,
                },
                frame("recv", "./socket/recv.c"),
                frame(
                    "std::thread::sleep",
                    "/rustc/4a4e/library/std/src/thread.rs",
                ),
                frame(
                    "core::ops::FnOnce::call_once",
                    "/home/me/.rustup/toolchains/stable/lib/rustlib/src/rust/library/core/src/ops.rs",
                ),
                frame(
                    "ureq::run",
                    "/home/me/.cargo/registry/src/index.crates.io-1949/ureq-3.5.2/src/run.rs",
                ),
                frame(
                    "lib::run",
                    "/home/me/.cargo/git/checkouts/lib-1f/2e/src/lib.rs",
                ),
                frame(
                    "poll",
                    concat!(env!("CARGO_MANIFEST_DIR"), "/src/probed.rs"),
                ),
                frame("mine::fetch", "/home/me/mine/src/fetch.rs"),
                frame("mine::main", "/home/me/mine/src/main.rs"),
            ],
        };
        let culprit = stack.culprit().unwrap();
        assert_eq!(
            culprit.to_string(),
            "mine::fetch (/home/me/mine/src/fetch.rs:7)"
        );
        let line = stack.to_string();
        assert_eq!(line.lines().count(), stack.frames().len());
        assert!(
            line.starts_with("recv\nrecv (./socket/recv.c:7)\n"),
            "{line}"
        );
    }

    #[test]
    fn only_tokios_block_in_place_is_recognised() {
        let tokio = "/home/me/.cargo/registry/src/index-1949/tokio-1.54.1/src/task/blocking.rs";
        let mine = "/home/me/mine/src/main.rs";
        let found = |function, file| frame(function, file).is_block_in_place();
        assert!(found(
            "block_in_place<mine::main::{closure_env#0}, ()>",
            tokio
        ));
        assert!(found("tokio::task::blocking::block_in_place", mine));
        assert!(found(
            "tokio::task::blocking::block_in_place::<F, ()>",
            mine
        ));
        assert!(!found("block_in_place<(), ()>", mine));
        assert!(!found("maybe_move_runtime", tokio));
        assert!(!found("run<tokio::task::blocking::block_in_place>", tokio));
    }

    #[test]
    fn a_stack_with_no_own_code_has_no_culprit() {
        let stack = Stack {
            frames: vec![frame("recv", "./socket/recv.c")],
        };
        assert_eq!(stack.culprit(), None);
    }
}
