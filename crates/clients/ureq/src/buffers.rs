//! The buffers of a transport.

use std::sync::atomic::{AtomicBool, Ordering};

use inflight_core::{Error, ErrorKind};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, LazyBuffers};

use crate::error::to_ureq_error;

/// ureq's buffers, which also let ureq read input that a transport has added during a write, and look a second
/// time at input that it did not consume.
///
/// ureq would otherwise wait for more input in both cases. In the second case, the input is the response to
/// `Expect: 100-continue`: ureq looks at it first to find a 100 (Continue).
#[derive(Debug)]
pub(crate) struct TransportBuffers {
    inner: LazyBuffers,
    may_look_again: AtomicBool,
}

impl TransportBuffers {
    pub(crate) fn new(details: &ConnectionDetails<'_>) -> Self {
        let config = details.config;
        Self {
            inner: LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size()),
            may_look_again: AtomicBool::new(false),
        }
    }

    /// Returns the free part of the input buffer. ureq reads more only if the head is incomplete or the body
    /// has been consumed, so a full buffer means that the head is too large.
    pub(crate) fn free_input(&mut self) -> Result<&mut [u8], ureq::Error> {
        let buffer = self.inner.input_append_buf();
        if buffer.is_empty() {
            let error = Error::new(ErrorKind::Protocol);
            return Err(to_ureq_error(
                error.with_context("the head is longer than 128 KiB"),
            ));
        }
        Ok(buffer)
    }
}

impl Buffers for TransportBuffers {
    fn output(&mut self) -> &mut [u8] {
        self.inner.output()
    }

    fn input(&self) -> &[u8] {
        self.inner.input()
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        self.inner.input_append_buf()
    }

    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        self.inner.tmp_and_output()
    }

    fn input_appended(&mut self, amount: usize) {
        self.inner.input_appended(amount);
        *self.may_look_again.get_mut() = amount > 0;
    }

    fn input_consume(&mut self, amount: usize) {
        self.inner.input_consume(amount);
    }

    fn can_use_input(&self) -> bool {
        self.inner.can_use_input()
            || !self.inner.input().is_empty() && self.may_look_again.swap(false, Ordering::Relaxed)
    }
}
