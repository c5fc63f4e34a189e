//! Gathers and sessions whose futures are probed under a label.

use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_util::StreamExt;
use futures_util::stream;
use inflight_core::bytes::Bytes;
use inflight_core::gather::Gather;
use inflight_core::http_body::{self, Frame, SizeHint};
use inflight_core::{AnyClient, Body, BoxFuture, Capabilities, Error, Fetch, http};

use crate::probed::{Probed, Timer};
use crate::site::Site;

/// Gathers jobs as [`inflight_core::gather()`] does, and [probes](crate::FutureExt::probed) each of
/// them under this label. Reports name the location of this call.
///
/// ```
/// # futures_lite::future::block_on(async {
/// let squares = inflight_probe::gather("square", (1..=3).map(|n| async move { Ok::<_, ()>(n * n) }))
///     .limit(2)
///     .all()
///     .await
///     .unwrap();
/// assert_eq!(squares, [1, 4, 9]);
/// # });
/// ```
#[track_caller]
pub fn gather<I, T, E>(
    label: &'static str,
    jobs: I,
) -> Gather<impl Stream<Item = Probed<I::Item>> + use<I, T, E>>
where
    I: IntoIterator,
    I::Item: Future<Output = Result<T, E>>,
{
    gather_stream(label, stream::iter(jobs))
}

/// Gathers jobs from a stream as [`inflight_core::gather_stream`] does, and
/// [probes](crate::FutureExt::probed) each of them under this label.
///
/// ```
/// use futures_lite::stream::{self, StreamExt};
/// use inflight_probe::gather_stream;
///
/// # futures_lite::future::block_on(async {
/// let jobs = stream::iter(1..).map(|n| async move { Ok::<_, ()>(n * n) });
/// let squares = gather_stream("square", jobs).limit(3).completed();
/// let first: Vec<_> = squares.map(|(_, square)| square.unwrap()).take(3).collect().await;
/// assert_eq!(first, [1, 4, 9]);
/// # });
/// ```
#[track_caller]
pub fn gather_stream<S, T, E>(
    label: &'static str,
    jobs: S,
) -> Gather<impl Stream<Item = Probed<S::Item>> + use<S, T, E>>
where
    S: Stream,
    S::Item: Future<Output = Result<T, E>>,
{
    let site = Site::of(label, Location::caller());
    inflight_core::gather_stream(jobs.map(move |job| Probed::at(job, site)))
}

/// Returns a wrapper for [`SessionBuilder::wrap`](inflight_core::SessionBuilder::wrap) that
/// [probes](crate::FutureExt::probed) every exchange of the session under this label, including
/// the reads of the response body. Reports name the location of this call.
///
/// The probe covers what the client does in the task that awaits the response, for example a
/// blocking client behind [`Inline`](inflight_core::Inline). It does not cover what a client does
/// in its own tasks or threads. For example, hyper runs a task for each HTTP/2 connection.
///
/// ```
/// use std::sync::Arc;
///
/// use inflight_core::{BlockOn, Session};
/// use inflight_probe::{exchanges, poll_stats};
/// use inflight_smol::Smol;
/// # use inflight_core::{Body, Capabilities, Error, Fetch, http};
/// # struct Echo;
/// # impl Fetch for Echo {
/// #     async fn fetch(&self, request: http::Request<Body>) -> Result<http::Response<Body>, Error> {
/// #         Ok(http::Response::new(Body::from(request.uri().path().to_owned())))
/// #     }
/// #     fn capabilities(&self) -> Capabilities {
/// #         Capabilities::all("echo")
/// #     }
/// # }
///
/// let smol = Smol::global();
/// # let runtime = smol.clone();
/// // `Echo` is a client whose response body is the path.
/// let session = Session::builder(|_options| Ok((Echo, Arc::new(runtime))))
///     .wrap(exchanges("pages"))
///     .build()?;
/// smol.block_on(session.get("http://pages.test/1").text())?;
/// let pages = poll_stats().into_iter().find(|stats| stats.label == "pages").unwrap();
/// assert_eq!(pages.polls.len(), 1);
/// # Ok::<(), Error>(())
/// ```
#[track_caller]
pub fn exchanges(label: &'static str) -> impl FnOnce(AnyClient) -> Exchanges + Send + 'static {
    let site = Site::of(label, Location::caller());
    move |client| Exchanges { client, site }
}

/// A client whose exchanges are probed. Created by [`exchanges`].
///
/// For an example, see [`exchanges`].
#[derive(Debug)]
pub struct Exchanges {
    client: AnyClient,
    site: &'static Site,
}

impl Fetch for Exchanges {
    async fn fetch(&self, request: http::Request<Body>) -> Result<http::Response<Body>, Error> {
        let exchange = self.client.fetch(request);
        let response = Probed::at(exchange, self.site).await?;
        Ok(response.map(|body| match body.as_bytes() {
            Some(_) => body,
            None => Body::wrap(ProbedBody {
                body,
                timer: Timer::new(self.site),
            }),
        }))
    }

    fn capabilities(&self) -> Capabilities {
        self.client.capabilities()
    }

    fn ended(&self) -> BoxFuture<'static, ()> {
        self.client.ended()
    }
}

struct ProbedBody {
    body: Body,
    timer: Timer,
}

impl http_body::Body for ProbedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Self { body, timer } = self.get_mut();
        timer.time(cx, |cx| Pin::new(body).poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
