//! A client that caches pages for a limited time: `just run cache`.
#![allow(clippy::print_stdout, reason = "a program")]

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use inflight::backend::{AnyClient, Capabilities, Fetch};
use inflight::bytes::Bytes;
use inflight::http::header::{AUTHORIZATION, COOKIE};
use inflight::http::{Method, Request, Response, StatusCode, Uri};
use inflight::{Body, Error, gather};
use inflight_origin::Origin;

// ANCHOR: cache
/// A client that keeps pages in memory, and returns them until they are older than `max_age`.
struct Cache {
    client: AnyClient,
    max_age: Duration,
    pages: Mutex<HashMap<Uri, (Instant, Response<Bytes>)>>,
}

impl Cache {
    fn find(&self, uri: &Uri) -> Option<Response<Body>> {
        let pages = self.pages.lock().ok()?;
        let (stored_at, response) = pages.get(uri)?;
        (stored_at.elapsed() < self.max_age).then(|| response.clone().map(Body::from))
    }
}

impl Fetch for Cache {
    async fn fetch(&self, request: Request<Body>) -> Result<Response<Body>, Error> {
        // Does not cache a response to a request with credentials, because the response is for one user.
        let has_credentials = [AUTHORIZATION, COOKIE]
            .iter()
            .any(|name| request.headers().contains_key(name));
        if request.method() != Method::GET || has_credentials {
            return self.client.fetch(request).await;
        }
        let uri = request.uri().clone();
        if let Some(response) = self.find(&uri) {
            return Ok(response);
        }
        let response = self.client.fetch(request).await?;
        let is_small = response.body().len().is_some_and(|len| len <= 1 << 20);
        if response.status() != StatusCode::OK || !is_small {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let response = Response::from_parts(parts, body.collect(1 << 20).await?);
        if let Ok(mut pages) = self.pages.lock() {
            pages.insert(uri, (Instant::now(), response.clone()));
        }
        Ok(response.map(Body::from))
    }

    fn capabilities(&self) -> Capabilities {
        self.client.capabilities()
    }
}
// ANCHOR_END: cache

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let origin = Origin::start()?;
    inflight::block_on(async {
        let max_age = Duration::from_secs(60);
        let with_cache = move |client| Cache {
            client,
            max_age,
            pages: Mutex::default(),
        };
        let session = inflight::builder().wrap(with_cache).build()?;
        for _ in 0..3 {
            let requests = (1..=10).map(|n| session.get(origin.url(&format!("/page/{n}"))).text());
            let pages = gather(requests).all().await?;
            println!("{} pages", pages.len());
        }
        println!("{} requests reached the server", origin.stats().requests);
        Ok(())
    })
}
