//! Faults within HTTP. For other faults, see [`script`](crate::script).

use std::collections::{HashMap, VecDeque};
use std::future;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::response::Response;
use axum::routing::any;
use http::StatusCode;
use serde_json::json as value;

use super::bodies;
use super::call::{App, Call, Refusal, json};

/// How many ids are remembered. The oldest is dropped first, and then fails again.
const MAX_IDS: usize = 4096;
const MAX_ID_LEN: usize = 256;

/// How often each id was requested.
#[derive(Default)]
struct Attempts {
    counts: HashMap<String, u64>,
    oldest: VecDeque<String>,
}

impl Attempts {
    fn count(&mut self, id: &str) -> u64 {
        if let Some(count) = self.counts.get_mut(id) {
            *count += 1;
            return *count;
        }
        if self.oldest.len() == MAX_IDS
            && let Some(oldest) = self.oldest.pop_front()
        {
            self.counts.remove(&oldest);
        }
        self.oldest.push_back(id.to_owned());
        self.counts.insert(id.to_owned(), 1);
        1
    }
}

/// Returns the route of `/flaky` with its counts.
pub(super) fn flaky() -> Router<App> {
    let attempts = Arc::new(Mutex::new(Attempts::default()));
    let handler = async move |call: Call| -> Result<Response, Refusal> {
        let failures: u64 = call.param_or("fail", 1)?;
        let id = call.param("id").unwrap_or("");
        if id.len() > MAX_ID_LEN {
            return Err(Refusal::bad(format!("id is longer than {MAX_ID_LEN}")));
        }
        let attempt = attempts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .count(id);
        let mut response = json(&value!({ "id": id, "attempt": attempt }));
        if attempt <= failures {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        Ok(response)
    };
    Router::new().route("/flaky", any(handler))
}

/// Never responds. hyper drops the future when the client disconnects.
pub(super) async fn hang(_: Call) -> Response {
    future::pending().await
}

pub(super) async fn hang_body(_: Call) -> Response {
    bodies::unfinished()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_id_is_dropped_first() {
        let mut attempts = Attempts::default();
        for id in 0..=MAX_IDS {
            assert_eq!(attempts.count(&id.to_string()), 1);
        }
        assert_eq!(attempts.count(&MAX_IDS.to_string()), 2);
        assert_eq!(attempts.count("0"), 1);
        assert_eq!(attempts.counts.len(), MAX_IDS);
    }
}
