//! The text of a URL: a session accepts what the `url` crate accepts, apart from other schemes and impossible host
//! names, and sends the request to the same URL.
#![no_main]

use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderValue, Request, Response, Uri, header};
use inflight_core::{BlockOn, Body, ErrorKind, Session};
use inflight_fuzz::session;
use inflight_virtual::Virtual;
use libfuzzer_sys::fuzz_target;
use percent_encoding::percent_decode_str;
use url::{Host, Url};

static SENT: Mutex<Option<(Uri, Option<HeaderValue>)>> = Mutex::new(None);

thread_local! {
    static CLIENT: (Virtual, Session) = {
        let runtime = Virtual::new();
        let session = session(&runtime, respond).build().expect("the options are valid");
        (runtime, session)
    };
}

fn respond(request: Request<Body>) -> Response<Body> {
    let authorization = request.headers().get(header::AUTHORIZATION).cloned();
    let sent = (request.uri().clone(), authorization);
    *SENT.lock().unwrap_or_else(PoisonError::into_inner) = Some(sent);
    Response::new(Body::empty())
}

fuzz_target!(|text: &str| {
    let expected = Url::parse(text).ok().filter(is_supported);
    let received = CLIENT.with(|(runtime, session)| runtime.block_on(session.get(text).send()));
    let sent = SENT.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (received, expected) {
        (Ok(response), Some(mut url)) => {
            let (uri, authorization) = sent.expect("the request was sent");
            assert_eq!(authorization, take_credentials(&mut url), "{text:?}");
            assert_eq!(response.url(), Some(&url), "{text:?}");
            url.set_fragment(None);
            assert_eq!(uri.to_string(), url.as_str(), "{text:?}");
        }
        (Err(error), expected) => {
            assert_eq!(error.kind(), ErrorKind::InvalidUrl, "{text:?}");
            // The `http` crate has a limit on the length, and refuses some characters in a host.
            let is_uri = |url: Url| url.as_str().parse::<Uri>().is_ok();
            assert!(!expected.is_some_and(is_uri), "{text:?}: {error:?}");
        }
        (Ok(_), None) => panic!("{text:?} is not a URL"),
    }
    errors_hide_passwords(text);
});

fn is_supported(url: &Url) -> bool {
    let is_name = |name: &str| {
        let name = name.strip_suffix('.').unwrap_or(name);
        let mut labels = name.split('.');
        name.len() <= 253 && labels.all(|label| (1..=63).contains(&label.len()))
    };
    let has_host = match url.host() {
        Some(Host::Domain(name)) => is_name(name),
        _ => true,
    };
    matches!(url.scheme(), "http" | "https") && has_host
}

fn take_credentials(url: &mut Url) -> Option<HeaderValue> {
    let password = url.password().map(str::to_owned);
    if url.username().is_empty() && password.is_none() {
        return None;
    }
    let mut pair: Vec<u8> = percent_decode_str(url.username()).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(&password.unwrap_or_default()));
    url.set_username("").expect("the URL has a host");
    url.set_password(None).expect("the URL has a host");
    let value = format!("Basic {}", BASE64_STANDARD.encode(pair));
    Some(value.try_into().expect("base64 is a valid header"))
}

/// Checks that an error does not contain the password of a URL.
fn errors_hide_passwords(text: &str) {
    let secret = "ab1f57e0";
    let with_password = format!("http://user:{secret}@{text}");
    let received =
        CLIENT.with(|(runtime, session)| runtime.block_on(session.get(&with_password).send()));
    if let Err(error) = received {
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(secret), "{with_password:?}: {shown}");
    }
}
