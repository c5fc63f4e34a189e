//! A recorder of the last polls and stalls, which it writes as a trace.

mod files;
mod perfetto;
mod ring;
mod stalls;

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use inflight_core::Error;
use serde_json::Value;

pub(crate) use ring::{RecordedPoll, is_recording, record};
pub(crate) use stalls::{RecordedStall, StallTrack};

use crate::report::{Event, StallNumber};
use crate::site::Site;
use crate::slot::{self, nanos};
use files::{StallFiles, StallFolder, io_error};
use perfetto::{ThreadTrack, Trace};
use ring::RingSet;
use stalls::RecordedStalls;

/// A recorder of the last polls of each thread and of the last stalls, which writes them as a trace. A trace
/// shows what all threads did before and during a stall. [ui.perfetto.dev](https://ui.perfetto.dev) opens it.
///
/// A recorder records the [probed](crate::FutureExt::probed) futures of the whole process, on every runtime.
/// If a [`Probe`](crate::Probe) has the recorder, the recorder also records the probe's stalls: see
/// [`ProbeBuilder::recorder`](crate::ProbeBuilder::recorder). The recording ends when all clones of the
/// recorder have been dropped.
///
/// ```
/// use inflight_probe::{FutureExt, Recorder};
///
/// let recorder = Recorder::start(1000);
/// futures_lite::future::block_on(async { 6 * 7 }.probed("answer"));
///
/// let mut trace = Vec::new();
/// recorder.write_to(&mut trace)?;
/// let trace: serde_json::Value = serde_json::from_slice(&trace)?;
/// let events = trace["traceEvents"].as_array().unwrap();
/// assert!(events.iter().any(|event| event["name"] == "answer" && event["ph"] == "X"));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Recorded polls
///
/// A poll is recorded when it ends. If a thread starts thousands of futures per second, it [times only some of
/// them](crate::FutureExt::probed). Of the other futures, the recorder records only polls of more than a few
/// milliseconds, and knows their start only with the precision of the system's coarse clock. A poll that panics
/// is not recorded.
///
/// Recording a poll takes no lock and allocates nothing, except for the first poll of a thread after a recorder
/// has started or ended. A recorder needs 32 bytes for each poll that it keeps. It keeps the polls of at most
/// 128 threads. A further thread replaces a thread that has ended, the one with the oldest polls first. If all
/// of these threads are still running, the further thread is not recorded, and the trace counts it in
/// `omitted_threads`.
///
/// # Format of the trace
///
/// The trace has Chrome's JSON format. It has one track for each thread. A poll is a complete event (`ph` is
/// `X`) in the category `poll`, with the label as its name. Its arguments are the location of the label and
/// `waited_us`, the time from the wake to the poll in microseconds. If the start is not exact, it has the
/// argument `approximate`. A poll that has not ended yet has the argument `unfinished`.
///
/// A stall is an event in the category `stall`, inside the stalled poll. Its name begins with `stall: `. Its
/// arguments are the fields of [`Event::to_json`](crate::Event::to_json), such as the duration and the blocking
/// line. The delays of a [heartbeat](crate::ProbeBuilder::heartbeat) and the [pauses of the
/// machine](crate::Event::MachinePaused) have tracks of their own. A recorder keeps the last 128 stalls, delays
/// and pauses, including those that the probe [folds](crate::ProbeBuilder::fold).
///
/// The times are microseconds on the clock of [`Instant`](std::time::Instant), so traces of one run have the
/// same time scale.
///
/// JSON is larger than Perfetto's own format, which is based on Protocol Buffers. But the probe can write it
/// without another dependency, and scripts, `jq` and the viewer of Chrome can read it too.
#[derive(Clone)]
pub struct Recorder {
    recording: Arc<Recording>,
    folder: Option<StallFolder>,
}

/// Ends the recording when it is dropped.
struct Recording {
    rings: Arc<RingSet>,
    stalls: RecordedStalls,
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.rings.unregister();
    }
}

impl Recorder {
    /// Starts to record. The recorder keeps the last `capacity` polls of each thread.
    ///
    /// # Panics
    ///
    /// Panics if `capacity` is 0.
    #[must_use = "the recording ends when the recorder is dropped"]
    #[track_caller]
    pub fn start(capacity: usize) -> Self {
        assert!(capacity > 0, "the capacity of a recorder must not be 0");
        Self {
            recording: Arc::new(Recording {
                rings: RingSet::register(capacity),
                stalls: RecordedStalls::default(),
            }),
            folder: None,
        }
    }

    /// Lets a [probe](crate::ProbeBuilder::recorder) write a trace into this folder whenever it reports a stall
    /// or a delay of a heartbeat. When the stall is over, the probe writes the file again, so that the trace
    /// also shows the end of the stall.
    ///
    /// The folder contains at most `max_files` traces: `stall-1.json`, `stall-2.json` and so on. A further
    /// trace replaces the oldest one, also after a restart of the program. Use one folder for each process.
    /// After each write, the probe reports [`Event::TraceWritten`](crate::Event::TraceWritten) or
    /// [`Event::TraceFailed`](crate::Event::TraceFailed).
    ///
    /// ```
    /// use inflight_probe::{Event, Probe, Recorder};
    ///
    /// # let folder = std::env::temp_dir().join("inflight-probe-write-on-stall");
    /// let recorder = Recorder::start(1000).write_on_stall(&folder, 10);
    /// let probe = Probe::builder()
    ///     .recorder(&recorder)
    ///     .start(|event| println!("{event}"))?;
    /// # drop(probe);
    /// # let _ = std::fs::remove_dir(&folder);
    /// # Ok::<(), inflight_core::Error>(())
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if `max_files` is 0.
    #[must_use]
    #[track_caller]
    pub fn write_on_stall(mut self, folder: impl Into<PathBuf>, max_files: usize) -> Self {
        assert!(max_files > 0, "the number of traces must not be 0");
        self.folder = Some(StallFolder::new(folder.into(), max_files));
        self
    }

    /// Writes a trace to a file. The file is replaced only after the whole trace has been written to a
    /// temporary file next to it, whose name ends with `.part`.
    ///
    /// Threads continue to poll and to record meanwhile.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Io`](inflight_core::ErrorKind::Io) if the file cannot be written. The error names the file.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        self.replace(path)
            .map_err(|error| io_error("could not write the trace", path, error))
    }

    fn replace(&self, path: &Path) -> io::Result<()> {
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let written = File::create(&part)
            .and_then(|file| self.write_to(file))
            .and_then(|()| fs::rename(&part, path));
        if written.is_err() {
            // Also fails if the file could not be created.
            let _ = fs::remove_file(&part);
        }
        written
    }

    /// Writes a trace.
    ///
    /// # Errors
    ///
    /// Fails if `out` fails.
    pub fn write_to(&self, out: impl Write) -> io::Result<()> {
        let mut out = BufWriter::new(out);
        self.trace().write_to(&mut out)?;
        out.flush()
    }

    /// Copies the rings and the stalls, so that nothing is locked while the trace is written.
    fn trace(&self) -> Trace {
        let rings = self.recording.rings.all();
        let mut threads: Vec<ThreadTrack> = rings
            .iter()
            .map(|ring| ThreadTrack::new(ring.slot.clone(), ring.polls()))
            .collect();
        let stalls = self.recording.stalls.all();
        // A thread in its first poll has no ring yet, and the ring of a thread that has ended may be reused.
        let polling = slot::all()
            .into_iter()
            .filter(|slot| slot.polling().is_some());
        for slot in polling.chain(stalls.iter().filter_map(|stall| stall.slot())) {
            if !threads.iter().any(|thread| thread.is_of(&slot)) {
                threads.push(ThreadTrack::new(slot, Vec::new()));
            }
        }
        Trace {
            threads,
            stalls,
            sites: Site::all(),
            omitted_threads: self.recording.rings.omitted_threads(),
            now: nanos(),
        }
    }

    /// Records a stall.
    pub(crate) fn record_stall(&self, stall: RecordedStall) -> StallNumber {
        self.recording.stalls.push(stall)
    }

    /// Records the end of a stall.
    pub(crate) fn end_stall(&self, number: StallNumber, ended: u64, args: Value) {
        self.recording.stalls.end(number, ended, args);
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("capacity", &self.recording.rings.capacity)
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

/// Writes a trace for each stall that a probe reports.
pub(crate) struct StallTraceWriter {
    recorder: Recorder,
    files: StallFiles,
}

impl StallTraceWriter {
    /// Creates the folder for the traces. Returns `None` if the recorder writes no traces.
    pub(crate) fn new(recorder: Recorder) -> Result<Option<Self>, Error> {
        let files = recorder
            .folder
            .clone()
            .map(StallFiles::create)
            .transpose()?;
        Ok(files.map(|files| Self { recorder, files }))
    }

    /// Writes a trace if the event begins or ends a stall. Returns the event that reports the trace.
    pub(crate) fn write(&mut self, event: &Event) -> Option<Event> {
        let path = self.files.path_for(event)?;
        Some(match self.recorder.write(&path) {
            Ok(()) => Event::TraceWritten(path),
            Err(error) => Event::TraceFailed(Arc::new(error)),
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::block_on;

    use super::*;
    use crate::FutureExt;

    #[test]
    fn a_thread_frees_the_ring_of_a_recorder_that_has_ended() {
        let recorder = Recorder::start(1);
        block_on(async {}.probed("freed"));
        let own = slot::current().unwrap();
        let rings = recorder.recording.rings.all();
        let ring = rings.iter().find(|ring| Arc::ptr_eq(&ring.slot, &own));
        let ring = Arc::downgrade(ring.unwrap());
        drop(rings);
        drop(recorder);
        assert!(ring.upgrade().is_some());
        block_on(async {}.probed("freed"));
        assert!(ring.upgrade().is_none());
    }

    #[test]
    #[should_panic(expected = "the capacity of a recorder must not be 0")]
    fn a_recorder_needs_a_capacity() {
        let _ = Recorder::start(0);
    }
}
