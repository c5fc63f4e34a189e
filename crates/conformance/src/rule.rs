//! Rules for responses that a server may send. Each rule becomes a case.

use std::sync::Arc;

use inflight_core::{Capabilities, Error, ErrorKind, Response, Session};

use crate::case::{Need, need};
use crate::check::{Failure, Result, check, check_equal, check_error, with_causes};
use crate::context::{Context, EVENT_TIMEOUT, within};
use crate::servers::header_values;
use crate::test_server::TestServer;

/// A rule for a response that a server may send. Its verdict is a success or an error of one kind,
/// and is the same with every client.
///
/// A rule contains one or more replies, which are the bytes that the server sends. The
/// [`Case`](crate::Case) of the rule checks the verdict for each reply.
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
    /// For a client without this capability, an error of this kind is also correct.
    pub(crate) alternative: Option<(Need, ErrorKind)>,
    /// Whether some HTTP libraries accept the reply. With such a library, inflight itself refuses
    /// the reply, or prevents the reuse of the connection.
    pub(crate) checked_late: bool,
    pub(crate) replies: fn() -> Vec<Reply>,
}

/// The deviation of a client from a [`Rule`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deviation {
    /// The reason, from the client's capabilities.
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
    OtherKind(ErrorKind),
    /// The verdict is as in the rule, but the connection may be reused.
    ConnectionReused,
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

/// A response that the server sends when the case of a rule runs.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) bytes: Vec<u8>,
    /// Whether the request is a HEAD.
    pub(crate) is_for_head: bool,
    /// Whether the server closes the connection after the response.
    pub(crate) closes: bool,
}

impl<T: Into<Vec<u8>>> From<T> for Reply {
    fn from(bytes: T) -> Self {
        Self {
            bytes: bytes.into(),
            is_for_head: false,
            closes: false,
        }
    }
}

impl Reply {
    /// Makes this reply the response to a HEAD.
    pub(crate) fn for_head(mut self) -> Self {
        self.is_for_head = true;
        self
    }

    /// Makes the server close the connection after the reply.
    pub(crate) fn and_close(mut self) -> Self {
        self.closes = true;
        self
    }
}

impl Rule {
    /// A rule with the default values of all fields, for the macro `rules!`.
    pub(crate) const DEFAULT: Self = Self {
        name: "",
        promise: "",
        topic: "",
        source: "",
        reason: None,
        ruling: Ruling::Refused(ErrorKind::Protocol),
        needs: &[],
        alternative: None,
        checked_late: false,
        replies: Vec::new,
    };

    /// Returns the deviation of a client with these capabilities from the rule, or `None` if the
    /// client follows the rule.
    #[must_use]
    pub fn deviation(&self, capabilities: &Capabilities) -> Option<Deviation> {
        let missing_reason = |need: Need| need(capabilities).reason();
        if let Some(reason) = self.needs.iter().find_map(|need| missing_reason(*need)) {
            return Some(Deviation {
                reason,
                effect: DeviationEffect::Unchecked,
            });
        }
        if let Some((need, kind)) = self.alternative
            && let Some(reason) = missing_reason(need)
        {
            return Some(Deviation {
                reason,
                effect: DeviationEffect::OtherKind(kind),
            });
        }
        if self.checked_late {
            return missing_reason(need!(retired_connections)).map(|reason| Deviation {
                reason,
                effect: DeviationEffect::ConnectionReused,
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

    /// Returns whether the connection may carry another request after the reply.
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
        let (report_end, connections) = async_channel::unbounded();
        let sent = replies.clone();
        let server = TestServer::start(move |mut conn| {
            let mut served = Vec::new();
            while let Ok(target) = conn.read_head() {
                let n = target[1..].parse().unwrap_or(usize::MAX);
                served.push(n);
                let Some(reply) = sent.get(n) else { break };
                // A client that refuses a reply may close the connection before the end of the
                // reply.
                let _ = conn.send(&reply.bytes);
                if reply.closes {
                    return Ok(());
                }
            }
            // Sending fails if the case has already failed.
            let _ = report_end.send_blocking(served);
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
            run.check_reply(n, reply).await?;
        }
        Ok(())
    }
}

/// One run of a rule's case with one client.
struct RuleRun<'a> {
    rule: &'static Rule,
    session: Session,
    capabilities: &'a Capabilities,
    server: TestServer,
    /// Receives, for each connection that the client has closed, the indices of the replies that
    /// were requested on it.
    connections: async_channel::Receiver<Vec<usize>>,
}

impl RuleRun<'_> {
    async fn check_reply(&self, n: usize, reply: &Reply) -> Result {
        let accepted = self.check_verdict(n, reply).await?;
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
    async fn check_verdict(&self, n: usize, reply: &Reply) -> Result<bool> {
        let label = escaped(&reply.bytes);
        let url = self.server.url(&format!("/{n}"));
        let result = exchange(&self.session, reply, &url).await;
        let mut kinds = match self.rule.ruling {
            Ruling::Refused(kind) => vec![kind],
            Ruling::Accepted(_) => Vec::new(),
        };
        if let Some((need, kind)) = self.rule.alternative
            && !need(self.capabilities).is_yes()
        {
            kinds.push(kind);
        }
        match (self.rule.ruling, result) {
            (Ruling::Accepted(expected), Ok((response, body))) => {
                check_equal(&label, response.status().as_u16(), expected.status)?;
                check_equal(&label, &*body, expected.body)?;
                for (name, value) in expected.fields {
                    check_equal(name, header_values(&response, name), [value.as_bytes()])?;
                }
                Ok(true)
            }
            (Ruling::Accepted(_), Err(error)) if kinds.is_empty() => {
                let error = with_causes(&error);
                Err(Failure::new(format!("{label}: {error}")))
            }
            (_, result) => {
                let result = result.map(|(response, body)| (response.status(), body));
                check_error(&label, result, &kinds).map(|_| false)
            }
        }
    }

    /// Checks that a connection is reused. The pool may get a connection back only a moment after
    /// the caller has read the body, so one reuse among a few requests is enough.
    async fn check_kept(&self, n: usize, reply: &Reply) -> Result {
        const ATTEMPTS: usize = 5;
        let before = self.server.connections();
        for _ in 0..ATTEMPTS {
            self.check_verdict(n, reply).await?;
        }
        let label = escaped(&reply.bytes);
        check(
            self.server.connections() - before < ATTEMPTS,
            format!("{label}: the connection was never reused"),
        )
    }

    /// Checks that the client closes the connection. If the client may close the connection late,
    /// checks instead that the connection is not reused.
    async fn check_retired(&self, n: usize, reply: &Reply) -> Result {
        let label = escaped(&reply.bytes);
        if self.rule.checked_late || !self.capabilities.prompt_cancel.is_yes() {
            let before = self.server.connections();
            self.check_verdict(n, reply).await?;
            let after = self.server.connections();
            return check(
                after > before,
                format!("{label}: the connection was reused"),
            );
        }
        let closed = async {
            while let Ok(served) = self.connections.recv().await {
                if served.contains(&n) {
                    return Some(served);
                }
            }
            None
        };
        let served = within(&format!("the close after {label}"), EVENT_TIMEOUT, closed).await?;
        check_equal("the requests on a connection", served, Some(vec![n]))
    }
}

/// Sends the request to which the server responds with `reply`. Returns the response and the text
/// of its body.
async fn exchange(
    session: &Session,
    reply: &Reply,
    url: &str,
) -> Result<(Response, String), Error> {
    let request = match reply.is_for_head {
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

/// Returns the bytes of a reply as escaped text, truncated to a readable length.
fn escaped(bytes: &[u8]) -> String {
    const MAX_LEN: usize = 200;
    let text = bytes[..bytes.len().min(MAX_LEN)].escape_ascii().to_string();
    match bytes.len() {
        ..=MAX_LEN => format!("\"{text}\""),
        len => format!("\"{text}\"... ({len} bytes)"),
    }
}
