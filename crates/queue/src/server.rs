//! The connection to a server or a cluster.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::connection::State;
use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, ServerAddr};
use percent_encoding::percent_decode_str;
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinHandle;

use crate::error::{Error, ErrorKind};
use crate::names::QueueName;
use crate::queue::{Queue, Settings};

/// How long a request to the server may take. If the server is killed, the request gets no response, and is repeated
/// after this time.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an operation that fails is repeated while there is a connection. Meanwhile, the server may start, or its
/// cluster may elect a leader.
const STARTUP: Duration = Duration::from_secs(90);

/// How often the client checks the connection. It closes a connection without two answers.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// The pause before an operation is repeated.
pub(crate) const RETRY: Duration = Duration::from_millis(250);

/// The longest pause before the client connects again.
const MAX_RECONNECT_DELAY: Duration = Duration::from_secs(2);

/// How to connect.
#[derive(Clone, Debug, Default)]
pub struct Connect {
    /// The URLs of the servers, such as `nats://user:password@host:4222` or `tls://host`.
    pub servers: Vec<String>,
    /// A file with a user's JWT and seed.
    pub credentials: Option<PathBuf>,
    /// A file of certificate authorities in PEM, in addition to those of the system.
    pub authorities: Option<PathBuf>,
}

/// A connection. Clones share it.
///
/// If the connection is lost, the client connects again, and operations wait.
#[derive(Clone)]
pub struct Server {
    connection: Arc<ServerConnection>,
}

struct ServerConnection {
    context: Context,
    handle: Handle,
    /// Ends when the last clone of the server is dropped.
    _runtime: NatsRuntime,
}

/// The runtime of NATS.
struct NatsRuntime(Option<Runtime>);

impl Drop for NatsRuntime {
    fn drop(&mut self) {
        // Dropping a runtime waits for its threads, which panics in a task of another runtime.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl Server {
    /// Connects, and checks that the server has what a queue needs.
    ///
    /// # Errors
    ///
    /// [`Connect`](ErrorKind::Connect), [`Credentials`](ErrorKind::Credentials) or
    /// [`Unsupported`](ErrorKind::Unsupported).
    pub async fn connect(connect: Connect) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("inflight-queue")
            .enable_all()
            .build()
            .map_err(|error| {
                Error::new(ErrorKind::Connect, "cannot start a thread").with_source(error)
            })?;
        let handle = runtime.handle().clone();
        let runtime = NatsRuntime(Some(runtime));
        let connection = ServerConnection {
            context: run(&handle, connected(connect)).await?,
            handle,
            _runtime: runtime,
        };
        Ok(Self {
            connection: Arc::new(connection),
        })
    }

    /// Creates a queue. If it exists with the same settings, changes nothing.
    ///
    /// # Errors
    ///
    /// [`InvalidSettings`](ErrorKind::InvalidSettings), [`Conflict`](ErrorKind::Conflict) if a queue with other
    /// settings or another stream has this name, and [`Server`](ErrorKind::Server).
    pub async fn create(&self, name: &QueueName, settings: Settings) -> Result<Queue, Error> {
        let (server, name) = (self.clone(), name.clone());
        self.run(Queue::create(server, name, settings)).await
    }

    /// Opens a queue.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if there is no such queue, and [`Server`](ErrorKind::Server).
    pub async fn open(&self, name: &QueueName) -> Result<Queue, Error> {
        let (server, name) = (self.clone(), name.clone());
        let opening = move || Queue::open(server.clone(), name.clone());
        self.repeat(opening).await
    }

    /// Deletes a queue with all jobs, results and bodies. If an earlier deletion was interrupted, deletes the rest.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if there is no part of such a queue, and [`Server`](ErrorKind::Server).
    pub async fn delete(&self, name: &QueueName) -> Result<(), Error> {
        let (server, name) = (self.clone(), name.clone());
        self.run(async move { Queue::delete_parts(server.context(), &name).await })
            .await
    }

    pub(crate) fn context(&self) -> &Context {
        &self.connection.context
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.context().client().connection_state() == State::Connected
    }

    /// Runs a future on the runtime of NATS, so that any executor can wait for it. If the caller stops waiting, the
    /// future is dropped.
    pub(crate) fn run<T, F>(&self, future: F) -> impl Future<Output = Result<T, Error>> + use<T, F>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        run(&self.connection.handle, future)
    }

    /// Runs an operation on the runtime of NATS, and repeats it while the server is away.
    pub(crate) fn repeat<T, F, O>(
        &self,
        operation: O,
    ) -> impl Future<Output = Result<T, Error>> + use<T, F, O>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send,
        O: FnMut() -> F + Send + 'static,
    {
        let server = self.clone();
        self.run(async move { repeated(&server, operation).await })
    }

    /// Starts a future on the runtime of NATS.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.connection.handle.spawn(future)
    }

    /// Starts a task that runs until the returned guard is dropped.
    pub(crate) fn start(&self, future: impl Future<Output = ()> + Send + 'static) -> TaskGuard {
        TaskGuard(self.connection.handle.spawn(future))
    }
}

/// Repeats an operation while the server is away.
///
/// Without a connection, this repeats the operation for ever. With a connection, it repeats the operation for
/// [`STARTUP`], because a server that has just started does not have its streams yet.
pub(crate) async fn repeated<T, F>(
    server: &Server,
    mut operation: impl FnMut() -> F,
) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut connected_since = None;
    loop {
        match operation().await {
            Err(error) if error.kind() == ErrorKind::Server => {
                let since = *connected_since.get_or_insert_with(Instant::now);
                if !server.is_connected() {
                    connected_since = None;
                } else if since.elapsed() > STARTUP {
                    return Err(error);
                }
            }
            result => return result,
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Ends a task when it is dropped.
#[derive(Debug)]
pub(crate) struct TaskGuard(JoinHandle<()>);

impl TaskGuard {
    /// Ends the task, and waits until its values are dropped.
    pub(crate) async fn stop(mut self) {
        self.0.abort();
        // The error reports that the task was aborted.
        let _ = (&mut self.0).await;
    }
}

impl Drop for TaskGuard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Aborts a task when the future that waits for its result is dropped.
struct Aborted<T>(JoinHandle<T>);

impl<T> Drop for Aborted<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts the future at once, because a returned future that contained it would be large.
fn run<T, F>(runtime: &Handle, future: F) -> impl Future<Output = Result<T, Error>> + use<T, F>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Error>> + Send + 'static,
{
    let mut task = Aborted(runtime.spawn(future));
    async move {
        match (&mut task.0).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(error) => {
                Err(Error::new(ErrorKind::Server, "the connection was closed").with_source(error))
            }
        }
    }
}

async fn connected(connect: Connect) -> Result<Context, Error> {
    let mut options = ConnectOptions::new()
        .name("inflight")
        .request_timeout(Some(REQUEST_TIMEOUT))
        .ping_interval(PING_INTERVAL)
        .reconnect_delay_callback(|attempts| {
            let delay = Duration::from_millis(50) * 2_u32.saturating_pow(attempts.min(10) as u32);
            delay.min(MAX_RECONNECT_DELAY)
        });
    if let Some(path) = &connect.credentials {
        options = options.credentials_file(path).await.map_err(|error| {
            let message = format!("cannot read the credentials {}", path.display());
            Error::new(ErrorKind::Credentials, message).with_source(error)
        })?;
    }
    if let Some(path) = connect.authorities {
        options = options.add_root_certificates(path);
    }
    let servers = connect.servers.iter().map(|url| parse_server(url));
    let servers = servers.collect::<Result<Vec<_>, _>>()?;
    // The client ignores the credentials of URLs.
    if let Some(server) = servers.iter().find(|server| server.has_user_pass()) {
        let decoded = |text: Option<&str>| {
            let text = percent_decode_str(text.unwrap_or_default());
            text.decode_utf8_lossy().into_owned()
        };
        let (user, password) = (decoded(server.username()), decoded(server.password()));
        options = options.user_and_password(user, password);
    }
    let client = options.connect(servers).await.map_err(connect_error)?;
    check_version(&client)?;
    let mut context = jetstream::new(client);
    context.set_timeout(REQUEST_TIMEOUT);
    context.query_account().await.map_err(|error| {
        let message = "the server has no JetStream: start it with `nats-server --jetstream`";
        Error::new(ErrorKind::Unsupported, message).with_source(error)
    })?;
    Ok(context)
}

fn parse_server(url: &str) -> Result<ServerAddr, Error> {
    url.parse().map_err(|error: std::io::Error| {
        // Without the URL, which may contain a password.
        let message = "not the URL of a NATS server, such as nats://host:4222";
        Error::new(ErrorKind::Connect, message).with_source(error)
    })
}

fn connect_error(error: async_nats::ConnectError) -> Error {
    let (kind, message) = match error.kind() {
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
            (ErrorKind::Credentials, "the server refused the credentials")
        }
        _ => (
            ErrorKind::Connect,
            "no server accepted the connection: check --server, and that nats-server runs",
        ),
    };
    Error::new(kind, message).with_source(error)
}

/// A queue lets the server choose one worker per partition, which 2.11 introduced.
fn check_version(client: &Client) -> Result<(), Error> {
    match client.is_server_compatible(2, 11, 0) {
        true => Ok(()),
        false => Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "the server has version {}, and a queue needs 2.11 or newer",
                client.server_info().version
            ),
        )),
    }
}
