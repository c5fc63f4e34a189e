//! The programs of the book, one for each chapter, on any backend:
//!
//! ```text
//! just run hundred_pages smol
//! ```
//!
//! - `get`: one page.
//! - `hundred_pages`: a hundred pages, one after another and all at once.
//! - `stall`: what a blocking call does to an event loop.
//! - `auth_refresh`, `cache`: something of one's own around the client.
