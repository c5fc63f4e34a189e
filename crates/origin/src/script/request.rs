use bytes::Bytes;

/// A request that a [`ScriptedServer`](super::ScriptedServer) has read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordedRequest {
    /// The index of the connection, counted from 0 in the order in which the server accepted them.
    pub connection: usize,
    /// The head as received, including the empty line.
    pub head: Bytes,
    /// The method.
    pub method: String,
    /// The target, as received.
    pub target: String,
    /// The fields in order, with names as received and values without surrounding whitespace.
    pub headers: Vec<(String, Bytes)>,
    /// The body without its framing. Empty until it has been read completely.
    pub body: Bytes,
}

impl RecordedRequest {
    /// Returns the first value of a field. The name is case-insensitive.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let (_, value) = self
            .headers
            .iter()
            .find(|(given, _)| given.eq_ignore_ascii_case(name))?;
        Some(value)
    }

    /// Parses a head that includes its final empty line. In names and in the first line, bytes that
    /// are not UTF-8 are replaced.
    pub(super) fn parse(connection: usize, head: Bytes) -> RecordedRequest {
        let mut lines = head.split(|&byte| byte == b'\n');
        let first = String::from_utf8_lossy(lines.next().unwrap_or(b"")).into_owned();
        let mut words = first.split_ascii_whitespace().map(str::to_owned);
        let headers = lines
            .filter_map(|line| {
                let colon = line.iter().position(|&byte| byte == b':')?;
                let name = String::from_utf8_lossy(&line[..colon]).into_owned();
                Some((name, head.slice_ref(line[colon + 1..].trim_ascii())))
            })
            .collect();
        RecordedRequest {
            connection,
            method: words.next().unwrap_or_default(),
            target: words.next().unwrap_or_default(),
            headers,
            body: Bytes::new(),
            head,
        }
    }

    /// Returns how the end of the body is found (RFC 9112, section 6.3), or `None` if the head does
    /// not determine it.
    pub(super) fn framing(&self) -> Option<Framing> {
        if let Some(coding) = self.header("transfer-encoding") {
            let chunked = coding.to_ascii_lowercase().ends_with(b"chunked");
            return chunked.then_some(Framing::Chunked);
        }
        let length = self.header("content-length").unwrap_or(b"0");
        let length = std::str::from_utf8(length).ok()?.parse().ok()?;
        Some(Framing::Length(length))
    }
}

#[derive(Clone, Copy)]
pub(super) enum Framing {
    Length(usize),
    Chunked,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_recorded_exactly() {
        let head = Bytes::from_static(b"POST /a?b HTTP/1.1\r\nX-One:  a \r\nx-one: \xff\r\n\r\n");
        let request = RecordedRequest::parse(3, head.clone());
        assert_eq!((request.connection, request.head.clone()), (3, head));
        assert_eq!((&*request.method, &*request.target), ("POST", "/a?b"));
        assert_eq!(request.header("X-ONE"), Some(&b"a"[..]));
        assert_eq!(
            request.headers[1],
            ("x-one".to_owned(), Bytes::from_static(b"\xff"))
        );
    }
}
