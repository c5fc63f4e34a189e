use bytes::Bytes;

/// A request that a [`Scripted`](super::Scripted) server read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recorded {
    /// Which connection it came on, from 0 in the order of accepting.
    pub connection: usize,
    /// The head as it came, with the empty line.
    pub head: Bytes,
    /// The method.
    pub method: String,
    /// The target, as it came.
    pub target: String,
    /// The fields in order, names as they came, values without the space around them.
    pub headers: Vec<(String, Bytes)>,
    /// The body without its framing; empty as long as it has not been read whole.
    pub body: Bytes,
}

impl Recorded {
    /// The first value of a field, its name in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let (_, value) = self
            .headers
            .iter()
            .find(|(given, _)| given.eq_ignore_ascii_case(name))?;
        Some(value)
    }

    /// Reads a head, which ends with its empty line. What is not UTF-8 in a name or the first line is replaced.
    pub(super) fn parse(connection: usize, head: Bytes) -> Recorded {
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
        Recorded {
            connection,
            method: words.next().unwrap_or_default(),
            target: words.next().unwrap_or_default(),
            headers,
            body: Bytes::new(),
            head,
        }
    }

    /// How its body ends (RFC 9112, section 6.3), or nothing when it does not say so in a way one can follow.
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
    fn heads_are_kept_to_the_byte() {
        let head = Bytes::from_static(b"POST /a?b HTTP/1.1\r\nX-One:  a \r\nx-one: \xff\r\n\r\n");
        let request = Recorded::parse(3, head.clone());
        assert_eq!((request.connection, request.head.clone()), (3, head));
        assert_eq!((&*request.method, &*request.target), ("POST", "/a?b"));
        assert_eq!(request.header("X-ONE"), Some(&b"a"[..]));
        assert_eq!(
            request.headers[1],
            ("x-one".to_owned(), Bytes::from_static(b"\xff"))
        );
    }
}
