//! Request bodies from files and forms.
//!
//! In reading order: `prepare` (makes a body before it is sent), `file` and `multipart`.

pub(crate) mod file;
pub(crate) mod multipart;
pub(crate) mod prepare;
