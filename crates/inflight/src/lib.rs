//! Asynchronous HTTP with one meaning on every runtime: fetch and gather over tokio, smol, async-std or threads.
