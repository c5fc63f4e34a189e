//! A token that is renewed when the server refuses it, around any client: `just run auth_refresh`.
#![allow(clippy::print_stdout, reason = "a program")]

use std::sync::{Mutex, PoisonError};

use inflight::http::header::{AUTHORIZATION, HeaderValue};
use inflight::http::uri::{Authority, Scheme, Uri};
use inflight::http::{Request, Response, StatusCode};
use inflight::{AnyClient, Body, Capabilities, Error, Fetch};
use inflight_origin::Origin;

// ANCHOR: refreshing
/// Sends a token with each request to one site, and gets a new one when it is refused.
struct Refreshing {
    client: AnyClient,
    site: (Scheme, Authority),
    token_url: Uri,
    token: Mutex<Option<HeaderValue>>,
}

impl Refreshing {
    fn token(&self) -> std::sync::MutexGuard<'_, Option<HeaderValue>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn renew(&self) -> Result<(), Error> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = self.token_url.clone();
        let body = self.client.fetch(request).await?.into_body();
        let length = body.collect(4096).await?.len();
        println!("a new token");
        *self.token() = HeaderValue::try_from(format!("Bearer {length}")).ok();
        Ok(())
    }
}

impl Fetch for Refreshing {
    async fn fetch(&self, request: Request<Body>) -> Result<Response<Body>, Error> {
        // Redirects come by as well, and may lead to others: the token is not for them.
        let (scheme, authority) = &self.site;
        let uri = request.uri();
        if uri.scheme() != Some(scheme) || uri.authority() != Some(authority) {
            return self.client.fetch(request).await;
        }
        let (mut parts, body) = request.into_parts();
        // A stream can be sent once: its 401 is the answer.
        let again = body.try_clone();
        if let Some(token) = &*self.token() {
            parts.headers.insert(AUTHORIZATION, token.clone());
        }
        let first = Request::from_parts(parts.clone(), body);
        let response = self.client.fetch(first).await?;
        let (StatusCode::UNAUTHORIZED, Some(body)) = (response.status(), again) else {
            return Ok(response);
        };
        self.renew().await?;
        if let Some(token) = &*self.token() {
            parts.headers.insert(AUTHORIZATION, token.clone());
        }
        self.client.fetch(Request::from_parts(parts, body)).await
    }

    fn capabilities(&self) -> Capabilities {
        self.client.capabilities()
    }
}
// ANCHOR_END: refreshing

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let origin = Origin::start()?;
    let token_url: Uri = origin.url("/bytes/12").parse()?;
    let site = token_url
        .scheme()
        .cloned()
        .zip(token_url.authority().cloned());
    let site = site.ok_or("no host")?;
    inflight::block_on(async {
        // ANCHOR: use
        let session = inflight::builder()
            .wrap(|client| Refreshing {
                client,
                site,
                token_url,
                token: Mutex::default(),
            })
            .build()?;
        for n in 1..=3 {
            let response = session.get(origin.url("/bearer")).send().await?;
            println!("request {n}: {}", response.status());
        }
        // ANCHOR_END: use
        Ok(())
    })
}
