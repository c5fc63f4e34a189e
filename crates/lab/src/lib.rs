//! The lab: experiments that say what a runtime costs, what a client costs, and what a blocking
//! call costs, each with the physical limit beside it.
//!
//! In reading order: `experiment` is what is asked and how the answer is judged, `record` what
//! was seen.

pub mod experiment;
pub mod record;
