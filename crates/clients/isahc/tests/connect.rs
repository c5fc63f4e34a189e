//! Tests of connecting: several addresses, timeouts, few file descriptors.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use inflight_core::http::{self, StatusCode};
use inflight_core::{
    BlockOn, Body, ClientOptions, Error, ErrorKind, Fetch, Phase, Resolve, Runtime,
};
use inflight_isahc::Isahc;
use inflight_origin::script::{Script, ScriptedServer, refused_address};
use inflight_smol::Smol;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A resolver that returns these addresses for every name.
struct FixedResolver(Vec<SocketAddr>);

impl Resolve for FixedResolver {
    fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(self.0.clone())
    }
}

fn client(addresses: &[SocketAddr], configure: impl FnOnce(&mut ClientOptions)) -> Isahc {
    let mut options = ClientOptions::default();
    options.resolver = Arc::new(FixedResolver(addresses.to_vec()));
    configure(&mut options);
    Isahc::new(Arc::new(Smol::global()), &options).unwrap()
}

fn get_from(client: &Isahc, url: &str) -> Result<StatusCode, Error> {
    let request = http::Request::get(url).body(Body::empty()).unwrap();
    Smol::global().block_on(async {
        let response = client.fetch(request).await?;
        let status = response.status();
        response.into_body().collect(1024).await?;
        Ok(status)
    })
}

fn get(client: &Isahc) -> Result<StatusCode, Error> {
    get_from(client, "http://pages.test/")
}

fn server() -> ScriptedServer {
    let script = Script::new().read_request().send(OK);
    ScriptedServer::with_script(script.read_request().send(OK).hang()).unwrap()
}

#[test]
fn the_error_names_every_attempted_address() {
    let addresses = [refused_address().unwrap(), refused_address().unwrap()];
    let error = get(&client(&addresses, |_| ())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    let message = error.to_string();
    assert!(message.contains("pages.test:80"), "{message}");
    for address in addresses {
        let refusal = format!("{address}: failed to connect to the server");
        assert!(message.contains(&refusal), "{message}");
    }
}

#[test]
fn max_idle_counts_connections_to_all_hosts() {
    for (max_idle, expects_reuse) in [(1, false), (2, true)] {
        let (first, second) = (server(), server());
        let client = client(&[], |options| options.max_idle = Some(max_idle));
        for server in [&first, &second, &first, &second] {
            get_from(&client, &server.url("/")).unwrap();
        }
        // libcurl may close either of two connections with the same age.
        let connections = first.connections() + second.connections();
        assert_eq!(connections == 2, expects_reuse, "max_idle {max_idle}");
    }
}

/// Only Linux drops the SYNs to a listener whose queue is full.
#[cfg(target_os = "linux")]
mod silent {
    use super::*;

    #[test]
    fn a_silent_address_delays_only_the_first_request() {
        let (silent, server) = (ScriptedServer::unaccepting_address().unwrap(), server());
        let client = client(&[silent.addr(), server.addr()], |_| ());
        let started = Instant::now();
        assert_eq!(get(&client).unwrap(), StatusCode::OK);
        let elapsed = started.elapsed();
        assert!(elapsed >= Duration::from_millis(1300), "{elapsed:?}");
        assert!(elapsed < Duration::from_secs(4), "{elapsed:?}");
        // The next request uses the pooled connection, and does not try the silent address first.
        let started = Instant::now();
        assert_eq!(get(&client).unwrap(), StatusCode::OK);
        let elapsed = started.elapsed();
        assert!(elapsed < Duration::from_secs(1), "{elapsed:?}");
        assert_eq!(server.connections(), 1);
    }

    #[test]
    fn connect_timeout_includes_all_attempts() {
        let silent = [(); 2].map(|()| ScriptedServer::unaccepting_address().unwrap());
        let addresses = [
            silent[0].addr(),
            refused_address().unwrap(),
            silent[1].addr(),
        ];
        let limit = Duration::from_millis(900);
        let client = client(&addresses, |options| options.connect_timeout = Some(limit));
        let started = Instant::now();
        let error = get(&client).unwrap_err();
        let elapsed = started.elapsed();
        assert!(elapsed >= limit, "{elapsed:?}");
        assert!(elapsed < 2 * limit, "{elapsed:?}");
        assert_eq!(error.phase(), Some(Phase::Connect));
        let message = error.to_string();
        assert!(message.contains("pages.test:80 within 900ms"), "{message}");
        for (address, failure) in
            addresses
                .iter()
                .zip(["no answer", "failed to connect to the server", "no answer"])
        {
            let expected = format!("{address}: {failure}");
            assert!(message.contains(&expected), "{message}");
        }
    }
}

#[cfg(unix)]
mod descriptors {
    use std::env;
    use std::process::Command;

    use inflight_threads::Threads;

    use super::*;

    const CHILD: &str = "INFLIGHT_ISAHC_TEST_FEW_DESCRIPTORS";

    #[test]
    fn exhausted_descriptors_are_an_error_with_a_remedy() {
        if env::var_os(CHILD).is_some() {
            return start_and_fetch();
        }
        // Limits below, near and above the number that the client needs.
        for limit in [4, 8, 12, 16, 18, 19, 20, 22, 24, 64] {
            let child = Command::new("sh")
                .args(["-c", "ulimit -n $1 && shift && exec \"$@\"", "sh"])
                .arg(limit.to_string())
                .arg(env::current_exe().unwrap())
                .args(["--exact", "--nocapture"])
                .arg("descriptors::exhausted_descriptors_are_an_error_with_a_remedy")
                .env(CHILD, "1")
                .output()
                .unwrap();
            let stdout = String::from_utf8_lossy(&child.stdout);
            let stderr = String::from_utf8_lossy(&child.stderr);
            let output = format!("ulimit -n {limit}: {stdout}{stderr}");
            assert!(child.status.success(), "{output}");
            assert!(stdout.contains("1 passed"), "{output}");
            assert!(!stderr.contains("panicked"), "{output}");
            let refused = stdout.contains("refused to start");
            assert!(refused || limit > 16, "{output}");
            assert!(!refused || limit < 64, "{output}");
        }
    }

    /// Starts a client with few free descriptors. Prints a line if the client refuses to start. Otherwise
    /// sends a request, which fails.
    #[allow(clippy::print_stdout)]
    fn start_and_fetch() {
        let runtime: Arc<dyn Runtime> = Arc::new(Threads::new());
        let client = match Isahc::new(runtime, &ClientOptions::default()) {
            Ok(client) => client,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Io);
                assert!(error.to_string().contains("ulimit -n"), "{error}");
                println!("refused to start");
                return;
            }
        };
        let url = format!("http://{}/", refused_address().unwrap());
        let request = http::Request::get(url).body(Body::empty()).unwrap();
        let error = Threads::new().block_on(client.fetch(request)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect);
    }
}
