//! The state that the clones of a session share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use http::HeaderMap;
use url::Url;

use super::in_flight::InFlight;
use super::limits::Limits;
use super::policy::RequestPolicy;
use super::redirect::RedirectPolicy;
use super::retry::RetryBudgets;
use crate::backend::capabilities::Capabilities;
use crate::backend::fetch::DynFetch;
use crate::backend::runtime::Runtime;
use crate::connect::proxy::Proxies;
use crate::error::{Error, ErrorKind};
use crate::message::body::Body;
use crate::message::response::BlockingPool;
use crate::message::target::Target;
use crate::observe::{Connections, ObservedExchange, Observers, RequestObservers};
#[cfg(feature = "cookies")]
use crate::session::cookies::CookieJar;

/// The state of a session. Its clones share it.
pub(super) struct SessionState {
    /// `None` once the session is closed.
    pub(super) client: RwLock<Option<Arc<dyn DynFetch>>>,
    /// A lock that `close` holds while it drops the client and waits for the connections to end.
    pub(super) closing: async_lock::Mutex<()>,
    pub(super) capabilities: Capabilities,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) headers: HeaderMap,
    pub(super) base_url: Option<Url>,
    /// The defaults of requests.
    pub(super) policy: Arc<RequestPolicy>,
    pub(super) limits: Limits,
    pub(super) redirects: RedirectPolicy,
    pub(super) budgets: RetryBudgets,
    pub(super) in_flight: Arc<InFlight>,
    #[cfg(feature = "cookies")]
    pub(super) cookies: Option<CookieJar>,
    pub(super) connections: Connections,
    pub(super) proxies: Proxies,
    pub(super) observers: Observers,
    /// The id of the last request, for observers.
    pub(super) last_request_id: AtomicU64,
}

impl BlockingPool for SessionState {
    fn run_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        self.runtime.spawn_blocking(work);
    }
}

impl SessionState {
    /// Reports the start of a request. Returns `None` if the request has no observers.
    pub(super) fn start_observing(
        &self,
        request: &mut http::Request<Body>,
        target: Option<&Target>,
    ) -> Option<Box<ObservedExchange>> {
        let own = request.extensions_mut().remove::<RequestObservers>();
        let RequestObservers { route, observers } = own.unwrap_or_default();
        let observers = match observers.is_empty() {
            true if self.observers.is_empty() => return None,
            true => self.observers.clone(),
            false => self.observers.iter().cloned().chain(observers).collect(),
        };
        let id = self.last_request_id.fetch_add(1, Ordering::Relaxed) + 1;
        let method = request.method();
        let observed = ObservedExchange::start(observers, &self.runtime, id, route, method, target);
        Some(Box::new(observed))
    }

    /// Explains an error by the state of the runtime. If the runtime has ended, an error that may be a
    /// consequence becomes an error of kind [`NoRuntime`](ErrorKind::NoRuntime). A timeout gets an
    /// additional cause if possibly no thread drives the runtime.
    pub(super) fn explain(&self, error: Error) -> Error {
        let may_be_consequence = matches!(
            error.kind(),
            ErrorKind::Resolve
                | ErrorKind::Connect
                | ErrorKind::Tls
                | ErrorKind::Proxy
                | ErrorKind::Timeout
                | ErrorKind::Incomplete
                | ErrorKind::Cancelled
                | ErrorKind::NoRuntime
                | ErrorKind::Io
        );
        match self.runtime.check_running() {
            Err(no_runtime) if may_be_consequence => match error.kind() {
                ErrorKind::NoRuntime => no_runtime,
                _ => no_runtime.with_source(error),
            },
            Ok(()) if error.is_timeout() && !self.runtime.is_entered() => {
                let reason = format!(
                    "this code runs outside the single-threaded {} runtime of the session: if no \
                     thread drives the runtime, its sockets and tasks do not work",
                    self.runtime.name()
                );
                error.with_source(Error::new(ErrorKind::NoRuntime).with_context(reason))
            }
            _ => error,
        }
    }

    pub(super) fn client(&self) -> Option<Arc<dyn DynFetch>> {
        let client = self.client.read().unwrap_or_else(PoisonError::into_inner);
        client.clone()
    }
}
