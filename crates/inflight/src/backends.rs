//! The modules of the four named backends.

/// Declares the module of a backend: its name, its feature, the type of its runtime, the runtime of a
/// session, the function that creates the client, and the runtime that `block_on` uses.
macro_rules! backend {
    (
        $(#[$doc:meta])*
        $module:ident, $feature:literal, $runtime:path,
        runtime: $session_runtime:expr,
        client: $make_client:expr,
        block_on: $block_on:expr,
        $($extra:item)*
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
                let make_client = $make_client;
                Ok((make_client(runtime.clone(), options)?, runtime))
            }

            /// Returns a builder for a session on this backend.
            pub fn builder() -> SessionBuilder {
                Session::builder(|options| open(Arc::new($session_runtime), options))
            }

            /// Returns a session with the default policy.
            ///
            /// # Errors
            ///
            /// Fails if the runtime or the client cannot start. The kind is
            /// [`NoRuntime`](inflight_core::ErrorKind::NoRuntime) if the system refuses a thread of the
            /// runtime.
            pub fn session() -> Result<Session, Error> {
                builder().build()
            }

            /// Runs a future on the backend's runtime, and blocks this thread until the future
            /// completes.
            ///
            /// # Panics
            ///
            /// - In async code on tokio, if the backend's runtime is tokio. Use `.await` there.
            /// - If the system refuses a thread that the runtime needs.
            #[track_caller]
            pub fn block_on<F: Future>(future: F) -> F::Output {
                $block_on.block_on(future)
            }

            $($extra)*
        }
    };
}

backend! {
    /// The `tokio` backend: hyper on tokio.
    ///
    /// Inside a tokio runtime, a session uses that runtime. Elsewhere a session uses
    /// [`Tokio::global`](tokio::Tokio::global), which starts once on background threads and keeps running.
    /// So a session also works in a plain `main` and under any other executor. To require the surrounding
    /// runtime, use [`Tokio::current`](tokio::Tokio::current).
    ///
    /// When the surrounding runtime ends, the session's requests fail with
    /// [`NoRuntime`](inflight_core::ErrorKind::NoRuntime). For a session in a static, pass
    /// [`Tokio::global`](tokio::Tokio::global) to [`builder_on`](tokio::builder_on).
    tokio, "tokio", inflight_tokio::Tokio,
    runtime: Tokio::current_or_global()?,
    client: inflight_hyper::Hyper::new,
    block_on: match Tokio::global() {
        Ok(tokio) => tokio,
        Err(error) => panic!("{error}"),
    },

    /// Returns a builder for a session on this tokio runtime.
    ///
    /// ```
    /// use inflight::tokio::{Tokio, builder_on};
    ///
    /// // This session works under any executor, and after the end of another tokio runtime.
    /// let session = builder_on(Tokio::global()?).build()?;
    /// # let origin = inflight_origin::Origin::start()?;
    /// # let page = inflight::block_on(session.get(origin.url("/page/1")).text())?;
    /// # assert!(page.contains("Page 1"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder_on(tokio: Tokio) -> SessionBuilder {
        Session::builder(|options| open(Arc::new(tokio), options))
    }
}

backend! {
    /// The `smol` backend: isahc on smol.
    ///
    /// isahc transfers bytes with libcurl, on threads that isahc starts. Tasks on smol wait for these
    /// threads. To transfer bytes on smol itself, use the cell `smol/hyper`.
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
    /// Both crates are no longer maintained (RUSTSEC-2025-0052, RUSTSEC-2025-0036).
    async_std, "async-std", inflight_async_std::AsyncStd,
    runtime: AsyncStd::global(),
    client: inflight_surf::Surf::new,
    block_on: AsyncStd::global(),
}

backend! {
    /// The `ureq` backend: ureq, a blocking client, with a thread for each call.
    ureq, "ureq", inflight_threads::Threads,
    runtime: Threads::new(),
    client: |runtime, options| {
        let client = inflight_ureq::Ureq::new(options)?;
        Ok::<_, Error>(inflight_core::Offload::new(client, runtime))
    },
    block_on: Threads::new(),
}
