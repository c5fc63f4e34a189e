//! The requests of a stress test, and the servers that cause their faults.

use std::io;

use inflight_origin::Origin;
use inflight_origin::script::{Script, ScriptedServer, refused_address};

/// For each fault, the kind of error with which the request must fail.
pub(super) const FAULTS: [&str; 10] = [
    "connect",
    "incomplete",
    "incomplete",
    "incomplete",
    "protocol",
    "timeout",
    "decode",
    "too_many_redirects",
    "body_too_large",
    "status",
];

/// The number of redirects that a request follows.
pub(super) const MAX_REDIRECTS: usize = 3;
/// The length of a body that is too large, and the limit, in bytes.
const LARGE_BODY: u64 = 100_000;
pub(super) const MAX_BODY: u64 = LARGE_BODY / 2;

/// The servers of a stress test, which stop when this is dropped.
pub(super) struct Servers {
    origin: Origin,
    /// The servers that cause the faults.
    scripted: Vec<ScriptedServer>,
    /// A URL whose address refuses connections.
    refused: String,
}

impl Servers {
    pub(super) fn start() -> io::Result<Self> {
        let request = || Script::new().read_request();
        // `Connection: close`, because these servers close the connection after the response. On a
        // reused connection, that would be another fault.
        let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 100\r\n";
        let scripts = [
            request().close(),
            request().send(format!("{head}\r\nshort")).close(),
            request().send(format!("{head}\r\nshort")).reset(),
            request().send("nonsense\r\n\r\n").close(),
            request().hang(),
            request()
                .send(format!(
                    "{head}Content-Encoding: gzip\r\n\r\n{}",
                    "-".repeat(100)
                ))
                .close(),
            request()
                .send(
                    "HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: /again\r\n\
                     Content-Length: 0\r\n\r\n",
                )
                .close(),
        ];
        Ok(Self {
            origin: Origin::start()?,
            scripted: scripts
                .into_iter()
                .map(ScriptedServer::with_script)
                .collect::<Result<_, _>>()?,
            refused: format!("http://{}/", refused_address()?),
        })
    }

    pub(super) fn urls(&self) -> Urls {
        let mut faults = vec![self.refused.clone()];
        faults.extend(self.scripted.iter().map(|server| server.url("/")));
        faults.push(self.origin.url(&format!("/bytes/{LARGE_BODY}")));
        faults.push(self.origin.url("/status/500"));
        Urls {
            origin: self.origin.url(""),
            faults,
        }
    }
}

/// The URLs of a stress test.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Urls {
    /// The prefix of the URLs of the origin.
    pub(super) origin: String,
    /// One URL for each of [`FAULTS`].
    faults: Vec<String>,
}

impl Urls {
    /// Returns the URL of a request: a page with this number, or the URL that causes a fault.
    pub(super) fn of(&self, number: usize, fault: Option<usize>) -> String {
        match fault {
            None => format!("{}/page/{number}", self.origin),
            Some(fault) => self.faults[fault].clone(),
        }
    }
}

/// Chooses the faults of some requests, as indices of [`FAULTS`]. One request in ten has a fault.
pub(super) fn choose_faults(random: &mut fastrand::Rng, requests: usize) -> Vec<Option<usize>> {
    (0..requests)
        .map(|_| (random.u8(..10) == 0).then(|| random.usize(..FAULTS.len())))
        .collect()
}
