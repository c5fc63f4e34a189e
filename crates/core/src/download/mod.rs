//! Responses that are saved to files.
//!
//! In reading order: `partial_file` (a file that appears when it is complete) and `save`.

pub(crate) mod partial_file;
mod save;
