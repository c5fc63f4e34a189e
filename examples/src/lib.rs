//! The programs of the book, one for each chapter, on any backend:
//!
//! ```text
//! just run hundred_pages smol
//! ```
//!
//! - `get`: one page.
//! - `hundred_pages`: a hundred pages, one after another and all at once.
//! - `gather`: the program in the project's README, which fetches the URLs in its arguments.
//! - `blocking_client`: times 100 pages in four ways. `just bench` runs it first.
//! - `stall`: what a blocking call does to an event loop.
//! - `policy`, `guard`: what a session decides for its requests, and which addresses it reaches.
//! - `trace`: what happens to a request, as an observer is told.
//! - `auth_refresh`, `cache`: something of one's own around the client.
//! - `virtual_time`: a test of a program that waits, without waiting.
//! - `aiohttp`: the lesson, for those who know it from Python.
