//! Request bodies from files and forms.

// In reading order.
pub(crate) mod file;
pub(crate) mod multipart;
pub(crate) mod prepare;
