//! The request builder.

use inflight_core::Body;
use inflight_core::http::{HeaderMap, Request, Version};
use macro_rules_attribute::apply;
use serde_json::{Value, json};

use crate::case::case;
use crate::check::{Failure, Result, check_equal};
use crate::context::Context;
use crate::servers::{ok_response, response_script, start_scripted};

/// Percent-encodings in a URL are sent unchanged, whether in upper or lower case, because a
/// signature may cover them.
#[apply(case!)]
#[needs(unchanged_targets)]
async fn percent_encodings_are_sent_unchanged(context: Context) -> Result {
    let server = start_scripted(response_script(1, &ok_response("")))?;
    let target = "/%7e/%2F/a%2fb/%C3%a9?%7E=%7e&empty=&x?";
    context.session()?.get(server.url(target)).send().await?;
    check_equal("the target", &*server.requests()[0].target, target)
}

/// Query pairs are appended to the URL's query and arrive unchanged, whatever characters they
/// contain.
#[apply(case!)]
#[marks(anywhere, tests_core)]
async fn query_pairs_are_appended_unchanged(context: Context) -> Result {
    let origin = context.httpbin()?;
    let builder = context.builder().base_url(origin.url("/anything/"));
    let session = builder.build()?;
    let pairs = [
        ("name", "Ærø & Fyn"),
        ("path", "/a?b#c=d%20+"),
        ("empty", ""),
    ];
    let request = session.get("search?kept=%C3%A9").query(&pairs);
    let echo: Value = request.query(&[("n", 7)]).json().await?;
    let expected = json!({
        "kept": "é",
        "name": "Ærø & Fyn",
        "path": "/a?b#c=d%20+",
        "empty": "",
        "n": "7",
    });
    check_equal("the pairs", &echo["args"], &expected)
}

/// The credentials of basic_auth are sent as Authorization: Basic, and take precedence over
/// credentials in the URL.
#[apply(case!)]
#[marks(anywhere, tests_core)]
async fn basic_auth_is_sent(context: Context) -> Result {
    let origin = context.httpbin()?;
    let session = context.session()?;
    let plain = origin.url("/basic-auth/user/p%C3%A4ss");
    let other = plain.replacen("//", "//someone:else@", 1);
    for url in [plain, other] {
        let response = session.get(&url).basic_auth("user", "päss").send().await?;
        check_equal(&url, response.status().as_u16(), 200)?;
        response.bytes().await?;
    }
    Ok(())
}

/// The token of bearer_auth is sent as Authorization: Bearer.
#[apply(case!)]
#[marks(anywhere, tests_core)]
async fn bearer_auth_is_sent(context: Context) -> Result {
    let origin = context.httpbin()?;
    let builder = context.builder().header("authorization", "Basic default");
    let request = builder.build()?.get(origin.url("/bearer"));
    let echo: Value = request.bearer_auth("to.ken").json().await?;
    check_equal("the token", echo["token"].as_str(), Some("to.ken"))
}

/// A map of headers is sent, and replaces the session's headers of the same names.
#[apply(case!)]
#[marks(anywhere, tests_core)]
async fn header_map_is_sent(context: Context) -> Result {
    let origin = context.httpbin()?;
    let builder = context.builder().header("x-one", "default");
    let session = builder.header("x-two", "default").build()?;
    let mut headers = HeaderMap::new();
    headers.append("x-one", 1.into());
    headers.append("x-one", 11.into());
    let request = session.get(origin.url("/headers")).headers(headers);
    let echo: Value = request.json().await?;
    check_equal("X-One", echo["headers"]["X-One"].as_str(), Some("1,11"))?;
    check_equal("X-Two", echo["headers"]["X-Two"].as_str(), Some("default"))
}

/// The version field of a request of the http crate does not affect how the request is sent.
#[apply(case!)]
#[marks(anywhere)]
async fn version_of_a_request_is_ignored(context: Context) -> Result {
    let origin = context.httpbin()?;
    let session = context.session()?;
    for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
        let request = Request::builder()
            .method("PUT")
            .uri(origin.url("/anything"))
            .version(version)
            .body(Body::from("forwarded"));
        let request = request.map_err(|error| Failure::new(error.to_string()))?;
        let echo: Value = session.execute(request).await?.json().await?;
        check_equal("the body", &echo["data"], &json!("forwarded"))?;
    }
    Ok(())
}
