//! The four backends: a runtime with the client that suits it.

/// Declares a backend's module: its feature, its runtime, how a session gets that runtime, and how it
/// makes the client.
macro_rules! backend {
    (
        $(#[$doc:meta])*
        $module:ident, $feature:literal, $runtime:path,
        runtime: $get:expr,
        client: $make:expr,
        block_on: $block_on:expr,
        $($more:item)*
    ) => {
        $(#[$doc])*
        #[cfg(feature = $feature)]
        pub mod $module {
            use std::sync::Arc;

            use inflight_core::{BlockOn, ClientOptions, Error, Fetch, Runtime, Session, SessionBuilder};
            pub use $runtime;

            fn open(
                runtime: Arc<dyn Runtime>,
                options: &ClientOptions,
            ) -> Result<(impl Fetch + use<>, Arc<dyn Runtime>), Error> {
                let make = $make;
                Ok((make(runtime.clone(), options)?, runtime))
            }

            /// Returns a builder for a session on this backend.
            pub fn builder() -> SessionBuilder {
                Session::builder(|options| open(Arc::new($get), options))
            }

            /// Returns a session with the default policy.
            ///
            /// # Errors
            ///
            /// Fails if the runtime or the client cannot start. The kind
            /// [`NoRuntime`](inflight_core::ErrorKind::NoRuntime) means that the system refused a
            /// thread to the runtime.
            pub fn session() -> Result<Session, Error> {
                builder().build()
            }

            /// Runs a future on the backend's own runtime, and blocks this thread until the future
            /// completes.
            ///
            /// # Panics
            ///
            /// On a runtime's own threads, if the runtime forbids blocking there, as tokio does; and if
            /// the system refuses a thread that the runtime needs.
            pub fn block_on<F: Future>(future: F) -> F::Output {
                $block_on.block_on(future)
            }

            $($more)*
        }
    };
}

backend! {
    /// The `tokio` backend: hyper on tokio.
    ///
    /// Inside a tokio runtime, a session uses that runtime. Elsewhere it uses [`Tokio::global`], which
    /// starts once on background threads and keeps running. So a session also works in a plain `main`
    /// and under any other executor. To require the surrounding runtime, use [`Tokio::current`].
    tokio, "tokio", inflight_tokio::Tokio,
    runtime: Tokio::current_or_global()?,
    client: inflight_hyper::Hyper::new,
    block_on: match Tokio::global() {
        Ok(tokio) => tokio,
        Err(error) => panic!("{error}"),
    },

    /// Returns a builder for a session on this tokio runtime.
    pub fn builder_on(tokio: Tokio) -> SessionBuilder {
        Session::builder(|options| open(Arc::new(tokio), options))
    }
}

backend! {
    /// The `smol` backend: isahc on smol.
    ///
    /// isahc transfers bytes with libcurl on a thread of its own, and smol waits for that thread. In the
    /// cell `smol/hyper`, smol does all of it.
    ///
    /// smol's executor has one thread unless the environment variable `SMOL_THREADS` sets another number.
    smol, "smol", inflight_smol::Smol,
    runtime: Smol::global(),
    client: inflight_isahc::Isahc::new,
    block_on: Smol::global(),
}

backend! {
    /// The `async-std` backend: surf on async-std.
    ///
    /// Neither is maintained any more (RUSTSEC-2025-0052, RUSTSEC-2025-0036).
    async_std, "async-std", inflight_async_std::AsyncStd,
    runtime: AsyncStd::global(),
    client: inflight_surf::Surf::new,
    block_on: AsyncStd::global(),
}

backend! {
    /// The `ureq` backend: a blocking client that runs each call on a thread of its own.
    ureq, "ureq", inflight_threads::Threads,
    runtime: Threads::new(),
    client: |runtime, options| {
        let client = inflight_ureq::Ureq::new(options)?;
        Ok::<_, Error>(inflight_core::Offload::new(client, runtime))
    },
    block_on: Threads::new(),
}
