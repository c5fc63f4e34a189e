//! A multipart form: `multer` reads the parts that a session sends.
#![no_main]

use std::sync::Mutex;

use arbitrary::Arbitrary;
use bytes::Bytes;
use futures_lite::stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{Request, Response};
use inflight_core::{BlockOn, Body, ErrorKind, Multipart, Part, Session};
use inflight_fuzz::{session, split};
use inflight_virtual::Virtual;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Clone, Debug)]
struct FormPart {
    name: String,
    file_name: Option<String>,
    content_type: Option<String>,
    content: Vec<u8>,
    /// The length of the chunks of a body of unknown length, or `None` for bytes.
    stream: Option<u8>,
}

static SENT: Mutex<Option<Request<Body>>> = Mutex::new(None);

thread_local! {
    static CLIENT: (Virtual, Session) = {
        let runtime = Virtual::new();
        let session = session(&runtime, |request| {
            *SENT.lock().expect("no panic") = Some(request);
            Response::new(Body::empty())
        });
        let session = session.build().expect("the options are valid");
        (runtime, session)
    };
}

fuzz_target!(|parts: Vec<FormPart>| {
    CLIENT.with(|(runtime, session)| runtime.block_on(check(session, parts)));
});

async fn check(session: &Session, parts: Vec<FormPart>) {
    if !parts.iter().all(is_readable) {
        return;
    }
    let form = parts.iter().fold(Multipart::new(), |form, part| {
        form.part(part.name.clone(), to_part(part))
    });
    let (parts_of_request, sent) = match send(session, form).await {
        Ok(sent) => sent,
        Err(kind) => {
            assert_eq!(kind, ErrorKind::InvalidRequest);
            let is_invalid = |part: &FormPart| {
                let value = part.content_type.as_deref();
                value.is_some_and(|value| http::HeaderValue::from_str(value).is_err())
            };
            assert!(parts.iter().any(is_invalid), "a valid form was refused");
            return;
        }
    };
    let content_type = parts_of_request.headers[CONTENT_TYPE]
        .to_str()
        .expect("ASCII");
    if let Some(length) = parts_of_request.headers.get(CONTENT_LENGTH) {
        assert_eq!(length, sent.len().to_string().as_str());
    }
    let boundary = multer::parse_boundary(content_type).expect("there is a boundary");
    let body = stream::iter([Ok::<_, std::io::Error>(sent)]);
    let mut received = multer::Multipart::new(body, boundary);
    for part in &parts {
        let field = received.next_field().await.expect("the form is valid");
        let field = field.expect("no part is missing");
        assert_eq!(field.name(), Some(&*escaped(&part.name)));
        let file_name = part.file_name.as_deref().map(escaped);
        assert_eq!(field.file_name(), file_name.as_deref());
        assert_eq!(
            field.bytes().await.expect("the part is whole"),
            part.content
        );
    }
    assert!(
        received
            .next_field()
            .await
            .expect("the form is valid")
            .is_none()
    );
}

/// Returns whether `multer` can read the names of the part. It refuses control characters, which the HTML Standard
/// leaves in names, and reads a backslash as the start of an escape sequence.
fn is_readable(part: &FormPart) -> bool {
    let names = [Some(&part.name), part.file_name.as_ref()];
    let is_plain = |c: char| matches!(c, '\r' | '\n') || !c.is_ascii_control() && c != '\\';
    names
        .into_iter()
        .flatten()
        .all(|name| name.chars().all(is_plain))
}

async fn send(
    session: &Session,
    form: Multipart,
) -> Result<(http::request::Parts, Bytes), ErrorKind> {
    let sent = session
        .post("http://pages.test/")
        .multipart(form)
        .send()
        .await;
    sent.map_err(|error| error.kind())?;
    let request = SENT.lock().expect("no panic").take().expect("it was sent");
    let (parts, body) = request.into_parts();
    let body = body.collect(u64::MAX).await.expect("the body can be read");
    Ok((parts, body))
}

fn to_part(part: &FormPart) -> Part {
    let mut to_send = match part.stream {
        None => Part::new(part.content.clone()),
        Some(len) => {
            let chunks = split(&part.content, len);
            let chunks = stream::iter(chunks.into_iter().map(Ok::<_, std::io::Error>));
            Part::new(Body::from_stream(chunks))
        }
    };
    if let Some(name) = &part.file_name {
        to_send = to_send.file_name(name.clone());
    }
    if let Some(media_type) = &part.content_type {
        to_send = to_send.content_type(media_type.clone());
    }
    to_send
}

/// Returns a name as the HTML Standard escapes it (4.10.21.8).
fn escaped(name: &str) -> String {
    let escape = |c| match c {
        '"' => "%22".to_owned(),
        '\r' => "%0D".to_owned(),
        '\n' => "%0A".to_owned(),
        c => c.to_string(),
    };
    name.chars().map(escape).collect()
}
