use std::io;
use std::pin::pin;
use std::thread::{self, JoinHandle};

use futures_util::future::select;
use tokio::sync::oneshot;

/// The thread of a server. Dropping a `ServerThread` stops the server and blocks until the thread has
/// ended.
pub(crate) struct ServerThread {
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl ServerThread {
    /// Starts a thread that runs `serve`. `serve` must return when its receiver completes.
    pub(crate) fn start(
        name: &str,
        serve: impl FnOnce(oneshot::Receiver<()>) + Send + 'static,
    ) -> io::Result<ServerThread> {
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name(name.to_owned());
        let thread = thread.spawn(move || serve(stopped))?;
        Ok(ServerThread {
            running: Some((stop, thread)),
        })
    }
}

impl ServerThread {
    /// Starts a thread that polls `serving` on a runtime of its own. An error of `serving` is not reported:
    /// the clients fail to connect.
    pub(crate) fn start_runtime(
        name: &str,
        serving: impl Future<Output = io::Result<()>> + Send + 'static,
    ) -> io::Result<ServerThread> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        ServerThread::start(name, move |stopped| {
            drop(runtime.block_on(select(pin!(serving), stopped)));
        })
    }
}

impl Drop for ServerThread {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}
