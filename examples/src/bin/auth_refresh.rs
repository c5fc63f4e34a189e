//! A client that requests a new token when the server refuses the old one: `just run auth_refresh`.
#![allow(clippy::print_stdout, reason = "a program")]

use async_lock::Mutex;
use inflight::backend::{AnyClient, Capabilities, Fetch};
use inflight::http::header::{AUTHORIZATION, HeaderValue};
use inflight::http::uri::{Authority, Scheme, Uri};
use inflight::http::{Request, Response, StatusCode};
use inflight::{Body, Error, gather};
use inflight_origin::Origin;

// ANCHOR: refreshing
/// A client that sends a token to one site, and requests a new token when the site refuses the old one.
struct AuthClient {
    client: AnyClient,
    site: (Scheme, Authority),
    token_url: Uri,
    token: Mutex<Option<HeaderValue>>,
}

impl AuthClient {
    /// Requests a new token, unless another request has already replaced the refused token. Holds the lock
    /// meanwhile, so that concurrent requests wait for the same token.
    async fn refresh(&self, refused: Option<&HeaderValue>) -> Result<Option<HeaderValue>, Error> {
        let mut token = self.token.lock().await;
        if token.as_ref() == refused {
            let mut request = Request::new(Body::empty());
            *request.uri_mut() = self.token_url.clone();
            let body = self.client.fetch(request).await?.into_body();
            let length = body.collect(4096).await?.len();
            println!("a new token");
            *token = HeaderValue::try_from(format!("Bearer {length}")).ok();
        }
        Ok(token.clone())
    }

    async fn send_with_token(
        &self,
        mut request: Request<Body>,
        token: Option<&HeaderValue>,
    ) -> Result<Response<Body>, Error> {
        if let Some(token) = token {
            request.headers_mut().insert(AUTHORIZATION, token.clone());
        }
        self.client.fetch(request).await
    }
}

impl Fetch for AuthClient {
    async fn fetch(&self, request: Request<Body>) -> Result<Response<Body>, Error> {
        // A redirect may lead to another site, which must not receive the token.
        let (scheme, authority) = &self.site;
        let uri = request.uri();
        if uri.scheme() != Some(scheme) || uri.authority() != Some(authority) {
            return self.client.fetch(request).await;
        }
        let (parts, body) = request.into_parts();
        // A stream can be sent only once, so a request with a stream is not retried.
        let retry_body = body.try_clone();
        let first = Request::from_parts(parts.clone(), body);
        let token = self.token.lock().await.clone();
        let response = self.send_with_token(first, token.as_ref()).await?;
        let (StatusCode::UNAUTHORIZED, Some(body)) = (response.status(), retry_body) else {
            return Ok(response);
        };
        let token = self.refresh(token.as_ref()).await?;
        let second = Request::from_parts(parts, body);
        self.send_with_token(second, token.as_ref()).await
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
            .wrap(|client| AuthClient {
                client,
                site,
                token_url,
                token: Mutex::default(),
            })
            .build()?;
        let requests = (0..100).map(|_| session.get(origin.url("/bearer")).send());
        for response in gather(requests).all().await? {
            assert_eq!(response.status(), StatusCode::OK);
        }
        // ANCHOR_END: use
        Ok(())
    })
}
