use std::fmt;

use inflight_core::{BoxFuture, Capabilities, Support};

use crate::check::Failure;
use crate::context::Context;
use crate::rule::Rule;

/// A test of one property that every backend must have.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Case {
    /// The name of the property, such as `early_close_in_a_sized_body_is_incomplete`.
    pub name: &'static str,
    /// The group, such as `errors`.
    pub group: &'static str,
    /// The promised behavior, in a sentence.
    pub promise: &'static str,
    /// The rule that the case tests, if it is about a response that a server may send.
    pub rule: Option<&'static Rule>,
    /// Whether the case can run against any server like httpbin: see [`Subject::against`].
    ///
    /// [`Subject::against`]: crate::Subject::against
    pub anywhere: bool,
    /// Whether the case can run on a backend without sockets and with one thread: see
    /// [`Subject::in_memory`].
    ///
    /// [`Subject::in_memory`]: crate::Subject::in_memory
    pub in_memory: bool,
    pub(crate) needs: &'static [Need],
    pub(crate) run: CaseKind,
}

/// How a case is implemented.
#[derive(Clone, Copy)]
pub(crate) enum CaseKind {
    Function(fn(Context) -> BoxFuture<'static, Result<(), Failure>>),
    Rule(&'static Rule),
}

/// A capability that a case requires.
pub(crate) type Need = fn(&Capabilities) -> Support;

impl Case {
    /// Returns whether a client with these capabilities supports this case, and if not, the reason
    /// that the missing capability has.
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
            CaseKind::Function(case) => case(context),
            CaseKind::Rule(rule) => Box::pin(rule.run(context)),
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
            run: CaseKind::Rule(rule),
        }
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Case({}::{})", self.group, self.name)
    }
}

/// Turns the name of a capability into a [`Need`].
macro_rules! need {
    (a_hundred_at_once) => {
        $crate::case::a_hundred_at_once
    };
    ($capability:ident) => {
        |capabilities| capabilities.$capability
    };
}
pub(crate) use need;

/// Requires that no limit of the client is below a hundred.
pub(crate) fn a_hundred_at_once(capabilities: &Capabilities) -> Support {
    let mut ceilings = capabilities.ceilings.iter();
    let low = ceilings.find(|ceiling| ceiling.at_most < 100);
    low.map_or(Support::Yes, |ceiling| Support::No(ceiling.what))
}

/// Defines a file's list of cases. Each has the name of its function, `[anywhere]` if it can run against
/// any httpbin or `[in_memory]` if it needs no sockets, the capabilities it needs, and its promise.
macro_rules! suite {
    ($group:literal: $($name:ident $([$mark:ident])? $(needs $($need:ident),+)? => $promise:literal;)+) => {
        pub(super) static CASES: &[$crate::case::Case] = &[$($crate::case::Case {
            name: stringify!($name),
            group: $group,
            promise: $promise,
            needs: &[$($($crate::case::need!($need)),+)?],
            rule: None,
            anywhere: false $(| $crate::case::mark!($mark anywhere))?,
            in_memory: false $(| $crate::case::mark!($mark in_memory))?,
            run: $crate::case::CaseKind::Function(|context| Box::pin($name(context))),
        }),+];
    };
}
pub(crate) use suite;

/// Returns whether the mark in brackets implies the property in the second argument.
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
