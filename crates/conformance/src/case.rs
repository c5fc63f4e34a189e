use std::fmt;

use inflight_core::{BoxFuture, Capabilities, Support};

use crate::check::Failure;
use crate::context::Context;
use crate::rule::Rule;

/// One property that every backend holds.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Case {
    /// The property, as in `early_close_in_a_sized_body_is_incomplete`.
    pub name: &'static str,
    /// What it is about, as in `errors`.
    pub group: &'static str,
    /// What is promised, in a sentence.
    pub promise: &'static str,
    /// The verdict that it holds every client to, if it is about what a server may send.
    pub rule: Option<&'static Rule>,
    /// Whether any server shaped like httpbin can answer it: see [`Subject::against`].
    ///
    /// [`Subject::against`]: crate::Subject::against
    pub anywhere: bool,
    /// Whether it can be asked of a backend without sockets and with one thread: see
    /// [`Subject::in_memory`].
    ///
    /// [`Subject::in_memory`]: crate::Subject::in_memory
    pub in_memory: bool,
    pub(crate) needs: &'static [Need],
    pub(crate) run: Run,
}

/// What a case does.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    Written(fn(Context) -> BoxFuture<'static, Result<(), Failure>>),
    Played(&'static Rule),
}

/// A capability without which a case makes no sense.
pub(crate) type Need = fn(&Capabilities) -> Support;

impl Case {
    /// Whether a client with these capabilities can be asked for this, and if not, why not: the
    /// capability's own reason.
    #[must_use]
    pub fn support(&self, capabilities: &Capabilities) -> Support {
        let lacking = self.needs.iter().map(|need| need(capabilities));
        lacking
            .into_iter()
            .find(|support| !support.is_yes())
            .unwrap_or(Support::Yes)
    }

    pub(crate) fn run(&self, context: Context) -> BoxFuture<'static, Result<(), Failure>> {
        match self.run {
            Run::Written(case) => case(context),
            Run::Played(rule) => Box::pin(rule.play(context)),
        }
    }
}

impl From<&'static Rule> for Case {
    fn from(rule: &'static Rule) -> Self {
        Self {
            name: rule.name,
            group: "verdicts",
            promise: rule.promise,
            rule: Some(rule),
            anywhere: false,
            in_memory: false,
            needs: rule.needs,
            run: Run::Played(rule),
        }
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Case({}::{})", self.group, self.name)
    }
}

/// The capabilities by name.
pub(crate) mod need {
    use super::{Capabilities, Support};

    pub(crate) fn tls(capabilities: &Capabilities) -> Support {
        capabilities.tls
    }

    pub(crate) fn http2(capabilities: &Capabilities) -> Support {
        capabilities.http2
    }

    pub(crate) fn missing_close_notify(capabilities: &Capabilities) -> Support {
        capabilities.missing_close_notify
    }

    pub(crate) fn http2_resets(capabilities: &Capabilities) -> Support {
        capabilities.http2_resets
    }

    pub(crate) fn http2_unprocessed(capabilities: &Capabilities) -> Support {
        capabilities.http2_unprocessed
    }

    pub(crate) fn http2_prior_knowledge(capabilities: &Capabilities) -> Support {
        capabilities.http2_prior_knowledge
    }

    pub(crate) fn client_certificates(capabilities: &Capabilities) -> Support {
        capabilities.client_certificates
    }

    pub(crate) fn unchecked_hostnames(capabilities: &Capabilities) -> Support {
        capabilities.unchecked_hostnames
    }

    pub(crate) fn tls_faults(capabilities: &Capabilities) -> Support {
        capabilities.tls_faults
    }

    pub(crate) fn address_guard(capabilities: &Capabilities) -> Support {
        capabilities.address_guard
    }

    pub(crate) fn streaming_upload(capabilities: &Capabilities) -> Support {
        capabilities.streaming_upload
    }

    pub(crate) fn connection_reuse(capabilities: &Capabilities) -> Support {
        capabilities.connection_reuse
    }

    pub(crate) fn connection_events(capabilities: &Capabilities) -> Support {
        capabilities.connection_events
    }

    pub(crate) fn proxy_faults(capabilities: &Capabilities) -> Support {
        capabilities.proxy_faults
    }

    pub(crate) fn proxied_whole(capabilities: &Capabilities) -> Support {
        capabilities.proxied_whole
    }

    pub(crate) fn dead_connections(capabilities: &Capabilities) -> Support {
        capabilities.dead_connections
    }

    pub(crate) fn early_responses(capabilities: &Capabilities) -> Support {
        capabilities.early_responses
    }

    pub(crate) fn proxies(capabilities: &Capabilities) -> Support {
        capabilities.proxies
    }

    pub(crate) fn unrepeatable_reuse(capabilities: &Capabilities) -> Support {
        capabilities.unrepeatable_reuse
    }

    pub(crate) fn full_duplex(capabilities: &Capabilities) -> Support {
        capabilities.full_duplex
    }

    pub(crate) fn chunk_faults(capabilities: &Capabilities) -> Support {
        capabilities.chunk_faults
    }

    pub(crate) fn strict_chunks(capabilities: &Capabilities) -> Support {
        capabilities.strict_chunks
    }

    pub(crate) fn strict_heads(capabilities: &Capabilities) -> Support {
        capabilities.strict_heads
    }

    pub(crate) fn rare_forms(capabilities: &Capabilities) -> Support {
        capabilities.rare_forms
    }

    pub(crate) fn bare_lf(capabilities: &Capabilities) -> Support {
        capabilities.bare_lf
    }

    pub(crate) fn interim_limit(capabilities: &Capabilities) -> Support {
        capabilities.interim_limit
    }

    pub(crate) fn retired_connections(capabilities: &Capabilities) -> Support {
        capabilities.retired_connections
    }

    pub(crate) fn prompt_cancel(capabilities: &Capabilities) -> Support {
        capabilities.prompt_cancel
    }

    pub(crate) fn early_head(capabilities: &Capabilities) -> Support {
        capabilities.early_head
    }

    pub(crate) fn connect_phase(capabilities: &Capabilities) -> Support {
        capabilities.connect_phase
    }

    pub(crate) fn parallel_connects(capabilities: &Capabilities) -> Support {
        capabilities.parallel_connects
    }

    pub(crate) fn close_delimited(capabilities: &Capabilities) -> Support {
        capabilities.close_delimited
    }

    pub(crate) fn interim_responses(capabilities: &Capabilities) -> Support {
        capabilities.interim_responses
    }

    pub(crate) fn opaque_request_headers(capabilities: &Capabilities) -> Support {
        capabilities.opaque_request_headers
    }

    pub(crate) fn opaque_response_headers(capabilities: &Capabilities) -> Support {
        capabilities.opaque_response_headers
    }

    pub(crate) fn extension_methods(capabilities: &Capabilities) -> Support {
        capabilities.extension_methods
    }

    pub(crate) fn unregistered_status(capabilities: &Capabilities) -> Support {
        capabilities.unregistered_status
    }

    /// No ceiling below a hundred.
    pub(crate) fn a_hundred_at_once(capabilities: &Capabilities) -> Support {
        let ceilings = capabilities.ceilings.iter();
        ceilings
            .filter(|ceiling| ceiling.at_most < 100)
            .map(|ceiling| Support::No(ceiling.what))
            .next()
            .unwrap_or(Support::Yes)
    }
}

/// A file's list of cases: the name of the function, `[anywhere]` if any httpbin will do or
/// `[in_memory]` if it needs no wire, what it needs, what it promises.
macro_rules! suite {
    ($group:literal: $($name:ident $([$mark:ident])? $(needs $($need:ident),+)? => $promise:literal;)+) => {
        pub(super) static CASES: &[$crate::case::Case] = &[$($crate::case::Case {
            name: stringify!($name),
            group: $group,
            promise: $promise,
            needs: &[$($($crate::case::need::$need),+)?],
            rule: None,
            anywhere: false $(| $crate::case::mark!($mark anywhere))?,
            in_memory: false $(| $crate::case::mark!($mark in_memory))?,
            run: $crate::case::Run::Written(|context| Box::pin($name(context))),
        }),+];
    };
}
pub(crate) use suite;

/// What may stand in the brackets, and whether it means the second.
macro_rules! mark {
    (anywhere $of:ident) => {
        true
    };
    (in_memory in_memory) => {
        true
    };
    (in_memory anywhere) => {
        false
    };
}
pub(crate) use mark;
