//! Rules for responses that a server may send. Each rule is a case.

use std::sync::Arc;

use inflight_core::{Capabilities, Error, ErrorKind, Response, Session};

use crate::case::{Need, need};
use crate::check::{Failure, Result, check, equal, fails, with_causes};
use crate::context::{Context, EVENT_TIMEOUT, within};
use crate::servers::values;
use crate::test_server::TestServer;

/// The verdict on a response that a server may send, which is the same with every client.
///
/// A [`Case`](crate::Case) with a rule sends one request for each of the rule's replies.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Rule {
    pub(crate) name: &'static str,
    pub(crate) promise: &'static str,
    /// The topic of the rule, such as `lengths`.
    pub topic: &'static str,
    /// The RFC and the section that the rule is based on.
    pub source: &'static str,
    /// The reason for the verdict, where the RFC leaves a choice.
    pub reason: Option<&'static str>,
    pub(crate) ruling: Ruling,
    pub(crate) needs: &'static [Need],
    /// A client without this capability may fail with this kind instead.
    pub(crate) or: Option<(Need, ErrorKind)>,
    /// Whether a client may accept the reply, so that the session has to refuse it or the adapter
    /// has to retire the connection.
    pub(crate) checked_late: bool,
    pub(crate) replies: fn() -> Vec<Reply>,
}

/// The deviation of a client from a [`Rule`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deviation {
    /// The client's reason.
    pub reason: &'static str,
    /// The effect on the verdict.
    pub effect: DeviationEffect,
}

/// The effect of a [`Deviation`] on the verdict of a [`Rule`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviationEffect {
    /// The rule is not checked with this client.
    Unchecked,
    /// The verdict is as in the rule, or an error of this kind.
    Kind(ErrorKind),
    /// The verdict is as in the rule, but the connection may be reused.
    Kept,
}

/// The verdict of a rule.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ruling {
    /// An error of this kind. The connection is closed.
    Refused(ErrorKind),
    Accepted(Accepted),
}

/// A success with this status and body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Accepted {
    pub(crate) status: u16,
    pub(crate) body: &'static str,
    /// Fields that the response must have.
    pub(crate) fields: &'static [(&'static str, &'static str)],
    pub(crate) connection: Connection,
}

/// The state of the connection after an accepted response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connection {
    /// The connection may carry the next request.
    Kept,
    /// The connection carries no other request.
    Closed,
}

/// The bytes that the server sends, and whether it then closes the connection.
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
    /// Makes this the response to a HEAD.
    pub(crate) fn for_head(mut self) -> Self {
        self.to_head = true;
        self
    }

    /// Lets the server close the connection after the reply.
    pub(crate) fn and_close(mut self) -> Self {
        self.closes = true;
        self
    }
}

impl Rule {
    /// A rule with the fields that most rules have.
    pub(crate) const DEFAULT: Self = Self {
        name: "",
        promise: "",
        topic: "",
        source: "",
        reason: None,
        ruling: Ruling::Refused(ErrorKind::Protocol),
        needs: &[],
        or: None,
        checked_late: false,
        replies: Vec::new,
    };

    /// Returns how a client with these capabilities deviates from the rule, if it does, and why.
    #[must_use]
    pub fn deviation(&self, capabilities: &Capabilities) -> Option<Deviation> {
        let lacking = |need: Need| need(capabilities).reason();
        if let Some(reason) = self.needs.iter().find_map(|need| lacking(*need)) {
            return Some(Deviation {
                reason,
                effect: DeviationEffect::Unchecked,
            });
        }
        if let Some((need, kind)) = self.or
            && let Some(reason) = lacking(need)
        {
            return Some(Deviation {
                reason,
                effect: DeviationEffect::Kind(kind),
            });
        }
        if self.checked_late {
            return lacking(need!(retired_connections)).map(|reason| Deviation {
                reason,
                effect: DeviationEffect::Kept,
            });
        }
        None
    }

    /// Returns the verdict as text: an error kind, or `accepted`.
    #[must_use]
    pub fn verdict(&self) -> String {
        match self.ruling {
            Ruling::Refused(kind) => format!("`{kind}`"),
            Ruling::Accepted(_) => "accepted".to_owned(),
        }
    }

    /// Returns whether the connection may carry another request.
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

    pub(crate) async fn run(&'static self, context: Context) -> Result {
        let replies = Arc::new((self.replies)());
        let (ended, connections) = async_channel::unbounded();
        let sent = replies.clone();
        let server = TestServer::start(move |mut conn| {
            let mut served = Vec::new();
            while let Ok(target) = conn.read_head() {
                let n = target[1..].parse().unwrap_or(usize::MAX);
                served.push(n);
                let Some(reply) = sent.get(n) else { break };
                // A client that refuses a reply may close the connection before its end.
                let _ = conn.send(&reply.bytes);
                if reply.closes {
                    return Ok(());
                }
            }
            // The case may already have failed.
            let _ = ended.send_blocking(served);
            Ok(())
        })?;
        let run = RuleRun {
            rule: self,
            session: context.session()?,
            capabilities: &context.capabilities,
            server,
            connections,
        };
        for (n, reply) in replies.iter().enumerate() {
            run.reply(n, reply).await?;
        }
        Ok(())
    }
}

/// A run of a rule's case.
struct RuleRun<'a> {
    rule: &'static Rule,
    session: Session,
    capabilities: &'a Capabilities,
    server: TestServer,
    /// The requests on each connection that the client has closed.
    connections: async_channel::Receiver<Vec<usize>>,
}

impl RuleRun<'_> {
    async fn reply(&self, n: usize, reply: &Reply) -> Result {
        let accepted = self.exchange(n, reply).await?;
        if reply.closes {
            return Ok(());
        }
        let keeps = accepted && self.rule.keeps_connection();
        let retires = !self.rule.checked_late || self.capabilities.retired_connections.is_yes();
        if keeps && self.capabilities.connection_reuse.is_yes() {
            self.check_kept(n, reply).await?;
        } else if !keeps && retires {
            self.check_retired(n, reply).await?;
        }
        Ok(())
    }

    /// Sends a request, checks the verdict, and returns whether the reply was accepted.
    async fn exchange(&self, n: usize, reply: &Reply) -> Result<bool> {
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

    /// Checks that the connection is reused. The pool may get it back a moment after its body was
    /// read, so only one of a few requests has to use it.
    async fn check_kept(&self, n: usize, reply: &Reply) -> Result {
        const ATTEMPTS: usize = 5;
        let before = self.server.connections();
        for _ in 0..ATTEMPTS {
            self.exchange(n, reply).await?;
        }
        let what = shown(&reply.bytes);
        check(
            self.server.connections() - before < ATTEMPTS,
            format!("{what}: the connection was never reused"),
        )
    }

    /// Checks that the client closes the connection, or, if that may take a while, does not reuse it.
    async fn check_retired(&self, n: usize, reply: &Reply) -> Result {
        let what = shown(&reply.bytes);
        if self.rule.checked_late || !self.capabilities.prompt_cancel.is_yes() {
            let before = self.server.connections();
            self.exchange(n, reply).await?;
            let after = self.server.connections();
            return check(after > before, format!("{what}: the connection was reused"));
        }
        let closed = async {
            while let Ok(served) = self.connections.recv().await {
                if served.contains(&n) {
                    return Some(served);
                }
            }
            None
        };
        let served = within(&format!("the close after {what}"), EVENT_TIMEOUT, closed).await?;
        equal("the requests on a connection", served, Some(vec![n]))
    }
}

/// Returns the response without its body, and the body.
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
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
    }
    Ok((response, String::from_utf8_lossy(&body).into_owned()))
}

/// Defines `RULES`. The doc comment of each rule is its promise.
macro_rules! rules {
    ($($(#[doc = $promise:literal])+ $name:ident { $($fields:tt)+ })+) => {
        pub(super) static RULES: &[$crate::rule::Rule] = &[$($crate::rule::Rule {
            name: stringify!($name),
            promise: concat!($($promise),+).trim_ascii(),
            $($fields)+
            ..$crate::rule::Rule::DEFAULT
        }),+];
    };
}
pub(crate) use rules;

/// Returns the reply as text, truncated to a readable length.
fn shown(bytes: &[u8]) -> String {
    const MAX_LEN: usize = 200;
    let text = bytes[..bytes.len().min(MAX_LEN)].escape_ascii().to_string();
    match bytes.len() {
        ..=MAX_LEN => format!("\"{text}\""),
        len => format!("\"{text}\"... ({len} bytes)"),
    }
}
