//! Tests of `Event::trace`, which emits the events of a probe through the `tracing` crate.
#![cfg(feature = "tracing")]

use std::fmt::{Debug, Write};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_lite::future::block_on;
use inflight_core::{Error, ErrorKind};
use inflight_probe::{Event, FutureExt, Probe};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Metadata, Subscriber};

/// A subscriber that collects the probe's events as lines: the level, then each field.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "inflight::probe" && *metadata.level() <= Level::INFO
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn lost_events_have_the_level_warn() {
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), || Event::EventsLost(3).trace());
    let lines = lines.0.lock().unwrap();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("WARN "), "{lines:?}");
    assert!(lines[0].contains(" message=events lost"), "{lines:?}");
    assert!(lines[0].contains(" count=3"), "{lines:?}");
}

#[test]
fn written_traces_have_the_level_info_and_failures_have_the_level_warn() {
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), || {
        Event::TraceWritten("traces/stall-1.json".into()).trace();
        let error = Error::new(ErrorKind::Io).with_context("could not write the trace");
        Event::TraceFailed(Arc::new(error)).trace();
    });
    let lines = lines.0.lock().unwrap();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("INFO "), "{lines:?}");
    assert!(lines[0].contains(" path=traces/stall-1.json"), "{lines:?}");
    assert!(lines[1].starts_with("WARN "), "{lines:?}");
    assert!(lines[1].contains("could not write the trace"), "{lines:?}");
}

#[test]
fn a_stall_has_the_level_warn_and_its_end_has_the_level_info() {
    let lines = Lines::default();
    let subscriber = lines.clone();
    let (release, released) = channel::<()>();
    let probe = Probe::builder()
        .threshold(Duration::from_millis(20))
        .start(move |event| {
            tracing::subscriber::with_default(subscriber.clone(), || event.trace());
            if let Event::Stalled(_) = event {
                release.send(()).unwrap();
            }
        })
        .unwrap();
    block_on(async move { released.recv().unwrap() }.probed("stuck"));
    // Stops the watchdog. Before it stops, it reports the end of the stall.
    drop(probe);
    let lines = lines.0.lock().unwrap();
    let line_of = |level: &str| {
        let found = lines.iter().find(|line| line.starts_with(level));
        found.unwrap_or_else(|| panic!("{lines:?}"))
    };
    for (line, word) in [(line_of("WARN"), "stalled"), (line_of("INFO"), "recovered")] {
        assert!(line.contains(&format!("message={word}")), "{line}");
        assert!(line.contains("label=\"stuck\""), "{line}");
        assert!(line.contains("trace.rs"), "{line}");
        assert!(line.contains("lasted_ms="), "{line}");
    }
}
