//! The handlers of the origin's paths, one file per group, and the router.

mod auth;
mod bodies;
mod call;
mod cookies;
mod delays;
mod encodings;
mod faults;
mod inspect;
mod ranges;
mod raw;
mod redirects;
mod statuses;
mod uploads;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{any, delete, get, patch, post, put};
use http::StatusCode;

pub(crate) use call::{App, DueTime, Peer, RequestInfo};
use call::{Call, json, text};
use encodings::{Coding, echo};

const INDEX: &str = "\
A local origin, shaped like httpbin.

Paths of httpbin:
/get /post /put /patch /delete      the request, echoed as JSON
/anything /anything/{...}           the request, echoed as JSON; any method
/headers /ip /user-agent            the headers, the address or the user agent, as JSON
/status/{code}                      a response with this status, which must not be 1xx; any method
/delay/{seconds}                    the request, echoed as JSON after a delay of at most 10 seconds
/bytes/{n}?seed=                    n pseudo-random bytes, the same for the same seed; at most 100 MiB
/stream-bytes/{n}?chunk_size=&seed= the same, chunked
/drip?numbytes=&duration=&delay=&code=
/redirect/{n} /relative-redirect/{n} /absolute-redirect/{n}
/redirect-to?url=&status_code=
/gzip /deflate /brotli              a compressed response, regardless of Accept-Encoding
/cookies /cookies/set?k=v /cookies/set/{k}/{v} /cookies/delete?k
/basic-auth/{user}/{passwd} /hidden-basic-auth/{user}/{passwd} /bearer
/encoding/utf8                      a page in many scripts
/links/{n}/{offset}                 a page with links to the n - 1 other pages; n is at most 200
/response-headers?name=value        a response with these headers
/robots.txt /deny                   rules that disallow the page /deny, and this page

More paths:
/zstd                               a compressed response, as /gzip
/coded/{coding}/{n}?seed=           n bytes in gzip, deflate, bare-deflate, br or zstd: zeros without a seed
/range/{n}?seed=&cut=               n bytes as /bytes, or a range of them; closes the connection after `cut` bytes
/delay-ms/{n}                       a small response after n milliseconds
/page/{n}?delay_ms=                 a small HTML page
/flaky?fail=N&id=                   503 to the first N requests with that id, then 200
/echo                               POST: the body, chunk by chunk as it arrives
/upload                             any method: the length and SHA-256 of the body
/echo-headers-raw                   every header as [name, hex of its bytes]
/raw-header?name=X-Raw&hex=         a response with a header of these bytes; both may be repeated
/slow-body?chunks=&size=&pause_ms=  a chunked body with pauses
/hang                               no response
/hang-body                          a head and a few bytes of the body, then nothing
/stats                              the counts; POST /stats/reset resets them
";

const ROBOTS: &str = "User-agent: *\nDisallow: /deny\n";

/// Returns whether requests for this path are excluded from the counts.
pub(crate) fn is_stats_path(path: &str) -> bool {
    matches!(path, "/stats" | "/stats/reset")
}

pub(crate) fn router(app: App) -> Router {
    Router::new()
        .route("/", get(async |_: Call| text(StatusCode::OK, INDEX)))
        .route("/get", get(inspect::without_body))
        .route("/post", post(inspect::with_body))
        .route("/put", put(inspect::with_body))
        .route("/patch", patch(inspect::with_body))
        .route("/delete", delete(inspect::with_body))
        .route("/anything", any(inspect::anything))
        .route("/anything/{*rest}", any(inspect::anything))
        .route("/headers", get(inspect::headers))
        .route("/ip", get(inspect::ip))
        .route("/user-agent", get(inspect::user_agent))
        .route("/status/{code}", any(statuses::status))
        .route("/delay/{seconds}", any(delays::seconds))
        .route("/delay-ms/{n}", any(delays::millis))
        .route("/page/{n}", get(delays::page))
        .route("/bytes/{n}", get(bodies::bytes))
        .route("/stream-bytes/{n}", get(bodies::stream_bytes))
        .route("/range/{n}", get(ranges::range))
        .route("/drip", get(bodies::drip))
        .route("/slow-body", get(bodies::slow_body))
        .route("/encoding/utf8", get(bodies::utf8))
        .route("/links/{n}/{offset}", get(bodies::links))
        .route("/redirect/{n}", get(redirects::redirect))
        .route("/relative-redirect/{n}", get(redirects::relative))
        .route("/absolute-redirect/{n}", get(redirects::absolute))
        .route("/redirect-to", any(redirects::redirect_to))
        .route("/gzip", get(|call| echo(call, Coding::Gzip, "gzipped")))
        .route("/deflate", get(|call| echo(call, Coding::Zlib, "deflated")))
        .route("/brotli", get(|call| echo(call, Coding::Brotli, "brotli")))
        .route("/zstd", get(|call| echo(call, Coding::Zstd, "zstd")))
        .route("/coded/{coding}/{n}", get(encodings::coded))
        .route("/cookies", get(cookies::list))
        .route("/cookies/set", get(cookies::set))
        .route("/cookies/set/{name}/{value}", get(cookies::set_one))
        .route("/cookies/delete", get(cookies::delete))
        .route("/basic-auth/{user}/{passwd}", get(auth::basic))
        .route(
            "/hidden-basic-auth/{user}/{passwd}",
            get(auth::hidden_basic),
        )
        .route("/bearer", get(auth::bearer))
        .route(
            "/response-headers",
            get(raw::response_headers).post(raw::response_headers),
        )
        .route("/echo-headers-raw", any(raw::echo_headers))
        .route("/raw-header", any(raw::raw_header))
        .route("/echo", post(uploads::echo))
        .route("/upload", any(uploads::upload))
        .merge(faults::flaky_route())
        .route("/hang", any(faults::hang))
        .route("/hang-body", any(faults::hang_body))
        .route(
            "/robots.txt",
            get(async |_: Call| text(StatusCode::OK, ROBOTS)),
        )
        .route(
            "/deny",
            get(async |_: Call| text(StatusCode::OK, "robots.txt disallows this page\n")),
        )
        .route("/stats", get(stats))
        .route("/stats/reset", post(reset_stats))
        .fallback(async |_: Call| text(StatusCode::NOT_FOUND, "no such path; GET / lists them\n"))
        .with_state(app)
}

async fn stats(State(app): State<App>) -> Response {
    json(&app.recorder.stats())
}

async fn reset_stats(State(app): State<App>) -> Response {
    app.recorder.reset();
    json(&app.recorder.stats())
}
