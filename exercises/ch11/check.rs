//! Checks how many requests each host gets at once, and that no host waits for another.

use std::process::ExitCode;
use std::time::Duration;

use inflight::{Error, SessionBuilder};
use inflight_exercises::{
    Answer, Reason, ServedRequest, Server, Verdict, most_in_flight, require, run, seconds,
};

pub mod solution;
#[allow(missing_docs, reason = "a reader may delete the comment")]
pub mod start;

const START_REASON: &str = "with two requests at once, the 20 pages of fast-1.test take 1.0 s, \
    and the last one arrived after 101.0 s: this host waited for another";
const AT_ONCE: usize = 2;

struct Host {
    name: &'static str,
    pages: u32,
    delay: Duration,
}

const HOSTS: [Host; 3] = [
    Host {
        name: "slow.test",
        pages: 200,
        delay: Duration::from_secs(1),
    },
    Host {
        name: "fast-1.test",
        pages: 20,
        delay: Duration::from_millis(100),
    },
    Host {
        name: "fast-2.test",
        pages: 20,
        delay: Duration::from_millis(100),
    },
];

fn main() -> ExitCode {
    run(
        START_REASON,
        || check(start::fetch_all),
        || check(solution::fetch_all),
    )
}

fn check(
    fetch_all: impl AsyncFn(SessionBuilder, Vec<String>) -> Result<Vec<(String, String)>, Error>,
) -> Verdict {
    let server = Server::new(|request| {
        let name = request.uri.host().unwrap_or("");
        let host = HOSTS.iter().find(|host| host.name == name);
        Answer::text("a page").after(host.map_or(Duration::ZERO, |host| host.delay))
    });
    let urls_of = |host: &Host| {
        let name = host.name;
        (0..host.pages).map(move |page| format!("http://{name}/{page}"))
    };
    let urls: Vec<_> = HOSTS.iter().flat_map(urls_of).collect();
    let pages = server.block_on(fetch_all(server.builder(), urls.clone()))?;

    let (count, expected) = (pages.len(), urls.len());
    require(
        count == expected,
        format_args!("the function returned {count} of {expected} pages"),
    )?;
    HOSTS
        .iter()
        .try_for_each(|host| check_host(host, &server))?;
    Ok("each host got two requests at once, and no host waited for another".to_owned())
}

fn check_host(host: &Host, server: &Server) -> Result<(), Reason> {
    let Host { name, pages, .. } = *host;
    let mut requests = server.requests();
    requests.retain(|ServedRequest { request, .. }| request.uri.host() == Some(name));
    let in_flight = most_in_flight(&requests);
    require(
        in_flight <= AT_ONCE,
        format_args!("{name} accepts two requests at once, and received {in_flight} at once"),
    )?;
    let ideal = host.delay * pages / 2;
    let last = requests.iter().filter_map(|request| request.end).max();
    let last = last.unwrap_or_default();
    let cause = match in_flight {
        AT_ONCE => "this host waited for another",
        _ => "only one request to this host was in flight at once",
    };
    require(
        last <= ideal,
        format_args!(
            "with two requests at once, the {pages} pages of {name} take {}, and the last one arrived after {}: {cause}",
            seconds(ideal),
            seconds(last)
        ),
    )
}
