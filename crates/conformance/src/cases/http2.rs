//! HTTP/2: refused and truncated streams, GOAWAY, unread bodies and large heads.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use inflight_core::http::{Method, Version};
use inflight_core::{ErrorKind, HttpVersions, Session, gather};
use inflight_origin::payload::page;
use macro_rules_attribute::apply;

use crate::case::case;
use crate::check::{Result, check_equal, check_error, check_text};
use crate::context::{Context, EVENT_TIMEOUT, within};
use crate::http2::{Http2Peer, Http2Request, Http2Server, NO_ERROR, REFUSED_STREAM};
use crate::servers::start_trusted_origin_with;

const REQUESTS: usize = 80;

/// Returns a session that prefers HTTP/2 and trusts this certificate.
fn trusting_session(context: &Context, certificate: &str) -> Result<Session> {
    let builder = context.builder().http_versions(HttpVersions::PreferHttp2);
    Ok(builder.add_root_certificate(certificate).build()?)
}

/// If the server sends GOAWAY after five requests on each connection, none of 80 GETs at once
/// fails.
#[apply(case!)]
#[needs(http2)]
async fn requests_after_a_goaway_are_resent(context: Context) -> Result {
    check_none_fails(&context, &[Method::GET], goaway_after_five_requests).await
}

/// If the server sends GOAWAY after five requests on each connection, none of 40 GETs and 40 POSTs
/// at once fails, and no POST is processed twice.
#[apply(case!)]
#[needs(http2, http2_unprocessed)]
async fn posts_after_a_goaway_are_resent(context: Context) -> Result {
    let methods = [Method::GET, Method::POST];
    check_none_fails(&context, &methods, goaway_after_five_requests).await
}

fn goaway_after_five_requests(processed: &AtomicUsize, peer: &mut Http2Peer) -> io::Result<()> {
    // The id of the client's fifth stream: the ids are 1, 3, 5 and so on. The requests may be complete
    // in any order.
    const LAST: u32 = 9;
    let mut left = 5;
    while left > 0 {
        let Some(request) = peer.next_request()? else {
            return Ok(());
        };
        if request.stream > LAST {
            continue;
        }
        left -= 1;
        if left == 0 {
            peer.go_away(LAST, NO_ERROR)?;
        }
        processed.fetch_add(usize::from(request.has_body), Ordering::SeqCst);
        peer.answer(request.stream, "processed")?;
    }
    peer.read_to_close()
}

/// If the server refuses one of every three streams, none of 80 GETs at once fails.
#[apply(case!)]
#[needs(http2)]
async fn refused_streams_are_resent(context: Context) -> Result {
    check_none_fails(&context, &[Method::GET], |processed, peer| {
        refuse_some_streams(processed, peer, 1)
    })
    .await
}

/// If the server refuses two of every three streams, none of 40 GETs and 40 POSTs at once fails,
/// and no POST is processed twice.
#[apply(case!)]
#[needs(http2, http2_unprocessed)]
async fn posts_on_refused_streams_are_resent(context: Context) -> Result {
    let methods = [Method::GET, Method::POST];
    check_none_fails(&context, &methods, |processed, peer| {
        refuse_some_streams(processed, peer, 2)
    })
    .await
}

/// Refuses `refused` of every three streams.
fn refuse_some_streams(
    processed: &AtomicUsize,
    peer: &mut Http2Peer,
    refused: usize,
) -> io::Result<()> {
    let mut streams = 0;
    while let Some(request) = peer.next_request()? {
        streams += 1;
        if streams % 3 < refused {
            peer.reset(request.stream, REFUSED_STREAM)?;
            continue;
        }
        processed.fetch_add(usize::from(request.has_body), Ordering::SeqCst);
        peer.answer(request.stream, "processed")?;
    }
    Ok(())
}

/// Sends many requests and checks the responses. `serve` counts the POSTs that it processes. It
/// does not count GETs, because a client may resend a GET that was processed (RFC 9110, section
/// 9.2.2).
async fn check_none_fails(
    context: &Context,
    methods: &[Method],
    serve: fn(&AtomicUsize, &mut Http2Peer) -> io::Result<()>,
) -> Result {
    let processed = Arc::new(AtomicUsize::new(0));
    let counter = processed.clone();
    let server = Http2Server::start(move |peer| serve(&counter, peer))?;
    let session = trusting_session(context, &server.certificate())?;
    let mut requests = Vec::with_capacity(REQUESTS);
    for method in methods.iter().cycle().take(REQUESTS) {
        let request = session.request(method.clone(), server.url("/"));
        requests.push(match *method {
            Method::POST => request.body("once").text(),
            _ => request.text(),
        });
    }
    for page in gather(requests).settled().await.results {
        check_equal("a body", page?, "processed")?;
    }
    let posts = match methods.contains(&Method::POST) {
        true => REQUESTS / methods.len(),
        false => 0,
    };
    check_equal("POSTs processed", processed.load(Ordering::SeqCst), posts)
}

/// If GOAWAY arrives after the head of a response and names the response's stream as the last one,
/// the response is received completely.
#[apply(case!)]
#[needs(http2)]
async fn response_is_complete_despite_a_later_goaway(context: Context) -> Result {
    let server = Http2Server::start(|peer| {
        let Some(Http2Request { stream, .. }) = peer.next_request()? else {
            return Ok(());
        };
        peer.send_head(stream)?;
        peer.go_away(stream, NO_ERROR)?;
        peer.send_data(stream, "wh", false)?;
        peer.send_data(stream, "ole", true)?;
        peer.read_to_close()
    })?;
    let session = trusting_session(&context, &server.certificate())?;
    for _ in 0..3 {
        check_text(session.get(server.url("/")), "whole").await?;
    }
    Ok(())
}

/// If the connection ends after any frame of an unfinished response, the response is an error of
/// the kind incomplete.
#[apply(case!)]
#[needs(http2)]
async fn response_cut_anywhere_is_an_incomplete_error(context: Context) -> Result {
    check_cut_response(&context, false).await
}

/// If RST_STREAM with NO_ERROR follows any frame of an unfinished response, the response is an
/// error of the kind incomplete.
#[apply(case!)]
#[needs(http2, http2_resets)]
async fn response_reset_with_no_error_is_an_incomplete_error(context: Context) -> Result {
    check_cut_response(&context, true).await
}

async fn check_cut_response(context: &Context, by_reset: bool) -> Result {
    // The server sends no frame, only the head, or the head and one or two chunks.
    for frames in 0..4 {
        let server = Http2Server::start(move |peer| {
            while let Some(Http2Request { stream, .. }) = peer.next_request()? {
                for frame in 0..frames {
                    match frame {
                        0 => peer.send_head(stream)?,
                        _ => peer.send_data(stream, "chunk", false)?,
                    }
                }
                if !by_reset {
                    break;
                }
                peer.reset(stream, NO_ERROR)?;
            }
            Ok(())
        })?;
        // Each request has a new session, because a GET on a reused connection is resent.
        for _ in 0..2 {
            let session = trusting_session(context, &server.certificate())?;
            let text = session.get(server.url("/")).text().await;
            check_error(&format!("{frames} frames"), text, &[ErrorKind::Incomplete])?;
        }
    }
    Ok(())
}

/// RST_STREAM with NO_ERROR after the end of the response stops only the upload (RFC 9113, 8.1).
#[apply(case!)]
#[needs(http2)]
async fn reset_after_a_complete_response_is_not_an_error(context: Context) -> Result {
    let server = Http2Server::start(|peer| {
        while let Some(Http2Request { stream, .. }) = peer.next_request()? {
            peer.answer(stream, "whole")?;
            peer.reset(stream, NO_ERROR)?;
        }
        Ok(())
    })?;
    let session = trusting_session(&context, &server.certificate())?;
    for method in [Method::GET, Method::PUT] {
        check_text(session.request(method, server.url("/")), "whole").await?;
    }
    Ok(())
}

/// While twenty responses of a MiB each are unread, another request succeeds.
#[apply(case!)]
#[needs(http2)]
async fn unread_bodies_do_not_block_other_requests(context: Context) -> Result {
    let (origin, builder) = start_trusted_origin_with(context.builder(), true)?;
    let session = builder.build()?;
    let mut unread = Vec::new();
    for seed in 0..20 {
        let url = origin.url(&format!("/bytes/1048576?seed={seed}"));
        unread.push(session.get(url).send().await?);
    }
    let page = check_text(session.get(origin.url("/page/1")), page(1));
    within("the response to another request", EVENT_TIMEOUT, page).await??;
    for response in unread {
        check_equal("an unread body", response.bytes().await?.len(), 1 << 20)?;
    }
    check_equal("connections", origin.stats().connections_accepted, 1)
}

/// A head of 60 KiB, in HEADERS and CONTINUATION frames, is read completely.
#[apply(case!)]
#[needs(http2)]
async fn head_of_sixty_kib_is_read(context: Context) -> Result {
    let server = Http2Server::start(|peer| {
        while let Some(request) = peer.next_request()? {
            peer.send_large_head(request.stream, 60)?;
        }
        Ok(())
    })?;
    let session = trusting_session(&context, &server.certificate())?;
    let response = session.get(server.url("/")).send().await?;
    check_equal("fields", response.headers().get_all("x").iter().count(), 60)
}

/// A head of 100 KiB or of a MiB is an error of the kind protocol, and the next request succeeds.
#[apply(case!)]
#[needs(http2)]
async fn head_over_the_limit_is_a_protocol_error(context: Context) -> Result {
    for fields in [100, 1000] {
        let has_failed = Arc::new(AtomicBool::new(false));
        let is_next = has_failed.clone();
        let server = Http2Server::start(move |peer| {
            while let Some(request) = peer.next_request()? {
                match is_next.load(Ordering::SeqCst) {
                    true => peer.answer(request.stream, "next")?,
                    // A client may close the connection before it has read the whole head.
                    false => drop(peer.send_large_head(request.stream, fields)),
                }
            }
            Ok(())
        })?;
        let session = trusting_session(&context, &server.certificate())?;
        let head = session.get(server.url("/")).send().await;
        check_error("the head", head, &[ErrorKind::Protocol])?;
        has_failed.store(true, Ordering::SeqCst);
        check_text(session.get(server.url("/")), "next").await?;
    }
    Ok(())
}

/// Each of five hundred requests at once, more than a connection has streams, gets its own
/// response.
#[apply(case!)]
#[needs(http2)]
async fn more_requests_than_streams_succeed(context: Context) -> Result {
    let (origin, builder) = start_trusted_origin_with(context.builder(), true)?;
    let session = builder.build()?;
    let pages = (0..500).map(|n| {
        let request = session.get(origin.url(&format!("/page/{n}?delay_ms=20")));
        async move {
            let response = request.send().await?;
            let version = response.version();
            Ok::<_, inflight_core::Error>((version, response.text().await?))
        }
    });
    let pages = gather(pages).settled().await.results;
    for (n, answer) in (0..).zip(pages) {
        let (version, text) = answer?;
        check_equal("the version", version, Version::HTTP_2)?;
        check_equal("the text", text, page(n))?;
    }
    Ok(())
}
