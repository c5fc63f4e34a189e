//! `--dedup`: fetches equal URLs once, and reports the result for each of them.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};

use inflight::url::Url;

use super::pulled::Indexed;
use crate::input::{InputUrl, OwnSettings};
use crate::output::Record;

/// How many duplicates may wait for their result. The limit bounds the memory if a list repeats one slow URL.
const MAX_WAITING: usize = 10_000;

/// The URLs of a run and their results.
#[derive(Default)]
pub(super) struct Duplicates(RefCell<State>);

#[derive(Default)]
struct State {
    /// The first of each group of equal URLs: its result, or the later URLs that wait for the result.
    first: HashMap<RequestKey, FirstUrl>,
    waiting: usize,
    /// The duplicates that have a result and have not been reported.
    answers: VecDeque<Record>,
}

enum FirstUrl {
    Running(Vec<Indexed>),
    Finished(Box<Record>),
    /// An earlier run has finished the URL, and its result is not known.
    Skipped,
}

/// What to do with a URL.
#[derive(Debug)]
pub(super) enum Taken {
    Fetch(InputUrl),
    /// The result of an equal URL is its result.
    Answered,
    /// An earlier run has finished an equal URL.
    Skip,
}

/// What two requests must have in common to have the same result.
#[derive(Clone, PartialEq, Eq, Hash)]
struct RequestKey {
    url: String,
    own: Option<OwnSettings>,
}

impl RequestKey {
    /// Returns `None` if the URL cannot be requested. Each such URL has an error of its own, because the message
    /// contains its line of the input.
    fn of(url: &InputUrl) -> Option<Self> {
        let mut parsed = Url::parse(&url.text).ok().filter(|_| url.fault.is_none())?;
        // A request has no fragment.
        parsed.set_fragment(None);
        let own = url.own.as_deref().map(|own| OwnSettings {
            id: None,
            ..own.clone()
        });
        Some(Self {
            url: parsed.into(),
            own: own.filter(|own| *own != OwnSettings::default()),
        })
    }
}

impl Duplicates {
    /// Stores that an earlier run has finished this URL.
    pub(super) fn skip(&self, url: &InputUrl) {
        if let Some(key) = RequestKey::of(url) {
            self.0.borrow_mut().first.insert(key, FirstUrl::Skipped);
        }
    }

    /// Decides whether the URL must be fetched.
    pub(super) fn take(&self, index: usize, url: InputUrl) -> Taken {
        let Some(key) = RequestKey::of(&url) else {
            return Taken::Fetch(url);
        };
        let mut state = self.0.borrow_mut();
        let state = &mut *state;
        match state.first.get_mut(&key) {
            None => {
                state.first.insert(key, FirstUrl::Running(Vec::new()));
                return Taken::Fetch(url);
            }
            Some(FirstUrl::Skipped) => return Taken::Skip,
            Some(FirstUrl::Running(waiting)) => {
                state.waiting += 1;
                waiting.push((index, url));
            }
            Some(FirstUrl::Finished(record)) => {
                state.answers.push_back(answer(record, index, &url));
            }
        }
        Taken::Answered
    }

    /// Returns whether the caller must report the answers before it takes more URLs.
    pub(super) fn is_full(&self) -> bool {
        let state = self.0.borrow();
        state.waiting + state.answers.len() >= MAX_WAITING
    }

    /// Stores the result of a URL that was fetched, and answers the URLs that wait for it.
    pub(super) fn finish(&self, url: &InputUrl, record: &Record) {
        let Some(key) = RequestKey::of(url) else {
            return;
        };
        let mut state = self.0.borrow_mut();
        let finished = FirstUrl::Finished(Box::new(record.clone()));
        let replaced = state.first.insert(key, finished);
        if let Some(FirstUrl::Running(waiting)) = replaced {
            state.waiting -= waiting.len();
            let answers = waiting
                .iter()
                .map(|(index, url)| answer(record, *index, url));
            state.answers.extend(answers);
        }
    }

    pub(super) fn has_answers(&self) -> bool {
        !self.0.borrow().answers.is_empty()
    }

    pub(super) fn next_answer(&self) -> Option<Record> {
        self.0.borrow_mut().answers.pop_front()
    }
}

/// Returns the record of a duplicate. The run has sent no request for it.
fn answer(first: &Record, index: usize, url: &InputUrl) -> Record {
    Record {
        index,
        attempts: 0,
        elapsed_ms: 0.0,
        queued_ms: 0.0,
        ..first.clone()
    }
    .with_url(&url.text)
    .with_id(url.id())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> InputUrl {
        InputUrl::plain(text.to_owned(), None)
    }

    #[test]
    fn equal_urls_are_fetched_once_and_have_the_same_result() {
        let duplicates = Duplicates::default();
        assert!(matches!(
            duplicates.take(0, url("http://a")),
            Taken::Fetch(_)
        ));
        assert!(matches!(
            duplicates.take(1, url("http://a/#part")),
            Taken::Answered
        ));
        assert!(matches!(
            duplicates.take(2, url("http://a/?q")),
            Taken::Fetch(_)
        ));
        assert!(!duplicates.has_answers());
        let record = Record {
            index: 0,
            url: "http://a".to_owned(),
            status: Some(200),
            attempts: 1,
            ..Record::default()
        };
        duplicates.finish(&url("http://a"), &record);
        assert!(matches!(
            duplicates.take(3, url("http://a/")),
            Taken::Answered
        ));
        let answers: Vec<_> = std::iter::from_fn(|| duplicates.next_answer()).collect();
        let fields = answers
            .iter()
            .map(|answer| (answer.index, &*answer.url, answer.attempts));
        let expected = [(1, "http://a/#part", 0), (3, "http://a/", 0)];
        assert_eq!(fields.collect::<Vec<_>>(), expected);
        assert!(answers.iter().all(|answer| answer.status == Some(200)));
    }

    #[test]
    fn requests_with_other_settings_are_not_equal() {
        let with = |own: OwnSettings| InputUrl {
            own: Some(Box::new(own)),
            ..url("http://a/")
        };
        let duplicates = Duplicates::default();
        let body = OwnSettings {
            body: Some("n=1".into()),
            ..OwnSettings::default()
        };
        let id = OwnSettings {
            id: Some("7".to_owned()),
            ..OwnSettings::default()
        };
        assert!(matches!(
            duplicates.take(0, url("http://a/")),
            Taken::Fetch(_)
        ));
        assert!(matches!(
            duplicates.take(1, with(body.clone())),
            Taken::Fetch(_)
        ));
        assert!(matches!(duplicates.take(2, with(body)), Taken::Answered));
        assert!(matches!(duplicates.take(3, with(id)), Taken::Answered));
    }

    #[test]
    fn a_list_of_one_slow_url_does_not_fill_the_memory() {
        let duplicates = Duplicates::default();
        for index in 0..=MAX_WAITING {
            assert!(!duplicates.is_full());
            duplicates.take(index, url("http://a/"));
        }
        assert!(duplicates.is_full());
        duplicates.finish(&url("http://a/"), &Record::default());
        while duplicates.next_answer().is_some() {}
        assert!(!duplicates.is_full());
    }

    #[test]
    fn a_duplicate_of_a_finished_url_is_skipped() {
        let duplicates = Duplicates::default();
        duplicates.skip(&url("http://a/"));
        assert!(matches!(
            duplicates.take(1, url("http://a/#part")),
            Taken::Skip
        ));
        assert!(matches!(
            duplicates.take(2, url("http://b/")),
            Taken::Fetch(_)
        ));
    }
}
