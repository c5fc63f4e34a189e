//! Tests of the suite: it fails clients that break the contract, and passes a correct client.

use std::fs;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use inflight::backend::{BoxFuture, Capabilities, Fetch, Support};
use inflight::bytes::Bytes;
use inflight::connect::{ClientOptions, Proxies};
use inflight::http::{HeaderValue, Request, Response};
use inflight::http_body::{Body as HttpBody, Frame, SizeHint};
use inflight::{BlockOn, Body, Cell, Error, ErrorKind, Session, SessionBuilder, Task};
use inflight_conformance::{CaseResult, Outcome, TestedBackend, cases, run};

type Answer = Result<Response<Body>, Error>;

/// A client that sends its requests with a correct session. The function `tamper` may change the
/// requests and the responses.
struct Tampered<F> {
    correct: Session,
    tamper: F,
}

impl<F> Fetch for Tampered<F>
where
    F: Fn(Session, Request<Body>) -> BoxFuture<'static, Answer> + Send + Sync + 'static,
{
    async fn fetch(&self, request: Request<Body>) -> Answer {
        (self.tamper)(self.correct.clone(), request).await
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.correct.capabilities().clone();
        capabilities.opaque_request_headers = Support::No(SKIP_REASON);
        capabilities
    }
}

/// The reason for a capability that every client in this file lacks, to test skipped cases.
const SKIP_REASON: &str = "the clients of this test do not support it";

fn correct_backend() -> TestedBackend {
    tampered_backend(|| |session, request| Box::pin(send(session, request)))
}

/// Returns a backend with a [`Tampered`] client. `tamper` returns the function for each session.
fn tampered_backend<F>(tamper: impl Fn() -> F + Send + Sync + 'static) -> TestedBackend
where
    F: Fn(Session, Request<Body>) -> BoxFuture<'static, Answer> + Send + Sync + 'static,
{
    tampered_backend_with(|_| (), tamper)
}

/// Returns a backend whose client changes the options of its session before it uses them.
fn backend_that_changes_options(change_options: fn(&mut ClientOptions)) -> TestedBackend {
    tampered_backend_with(change_options, || {
        |session, request| Box::pin(send(session, request))
    })
}

fn tampered_backend_with<F>(
    change_options: fn(&mut ClientOptions),
    tamper: impl Fn() -> F + Send + Sync + 'static,
) -> TestedBackend
where
    F: Fn(Session, Request<Body>) -> BoxFuture<'static, Answer> + Send + Sync + 'static,
{
    let backend = "smol/hyper".parse::<Cell>().unwrap().start(None).unwrap();
    let entered = backend.clone();
    let builder = move || {
        let (backend, tamper) = (backend.clone(), tamper());
        Session::builder(move |options| {
            // The outer session applies the timeouts and decodes bodies, so the inner one must do
            // neither.
            let correct = backend.builder().timeout(None).decompress(false);
            let mut options = options.clone();
            change_options(&mut options);
            let correct = correct.client_options(|given| *given = options).build()?;
            let runtime = correct.runtime().clone();
            Ok((Tampered { correct, tamper }, runtime))
        })
    };
    TestedBackend::new("tampered", builder, move |future| entered.block_on(future))
}

async fn send(session: Session, request: Request<Body>) -> Answer {
    session.execute(request).await.map(Response::from)
}

fn run_cases(backend: &TestedBackend, names: &[&str]) -> Vec<CaseResult> {
    let results = run(backend, |case| names.contains(&case.name), |_| ());
    assert_eq!(results.len(), names.len(), "missing cases: {names:?}");
    results
}

/// Checks that each of these cases fails on this client and passes on a correct client.
#[track_caller]
fn assert_caught(names: &[&str], broken: &TestedBackend) {
    for result in run_cases(broken, names) {
        let failed = matches!(result.outcome, Outcome::Failed(_));
        assert!(failed, "the case should fail: {result}");
    }
    for result in run_cases(&correct_backend(), names) {
        assert_eq!(result.outcome, Outcome::Passed, "{result}");
    }
}

#[test]
fn every_function_with_the_attribute_is_a_case() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cases");
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let functions = text.lines().filter(|line| *line == "#[apply(case!)]");
        let group = path.file_stem().unwrap().to_str().unwrap();
        let cases = cases().iter().filter(|case| case.group == group);
        let registered = cases.filter(|case| case.rule.is_none());
        assert_eq!(registered.count(), functions.count(), "{group}");
    }
}

#[test]
fn a_case_is_skipped_with_the_reason_of_the_missing_capability() {
    let lacking = ["opaque_request_header_is_sent_unchanged"];
    for result in run_cases(&correct_backend(), &lacking) {
        assert_eq!(result.outcome, Outcome::Skipped(SKIP_REASON));
    }
}

#[test]
fn a_session_that_cannot_be_built_fails_every_case() {
    let builder = || {
        Session::builder(|_| -> Result<(Tampered<TamperFn>, _), Error> {
            Err(Error::new(ErrorKind::NoRuntime))
        })
    };
    let backend = TestedBackend::new("none", builder, futures_lite::future::block_on);
    for result in run(&backend, |case| case.group == "errors", |_| ()) {
        assert!(matches!(result.outcome, Outcome::Failed(why) if why.contains("no runtime")));
    }
}

type TamperFn = fn(Session, Request<Body>) -> BoxFuture<'static, Answer>;

/// Returns a backend with a correct client. `build` changes the settings of its sessions.
fn backend_with_settings(
    build: impl Fn(SessionBuilder) -> SessionBuilder + Send + Sync + 'static,
) -> TestedBackend {
    let backend = "smol/hyper".parse::<Cell>().unwrap().start(None).unwrap();
    let entered = backend.clone();
    let builder = move || build(backend.builder());
    TestedBackend::new("built", builder, move |future| entered.block_on(future))
}

#[test]
fn an_ignored_address_guard_is_caught() {
    let names = [
        "guard_refuses_an_address_in_the_url",
        "guard_refuses_a_name",
        "guard_refuses_an_ipv4_mapped_address",
        "guard_refuses_a_redirect",
        "guard_refuses_a_name_whose_address_changes",
        "client_connects_only_to_allowed_addresses",
        "refused_address_is_not_retried",
    ];
    assert_caught(
        &names,
        &backend_that_changes_options(|options| options.address_guard = None),
    );
}

#[test]
fn ignored_socks_proxies_are_caught() {
    let names = [
        "http_requests_use_a_socks_tunnel",
        "https_requests_use_tls_inside_a_socks_tunnel",
        "socks5h_proxy_looks_up_the_name",
        "socks5_proxy_receives_the_address",
        "socks_tunnels_are_reused",
        "large_bodies_pass_through_a_socks_tunnel",
        "refused_socks_tunnel_is_a_proxy_error",
        "refused_socks_credentials_are_a_proxy_error",
        "invalid_socks_handshake_is_a_proxy_error",
        "unreachable_socks_proxy_is_a_proxy_error",
    ];
    assert_caught(
        &names,
        &backend_that_changes_options(|options| options.proxies = Proxies::default()),
    );
}

#[cfg(unix)]
#[test]
fn an_ignored_unix_socket_is_caught() {
    let names = [
        "requests_use_the_unix_socket",
        "https_requests_use_tls_over_the_unix_socket",
        "connections_to_a_unix_socket_are_reused",
        "closed_connection_to_a_unix_socket_is_replaced",
        "large_bodies_pass_through_a_unix_socket",
        "address_guard_allows_a_unix_socket",
        "unreachable_unix_socket_is_a_connect_error",
        "requests_wait_for_a_place_in_the_queue_of_a_unix_socket",
    ];
    assert_caught(
        &names,
        &backend_that_changes_options(|options| options.unix_socket = None),
    );
}

#[test]
fn accepted_invalid_certificates_are_caught() {
    let names = [
        "expired_certificate_is_a_tls_error",
        "certificate_for_another_host_is_a_tls_error",
        "unknown_issuer_is_a_tls_error",
        "self_signed_certificate_is_a_tls_error",
        "nothing_is_sent_to_a_server_with_a_refused_certificate",
    ];
    assert_caught(
        &names,
        &backend_with_settings(|builder| builder.danger_accept_invalid_certs(true)),
    );
}

#[test]
fn accepted_wrong_hostnames_are_caught() {
    let names = ["certificate_for_another_host_is_a_tls_error"];
    assert_caught(
        &names,
        &backend_with_settings(|builder| builder.danger_accept_invalid_hostnames(true)),
    );
}

#[test]
fn truncated_bodies_are_caught() {
    let ignore_errors = || {
        |session, request| -> BoxFuture<'static, Answer> {
            Box::pin(async move {
                let response = send(session, request).await?;
                Ok(response.map(|body| Body::wrap(IgnoreErrors(body))))
            })
        }
    };
    let names = [
        "early_close_in_a_sized_body_is_an_incomplete_error",
        "early_close_in_a_chunked_body_is_an_incomplete_error",
        "reset_in_a_sized_body_is_an_incomplete_error",
        "reset_in_a_chunked_body_is_an_incomplete_error",
        "chunk_sizes_without_a_leading_digit_are_protocol_errors",
        "sized_body_cut_anywhere_is_an_incomplete_error",
        "chunked_body_cut_anywhere_is_an_incomplete_error",
        "end_within_the_trailers_is_an_incomplete_error",
    ];
    assert_caught(&names, &tampered_backend(ignore_errors));
}

/// A body that ends at an error instead of returning the error.
struct IgnoreErrors(Body);

impl HttpBody for IgnoreErrors {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = Pin::new(&mut self.0).poll_frame(cx);
        polled.map(|frame| frame.filter(Result::is_ok))
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

#[test]
fn accepted_invalid_responses_are_caught() {
    let lenient = || {
        |session, request| -> BoxFuture<'static, Answer> {
            Box::pin(async move {
                match send(session, request).await {
                    Err(_) => Ok(Response::new(Body::empty())),
                    answer => answer,
                }
            })
        }
    };
    let names = [
        "garbage_is_a_protocol_error",
        "lone_cr_in_a_head_is_a_protocol_error",
        "more_than_a_hundred_fields_are_a_protocol_error",
        "lengths_that_differ_are_protocol_errors",
        "codings_other_than_chunked_are_protocol_errors",
        "switching_protocols_is_a_protocol_error",
        "head_cut_anywhere_is_an_incomplete_error",
    ];
    assert_caught(&names, &tampered_backend(lenient));
}

#[test]
fn refused_valid_responses_are_caught() {
    let strict = || {
        |session, request| -> BoxFuture<'static, Answer> {
            Box::pin(async move {
                let answer = send(session, request).await?;
                match answer.headers().len() {
                    ..=1 => Err(Error::new(ErrorKind::Protocol)),
                    _ => Ok(answer),
                }
            })
        }
    };
    let names = [
        "reason_may_be_anything_or_missing",
        "lines_of_a_head_may_end_in_lf_alone",
        "chunk_extensions_are_skipped",
        "ten_interim_responses_are_skipped",
    ];
    assert_caught(&names, &tampered_backend(strict));
}

#[test]
fn responses_to_dropped_requests_are_caught() {
    let names = [
        "response_to_a_dropped_request_is_never_returned",
        "rest_of_a_dropped_body_is_never_returned",
    ];
    assert_caught(&names, &tampered_backend(reuse_dropped_responses));
}

/// Returns a function that returns the response to a dropped request as the response to the next
/// request.
fn reuse_dropped_responses() -> impl Fn(Session, Request<Body>) -> BoxFuture<'static, Answer> {
    let left_behind: Arc<Mutex<Option<Response<Body>>>> = Arc::default();
    move |session, request| {
        let left_behind = left_behind.clone();
        Box::pin(async move {
            if let Some(stale) = left_behind.lock().unwrap().take() {
                return Ok(stale);
            }
            let (sender, answer) = async_channel::bounded(1);
            let (runtime, pool) = (session.runtime().clone(), left_behind.clone());
            Task::spawn(&runtime, async move {
                let sent = sender.send(send(session, request).await).await;
                if let Err(unwanted) = sent {
                    *pool.lock().unwrap() = unwanted.into_inner().ok();
                }
            })
            .detach();
            let lost = |_| Error::new(ErrorKind::Cancelled);
            let response = answer.recv().await.map_err(lost)??;
            Ok(response.map(|body| {
                let (body, pool) = (Some(body), left_behind);
                Body::wrap(LeftoverBody { body, pool })
            }))
        })
    }
}

/// A body that becomes the response to the next request if it is dropped before its end.
struct LeftoverBody {
    body: Option<Body>,
    pool: Arc<Mutex<Option<Response<Body>>>>,
}

impl HttpBody for LeftoverBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None)) {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }
}

impl Drop for LeftoverBody {
    fn drop(&mut self) {
        let body = self.body.take().filter(|body| !body.is_end_stream());
        if let Some(body) = body {
            *self.pool.lock().unwrap() = Some(Response::new(body));
        }
    }
}

#[test]
fn exchanges_that_outlive_dropped_requests_are_caught() {
    let names = [
        "dropping_a_request_closes_its_connection",
        "dropping_a_body_closes_its_connection",
        "dropped_request_closes_its_connection_by_its_deadline",
        "dropped_body_closes_its_connection_by_its_deadline",
        "timed_out_request_closes_its_connection",
        "dropping_a_gather_cancels_its_requests",
        "dropping_a_gather_cancels_its_tasks",
        "until_returns_finished_results",
        "first_cancels_the_other_requests",
        "all_cancels_the_other_requests_after_a_failure",
    ];
    assert_caught(&names, &tampered_backend(|| send_in_background));
}

/// Runs the exchange in a task, which completes it even if the request is dropped.
fn send_in_background(session: Session, request: Request<Body>) -> BoxFuture<'static, Answer> {
    let (head, answer) = async_channel::bounded(1);
    let runtime = session.runtime().clone();
    Task::spawn(&runtime, async move {
        let (sender, chunks) = async_channel::unbounded();
        match send(session, request).await {
            Err(error) => drop(head.send(Err(error)).await),
            Ok(response) => {
                let (parts, mut body) = response.into_parts();
                let streamed = Response::from_parts(parts, Body::from_stream(chunks));
                let _ = head.send(Ok(streamed)).await;
                while let Some(chunk) = body.chunk().await.transpose() {
                    let _ = sender.send(chunk).await;
                }
            }
        }
    })
    .detach();
    Box::pin(async move {
        let lost = |_| Error::new(ErrorKind::Cancelled);
        answer.recv().await.map_err(lost)?
    })
}

#[test]
fn requests_sent_twice_are_caught() {
    let resending = || {
        |session: Session, request: Request<Body>| -> BoxFuture<'static, Answer> {
            Box::pin(async move {
                let (parts, body) = request.into_parts();
                let bytes = body.as_bytes().cloned().unwrap_or_default();
                let again = Request::from_parts(parts.clone(), Body::from(bytes));
                match send(session.clone(), Request::from_parts(parts, body)).await {
                    Err(error) if error.kind() == ErrorKind::Incomplete => {
                        send(session, again).await
                    }
                    answer => answer,
                }
            })
        }
    };
    let names = ["post_on_a_connection_that_ends_is_not_resent"];
    assert_caught(&names, &tampered_backend(resending));
}

#[test]
fn buffered_bodies_are_caught() {
    let buffering = || {
        |session, request| -> BoxFuture<'static, Answer> {
            Box::pin(async move {
                let (parts, body) = send(session, request).await?.into_parts();
                let bytes = body.collect(u64::MAX).await?;
                Ok(Response::from_parts(parts, Body::from(bytes)))
            })
        }
    };
    let names = [
        "response_is_returned_before_its_body_arrives",
        "sized_body_is_streamed",
        "chunked_body_is_streamed",
        "unread_body_blocks_the_sender",
    ];
    assert_caught(&names, &tampered_backend(buffering));
}

#[test]
fn buffered_uploads_are_caught() {
    let eager = || {
        |session, request: Request<Body>| -> BoxFuture<'static, Answer> {
            Box::pin(async move {
                let (parts, body) = request.into_parts();
                let bytes = body.collect(u64::MAX).await?;
                send(session, Request::from_parts(parts, bytes.into())).await
            })
        }
    };
    let names = [
        "upload_is_sent_while_it_is_produced",
        "unread_upload_blocks_the_producer",
    ];
    assert_caught(&names, &tampered_backend(eager));
}

#[test]
fn added_headers_and_status_errors_are_caught() {
    let adding = || {
        |session, mut request: Request<Body>| -> BoxFuture<'static, Answer> {
            let agent = HeaderValue::from_static("adding");
            request.headers_mut().insert("user-agent", agent);
            Box::pin(async move {
                let response = send(session, request).await?;
                match response.status() {
                    status if status.as_u16() >= 400 => Err(Error::status(status)),
                    _ => Ok(response),
                }
            })
        }
    };
    let names = [
        "only_required_headers_are_added",
        "user_agent_and_accept_of_the_caller_are_sent_once",
        "registered_statuses_are_returned_as_responses",
        "status_line_without_a_reason_is_accepted",
    ];
    assert_caught(&names, &tampered_backend(adding));
}
