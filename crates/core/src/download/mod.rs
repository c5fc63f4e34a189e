//! Responses that are saved to files.
//!
//! In reading order: `partial_file` (a file that appears when it is complete), `save`, `representation` (which
//! version of a resource a response is a part of) and `resumable_file` (a file that a later download
//! continues). The session sends the requests of such a download.

pub(crate) mod partial_file;
pub(crate) mod representation;
pub(crate) mod resumable_file;
mod save;
