//! A limit on interim responses (1xx), for clients whose HTTP library does not limit them.

use inflight_core::{Error, ErrorKind, MAX_INTERIM_RESPONSES};

/// The number of bytes before the first digit of the status: `HTTP/1.1 `.
const BEFORE_STATUS: usize = 9;

/// Counts the interim responses before the final response to one request. It inspects the bytes as they
/// are read, up to the status of the final response.
#[derive(Debug)]
pub struct InterimCounter {
    state: ResponseState,
    count: usize,
}

impl Default for InterimCounter {
    fn default() -> Self {
        Self {
            state: ResponseState::StatusLine(0),
            count: 0,
        }
    }
}

impl InterimCounter {
    /// Inspects the next bytes of the responses.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Protocol`] if there are more than [`MAX_INTERIM_RESPONSES`] interim responses.
    pub fn inspect(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.state = self.state.after(bytes, &mut self.count);
        if self.count > MAX_INTERIM_RESPONSES {
            return Err(Error::new(ErrorKind::Protocol)
                .with_context("more than 64 interim responses before the final one"));
        }
        Ok(())
    }

    /// Returns whether the final response has begun and its status is 300 or more, as that of a server
    /// that refuses the request.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self.state, ResponseState::Final(b'3'..=b'9'))
    }
}

/// The position in the responses to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ResponseState {
    /// In a status line, after this number of bytes and before the status.
    StatusLine(usize),
    /// In the head of an interim response. The flag is `true` if the current line has no bytes yet.
    Head { is_line_empty: bool },
    /// In the final response, whose status begins with this digit.
    Final(u8),
}

impl ResponseState {
    /// Returns the state after these bytes. Adds to `interim` the number of interim responses that begin in
    /// these bytes.
    fn after(mut self, bytes: &[u8], interim: &mut usize) -> Self {
        for &byte in bytes {
            self = match (self, byte) {
                (Self::Final(_), _) => return self,
                // A recipient may skip empty lines before a status line (RFC 9112, section 2.2).
                (Self::StatusLine(0), b'\r' | b'\n') => self,
                (Self::StatusLine(BEFORE_STATUS), b'1') => {
                    *interim += 1;
                    Self::Head {
                        is_line_empty: false,
                    }
                }
                (Self::StatusLine(BEFORE_STATUS), digit) => Self::Final(digit),
                (Self::StatusLine(n), _) => Self::StatusLine(n + 1),
                (
                    Self::Head {
                        is_line_empty: true,
                    },
                    b'\n',
                ) => Self::StatusLine(0),
                (Self::Head { .. }, b'\n') => Self::Head {
                    is_line_empty: true,
                },
                (Self::Head { .. }, b'\r') => self,
                (Self::Head { .. }, _) => Self::Head {
                    is_line_empty: false,
                },
            };
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the number of interim responses, and whether the final response has begun. Checks that the
    /// result is the same for every size of chunks.
    fn count(responses: &str) -> (usize, bool) {
        let counts = (1..=responses.len()).map(|cut| {
            let (mut state, mut interim) = (ResponseState::StatusLine(0), 0);
            for bytes in responses.as_bytes().chunks(cut) {
                state = state.after(bytes, &mut interim);
            }
            (interim, matches!(state, ResponseState::Final(_)))
        });
        let mut counts = counts.collect::<Vec<_>>();
        counts.dedup();
        assert_eq!(counts.len(), 1, "the counts differ between chunk sizes");
        counts[0]
    }

    #[test]
    fn final_responses_with_a_status_of_300_or_more_are_refusals() {
        for (responses, expected) in [
            ("HTTP/1.1 103 Early\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 413 body", false),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 413 Content Too Large\r\n",
                true,
            ),
            ("HTTP/1.1 303", true),
        ] {
            let mut counter = InterimCounter::default();
            counter.inspect(responses.as_bytes()).unwrap();
            assert_eq!(counter.is_refusal(), expected, "{responses}");
        }
    }

    #[test]
    fn only_interim_responses_are_counted() {
        let interim = "HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n";
        let end = "HTTP/1.1 200 OK\r\n\r\n";
        assert_eq!(count(end), (0, true));
        assert_eq!(count(interim), (1, false));
        let looks_alike = format!("{}{end}HTTP/1.1 103 body\r\n\r\n", interim.repeat(3));
        assert_eq!(count(&looks_alike), (3, true));
        let bare = "HTTP/1.1 100 C\nx: 1\n\n\r\nHTTP/1.0 404 No\r\n\r\n";
        assert_eq!(count(bare), (1, true));
    }
}
