use std::fmt;

use inflight_core::{BoxFuture, Capabilities, Support};

use crate::check::Result;
use crate::context::Context;
use crate::rule::Rule;

/// A test of one property that every backend must have.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Case {
    /// The name of the property, such as `early_close_in_a_sized_body_is_an_incomplete_error`.
    pub name: &'static str,
    /// The group, such as `errors`.
    pub group: &'static str,
    /// The guarantee that the case checks, as text.
    pub promise: &'static str,
    /// For a case of the group `verdicts`, the rule that the case tests.
    pub rule: Option<&'static Rule>,
    /// Whether the case can run against any server like httpbin: see [`TestedBackend::against`].
    ///
    /// [`TestedBackend::against`]: crate::TestedBackend::against
    pub anywhere: bool,
    /// Whether the case can run on a backend without sockets and with one thread: see
    /// [`TestedBackend::in_memory`].
    ///
    /// [`TestedBackend::in_memory`]: crate::TestedBackend::in_memory
    pub in_memory: bool,
    /// Whether the case tests only code of `inflight-core`, which every backend shares. The tests of
    /// that crate check the code too, so by default only some backends of this workspace run the
    /// case.
    pub tests_core: bool,
    pub(crate) needs: &'static [Need],
    pub(crate) run: CaseKind,
    /// The line of the case in its file. The cases of a group are sorted by this line.
    pub(crate) line: u32,
}

/// How a case is implemented.
#[derive(Clone, Copy)]
pub(crate) enum CaseKind {
    Function(fn(Context) -> BoxFuture<'static, Result>),
    Rule(&'static Rule),
}

/// A function that returns whether a client supports something that a case requires.
pub(crate) type Need = fn(&Capabilities) -> Support;

impl Case {
    pub(crate) const fn new(
        name: &'static str,
        group: &'static str,
        promise: &'static str,
        run: CaseKind,
    ) -> Self {
        Self {
            name,
            group,
            promise,
            rule: None,
            anywhere: false,
            in_memory: false,
            tests_core: false,
            needs: &[],
            run,
            line: 0,
        }
    }

    /// Returns whether a client with these capabilities can run this case. [`Support::No`] contains
    /// the client's reason for the first missing capability.
    #[must_use]
    pub fn support(&self, capabilities: &Capabilities) -> Support {
        let mut needs = self.needs.iter().map(|need| need(capabilities));
        needs
            .find(|support| !support.is_yes())
            .unwrap_or(Support::Yes)
    }

    pub(crate) fn run(&self, context: Context) -> BoxFuture<'static, Result> {
        match self.run {
            CaseKind::Function(case) => case(context),
            CaseKind::Rule(rule) => Box::pin(rule.run(context)),
        }
    }
}

impl From<&'static Rule> for Case {
    fn from(rule: &'static Rule) -> Self {
        Self {
            rule: Some(rule),
            needs: rule.needs,
            ..Self::new(rule.name, "verdicts", rule.promise, CaseKind::Rule(rule))
        }
    }
}

/// Prints `group::name`.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.group, self.name)
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Case({self})")
    }
}

inventory::collect!(Case);

/// Turns a function into a case, as an attribute: `#[apply(case!)]`. The function's doc comment is the
/// promise. Two optional attributes may follow:
///
/// - `#[marks(..)]` lists the fields of [`Case`] that are true.
/// - `#[needs(..)]` lists the capabilities that the case requires.
macro_rules! case {
    (
        $(#[doc = $promise:literal])+
        $(#[marks($($mark:ident),+)])?
        $(#[needs($($need:ident),+)])?
        async fn $name:ident($($parameters:tt)*) -> $output:ty $body:block
    ) => {
        async fn $name($($parameters)*) -> $output $body

        ::inventory::submit! {
            $crate::case::Case {
                $($($mark: true,)+)?
                $(needs: &[$($crate::case::need!($need)),+],)?
                line: line!(),
                ..$crate::case::Case::new(
                    stringify!($name),
                    module_path!(),
                    concat!($($promise),+).trim_ascii(),
                    $crate::case::CaseKind::Function(|context| Box::pin($name(context))),
                )
            }
        }
    };
}
pub(crate) use case;

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

/// Requires that the client can send a hundred requests at once.
pub(crate) fn a_hundred_at_once(capabilities: &Capabilities) -> Support {
    let mut limits = capabilities.ceilings.iter();
    let low = limits.find(|ceiling| ceiling.at_most < 100);
    low.map_or(Support::Yes, |ceiling| Support::No(ceiling.description))
}
