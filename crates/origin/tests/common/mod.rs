//! A minimal HTTP/1.1 client over one connection, which exposes every detail of a response.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses only a part of it"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use inflight_origin::Origin;
use serde_json::Value;

/// A timeout that is long enough for the slowest machine.
pub const TEST_TIMEOUT: Duration = Duration::from_secs(30);

pub struct Client {
    stream: BufReader<TcpStream>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    /// The sizes of the chunks, if there were any.
    pub chunks: Vec<usize>,
}

impl Client {
    pub fn connect(addr: SocketAddr) -> Client {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client {
            stream: BufReader::new(stream),
        }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    pub fn get(&mut self, path: &str) -> Answer {
        self.call("GET", path, &[], b"")
    }

    pub fn call(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: origin.test:80\r\n").into_bytes();
        for (name, value) in headers {
            head.extend(format!("{name}: {value}\r\n").into_bytes());
        }
        if !body.is_empty() {
            head.extend(format!("Content-Length: {}\r\n", body.len()).into_bytes());
        }
        head.extend(b"\r\n");
        head.extend(body);
        self.send(head);
        self.read_answer(method)
    }

    pub fn read_answer(&mut self, method: &str) -> Answer {
        let status = self.read_line();
        let status = status.split(|&b| b == b' ').nth(1).unwrap();
        let mut answer = Answer {
            status: std::str::from_utf8(status).unwrap().parse().unwrap(),
            headers: Vec::new(),
            body: Vec::new(),
            chunks: Vec::new(),
        };
        loop {
            let line = self.read_line();
            if line.is_empty() {
                break;
            }
            let colon = line.iter().position(|&b| b == b':').unwrap();
            let name = String::from_utf8(line[..colon].to_ascii_lowercase()).unwrap();
            answer
                .headers
                .push((name, line[colon + 1..].trim_ascii().to_vec()));
        }
        if method == "HEAD" || matches!(answer.status, 204 | 304) {
            return answer;
        }
        if answer.header("transfer-encoding") == "chunked" {
            loop {
                let size = String::from_utf8(self.read_line()).unwrap();
                let size = usize::from_str_radix(&size, 16).unwrap();
                answer.body.extend(self.read_exactly(size));
                assert!(self.read_line().is_empty());
                if size == 0 {
                    break;
                }
                answer.chunks.push(size);
            }
        } else {
            answer.body = self.read_exactly(answer.header("content-length").parse().unwrap());
        }
        answer
    }

    pub fn read_line(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).unwrap();
        assert!(line.ends_with(b"\r\n"), "the line ended early: {line:?}");
        line.truncate(line.len() - 2);
        line
    }

    pub fn read_exactly(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Returns the bytes until the connection ends, or the error that ends it.
    pub fn read_to_end(mut self) -> std::io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest)?;
        Ok(rest)
    }
}

impl Answer {
    /// Returns the first value of a header, or an empty string.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(given, _)| given == name);
        found.map_or("", |(_, value)| std::str::from_utf8(value).unwrap())
    }

    pub fn header_values(&self, name: &str) -> Vec<&[u8]> {
        let found = self.headers.iter().filter(|(given, _)| given == name);
        found.map(|(_, value)| &**value).collect()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), "application/json");
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Sends one GET on a new connection.
pub fn get(origin: &Origin, path: &str) -> Answer {
    Client::connect(origin.addr()).get(path)
}
