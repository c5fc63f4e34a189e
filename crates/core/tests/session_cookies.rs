//! Tests of the cookies of a session. The client sets cookies, and returns the cookies that it receives.
#![cfg(feature = "cookies")]

mod support;

use http::header::{COOKIE, LOCATION, SET_COOKIE};
use http::{Request, Response, StatusCode};
use inflight_core::{Body, CookieJar, Session};
use support::{responding, run};

/// Returns a session whose client sets the cookie `crumb=1` at `/set` and deletes it at `/delete`. Both
/// responses redirect to `/show`. All other paths return the request's `Cookie` header as the body.
fn session(jar: CookieJar) -> Session {
    let respond = |request: Request<Body>| {
        let cookie = match request.uri().path() {
            "/set" => "crumb=1",
            "/delete" => "crumb=; Max-Age=0",
            _ => {
                let sent = request.headers().get(COOKIE);
                let sent = sent.map_or("", |value| value.to_str().unwrap());
                return Response::new(Body::from(sent.to_owned()));
            }
        };
        let response = Response::builder()
            .status(StatusCode::FOUND)
            .header(LOCATION, "/show")
            .header(SET_COOKIE, cookie);
        response.body(Body::empty()).unwrap()
    };
    responding(respond).cookies(jar).build().unwrap()
}

fn fetch_text(session: &Session, url: &str) -> String {
    run(session.get(url).text()).unwrap()
}

#[test]
fn a_cookie_that_a_redirect_sets_is_sent_until_a_response_deletes_it() {
    let session = session(CookieJar::new());
    assert_eq!(fetch_text(&session, "http://host/show"), "");
    assert_eq!(fetch_text(&session, "http://host/set"), "crumb=1");
    assert_eq!(fetch_text(&session, "http://host/show"), "crumb=1");
    assert_eq!(fetch_text(&session, "http://host/delete"), "");
    assert_eq!(fetch_text(&session, "http://host/show"), "");
}

#[test]
fn a_cookie_of_one_host_is_not_sent_to_another() {
    let jar = CookieJar::new();
    jar.set("crumb=1", &"http://elsewhere.test/".parse().unwrap());
    let session = session(jar);
    assert_eq!(fetch_text(&session, "http://host/show"), "");
    assert_eq!(
        fetch_text(&session, "http://elsewhere.test/show"),
        "crumb=1"
    );
}

#[test]
fn a_cookie_header_of_the_request_replaces_the_cookies_of_the_jar() {
    let session = session(CookieJar::new());
    fetch_text(&session, "http://host/set");
    let request = session.get("http://host/show").header(COOKIE, "own=2");
    assert_eq!(run(request.text()).unwrap(), "own=2");
    assert_eq!(fetch_text(&session, "http://host/show"), "crumb=1");
}
