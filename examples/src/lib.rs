//! The programs of the book.
