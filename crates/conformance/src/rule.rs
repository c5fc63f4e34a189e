//! One verdict on what a server may send: a case that is a row of a table.

use std::sync::Arc;

use inflight_core::{Capabilities, Error, ErrorKind, Response, Session};

use crate::case::{Need, need};
use crate::check::{Failure, check, equal, fails, with_causes};
use crate::context::{Context, PATIENCE, within};
use crate::servers::values;
use crate::staged::Staged;

/// What is made of an answer that a server may send, on every client alike.
///
/// A [`Case`](crate::Case) that has one plays each of its replies to a request of its own.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Rule {
    pub(crate) name: &'static str,
    pub(crate) promise: &'static str,
    /// What it is about, as in `lengths`.
    pub subject: &'static str,
    /// The RFC and the section that it rests on.
    pub source: &'static str,
    /// Why this side was taken, where the RFC leaves room.
    pub reason: Option<&'static str>,
    pub(crate) ruling: Ruling,
    pub(crate) needs: &'static [Need],
    /// A client without this capability may refuse it, or refuse it with another kind.
    pub(crate) or: Option<(Need, ErrorKind)>,
    /// Whether a client may find nothing wrong, so that it is the session that refuses or the
    /// adapter that retires the connection.
    pub(crate) late: bool,
    pub(crate) replies: fn() -> Vec<Reply>,
}

/// What a client does in the place of a [`Rule`]'s verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deviation {
    /// The client's own reason.
    pub reason: &'static str,
    /// What is left of the verdict.
    pub instead: Instead,
}

/// What is left of a [`Rule`]'s verdict where a client deviates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Instead {
    /// Nothing: the rule is not played to this client.
    Anything,
    /// The verdict, or an error of this kind.
    Kind(ErrorKind),
    /// The verdict, but the connection may be used again.
    Kept,
}

/// The verdict.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ruling {
    /// An error of this kind; the connection is closed.
    Refused(ErrorKind),
    Accepted(Accepted),
}

/// A success with these bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Accepted {
    pub(crate) status: u16,
    pub(crate) body: &'static str,
    /// Among the response's fields are these.
    pub(crate) fields: &'static [(&'static str, &'static str)],
    pub(crate) connection: Connection,
}

/// What becomes of the connection behind an accepted response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connection {
    /// It may carry the next request.
    Kept,
    /// It carries no other request.
    Closed,
}

/// What the server sends, and then.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) bytes: Vec<u8>,
    pub(crate) to_head: bool,
    pub(crate) closes: bool,
}

impl<T: Into<Vec<u8>>> From<T> for Reply {
    fn from(bytes: T) -> Self {
        Self {
            bytes: bytes.into(),
            to_head: false,
            closes: false,
        }
    }
}

impl Reply {
    /// The answer to a HEAD.
    pub(crate) fn for_head(mut self) -> Self {
        self.to_head = true;
        self
    }

    /// The server closes the connection behind it.
    pub(crate) fn and_close(mut self) -> Self {
        self.closes = true;
        self
    }
}

impl Rule {
    pub(crate) const fn refused(
        kind: ErrorKind,
        (subject, name): (&'static str, &'static str),
        promise: &'static str,
        source: &'static str,
        replies: fn() -> Vec<Reply>,
    ) -> Self {
        Self {
            name,
            promise,
            subject,
            source,
            reason: None,
            ruling: Ruling::Refused(kind),
            needs: &[],
            or: None,
            late: false,
            replies,
        }
    }

    pub(crate) const fn accepted(
        accepted: Accepted,
        names: (&'static str, &'static str),
        promise: &'static str,
        source: &'static str,
        replies: fn() -> Vec<Reply>,
    ) -> Self {
        Self {
            ruling: Ruling::Accepted(accepted),
            ..Self::refused(ErrorKind::Protocol, names, promise, source, replies)
        }
    }

    pub(crate) const fn because(self, reason: &'static str) -> Self {
        Self {
            reason: Some(reason),
            ..self
        }
    }

    pub(crate) const fn needs(self, needs: &'static [Need]) -> Self {
        Self { needs, ..self }
    }

    pub(crate) const fn or(self, without: Need, kind: ErrorKind) -> Self {
        Self {
            or: Some((without, kind)),
            ..self
        }
    }

    pub(crate) const fn late(self) -> Self {
        Self { late: true, ..self }
    }

    /// How a client with these capabilities deviates, if it does, and why.
    #[must_use]
    pub fn deviation(&self, capabilities: &Capabilities) -> Option<Deviation> {
        let lacking = |need: Need| need(capabilities).reason();
        if let Some(reason) = self.needs.iter().find_map(|need| lacking(*need)) {
            return Some(Deviation {
                reason,
                instead: Instead::Anything,
            });
        }
        if let Some((need, kind)) = self.or
            && let Some(reason) = lacking(need)
        {
            return Some(Deviation {
                reason,
                instead: Instead::Kind(kind),
            });
        }
        if self.late {
            return lacking(need::retired_connections).map(|reason| Deviation {
                reason,
                instead: Instead::Kept,
            });
        }
        None
    }

    /// The verdict in a word or two: a kind of error, or `accepted`.
    #[must_use]
    pub fn verdict(&self) -> String {
        match self.ruling {
            Ruling::Refused(kind) => format!("`{kind}`"),
            Ruling::Accepted(_) => "accepted".to_owned(),
        }
    }

    /// Whether the connection may carry another request.
    #[must_use]
    pub fn keeps_connection(&self) -> bool {
        matches!(
            self.ruling,
            Ruling::Accepted(Accepted {
                connection: Connection::Kept,
                ..
            })
        )
    }

    pub(crate) async fn play(&'static self, context: Context) -> Result<(), Failure> {
        let replies = Arc::new((self.replies)());
        let (ended, connections) = async_channel::unbounded();
        let sent = replies.clone();
        let server = Staged::start(move |mut stage| {
            let mut served = Vec::new();
            while let Ok(target) = stage.read_head() {
                let n = target[1..].parse().unwrap_or(usize::MAX);
                served.push(n);
                let Some(reply) = sent.get(n) else { break };
                // A client that refuses a reply may be gone before its end.
                let _ = stage.send(&reply.bytes);
                if reply.closes {
                    return Ok(());
                }
            }
            // The case may have failed already.
            let _ = ended.send_blocking(served);
            Ok(())
        })?;
        let play = Play {
            rule: self,
            session: context.session()?,
            capabilities: &context.capabilities,
            server,
            connections,
        };
        for (n, reply) in replies.iter().enumerate() {
            play.reply(n, reply).await?;
        }
        Ok(())
    }
}

/// A rule, played.
struct Play<'a> {
    rule: &'static Rule,
    session: Session,
    capabilities: &'a Capabilities,
    server: Staged,
    /// The requests on each connection that the client has ended.
    connections: async_channel::Receiver<Vec<usize>>,
}

impl Play<'_> {
    async fn reply(&self, n: usize, reply: &Reply) -> Result<(), Failure> {
        let accepted = self.exchange(n, reply).await?;
        if reply.closes {
            return Ok(());
        }
        let keeps = accepted && self.rule.keeps_connection();
        let retires = !self.rule.late || self.capabilities.retired_connections.is_yes();
        if keeps && self.capabilities.connection_reuse.is_yes() {
            self.is_kept(n, reply).await?;
        } else if !keeps && retires {
            self.is_retired(n, reply).await?;
        }
        Ok(())
    }

    /// Whether the reply was accepted, by the verdict.
    async fn exchange(&self, n: usize, reply: &Reply) -> Result<bool, Failure> {
        let what = shown(&reply.bytes);
        let url = self.server.url(&format!("/{n}"));
        let answer = exchange(&self.session, reply, &url).await;
        let mut kinds = match self.rule.ruling {
            Ruling::Refused(kind) => vec![kind],
            Ruling::Accepted(_) => Vec::new(),
        };
        if let Some((need, kind)) = self.rule.or
            && !need(self.capabilities).is_yes()
        {
            kinds.push(kind);
        }
        match (self.rule.ruling, answer) {
            (Ruling::Accepted(wanted), Ok((response, body))) => {
                equal(&what, response.status().as_u16(), wanted.status)?;
                equal(&what, &*body, wanted.body)?;
                for (name, value) in wanted.fields {
                    equal(name, values(&response, name), [value.as_bytes()])?;
                }
                Ok(true)
            }
            (Ruling::Accepted(_), Err(error)) if kinds.is_empty() => {
                let error = with_causes(&error);
                Err(Failure::new(format!("{what}: {error}")))
            }
            (_, answer) => {
                let answer = answer.map(|(response, body)| (response.status(), body));
                fails(&what, answer, &kinds).map(|_| false)
            }
        }
    }

    /// A connection may come back to its pool a moment after its body was read, so one request of
    /// a few has to meet it.
    async fn is_kept(&self, n: usize, reply: &Reply) -> Result<(), Failure> {
        const TRIES: usize = 5;
        let before = self.server.connections();
        for _ in 0..TRIES {
            self.exchange(n, reply).await?;
        }
        let what = shown(&reply.bytes);
        check(
            self.server.connections() - before < TRIES,
            format!("a connection for each {what}"),
        )
    }

    /// The client closes the connection. Where that may take it a while, it uses it no more.
    async fn is_retired(&self, n: usize, reply: &Reply) -> Result<(), Failure> {
        let what = shown(&reply.bytes);
        if self.rule.late || !self.capabilities.prompt_cancel.is_yes() {
            let before = self.server.connections();
            self.exchange(n, reply).await?;
            let after = self.server.connections();
            return check(after > before, format!("{what} and another request"));
        }
        let gone = async {
            while let Ok(served) = self.connections.recv().await {
                if served.contains(&n) {
                    return Some(served);
                }
            }
            None
        };
        let served = within(&format!("the end behind {what}"), PATIENCE, gone).await?;
        equal("the requests on a connection", served, Some(vec![n]))
    }
}

/// The response without its body, and the body.
async fn exchange(
    session: &Session,
    reply: &Reply,
    url: &str,
) -> Result<(Response, String), Error> {
    let request = match reply.to_head {
        true => session.head(url),
        false => session.get(url),
    };
    let mut response = request.send().await?;
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await? {
        body.extend_from_slice(&piece);
    }
    Ok((response, String::from_utf8_lossy(&body).into_owned()))
}

/// The reply as text, short enough to be read.
fn shown(bytes: &[u8]) -> String {
    const ENOUGH: usize = 200;
    let text = bytes[..bytes.len().min(ENOUGH)].escape_ascii().to_string();
    match bytes.len() {
        ..=ENOUGH => format!("\"{text}\""),
        len => format!("\"{text}\"... ({len} bytes)"),
    }
}
