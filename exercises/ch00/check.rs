//! Checks that two pages are fetched, and that an error is returned.

use std::process::ExitCode;

use inflight::{Error, ErrorKind, Session};
use inflight_exercises::{Answer, Reason, Server, Verdict, catch_panic, require, run};

pub mod solution;
#[allow(missing_docs, reason = "a reader may delete the comment")]
pub mod start;

const START_REASON: &str =
    "the function requested /page/1, and it should request /page/1 and /page/2";
/// The texts of the two pages, in two runs. The second text has more bytes than characters. A function that never reads
/// the pages cannot know the sizes of both runs.
const RUNS: [[&str; 2]; 2] = [
    ["a short page", "a page from Zürich: äöü"],
    [
        "a new page",
        "another page from Zürich, with three more words: äöü",
    ],
];

fn main() -> ExitCode {
    run(
        START_REASON,
        || check(start::fetch_sizes),
        || check(solution::fetch_sizes),
    )
}

fn urls() -> [String; 2] {
    [1, 2].map(|page| format!("http://pages.test/page/{page}"))
}

fn check(fetch_sizes: impl AsyncFn(&Session, &[String]) -> Result<Vec<usize>, Error>) -> Verdict {
    for texts in RUNS {
        let server = Server::new(move |request| {
            let is_first = request.uri.path() == "/page/1";
            Answer::text(texts[usize::from(!is_first)])
        });
        let sizes = server.block_on(fetch_sizes(&server.session(), &urls()))?;
        check_requests(&server)?;
        check_sizes(&sizes, texts)?;
    }
    check_error(fetch_sizes)?;
    let [first, second] = RUNS[0].map(|text| text.chars().count());
    Ok(format!(
        "the pages have {first} and {second} characters, and an error is returned"
    ))
}

fn check_requests(server: &Server) -> Result<(), Reason> {
    let mut paths: Vec<_> = server
        .requests()
        .iter()
        .map(|served| served.request.uri.path().to_owned())
        .collect();
    paths.sort();
    let requested = match paths.is_empty() {
        true => "no page".to_owned(),
        false => paths.join(" and "),
    };
    require(
        requested == "/page/1 and /page/2",
        format_args!(
            "the function requested {requested}, and it should request /page/1 and /page/2"
        ),
    )
}

fn check_sizes(sizes: &[usize], texts: [&str; 2]) -> Result<(), Reason> {
    let count = sizes.len();
    require(
        count == 2,
        format_args!("the function should return 2 sizes, and it returned {count}"),
    )?;
    for (page, (&size, text)) in (1..).zip(sizes.iter().zip(texts)) {
        let characters = text.chars().count();
        let is_of_other_run = RUNS
            .concat()
            .iter()
            .any(|text| size == text.chars().count());
        let hint = match size == text.len() {
            true if size != characters => {
                " (`len` counts bytes, and `chars().count()` counts characters)"
            }
            _ if is_of_other_run => {
                ": the pages of the server can change, so read the text and count its characters"
            }
            _ => "",
        };
        require(
            size == characters,
            format_args!(
                "page {page} has {characters} characters, and the function returned {size} for it{hint}"
            ),
        )?;
    }
    Ok(())
}

/// The second page cannot be fetched.
fn check_error(
    fetch_sizes: impl AsyncFn(&Session, &[String]) -> Result<Vec<usize>, Error>,
) -> Result<(), Reason> {
    let server = Server::new(|request| match request.uri.path() {
        "/page/1" => Answer::text(RUNS[0][0]),
        _ => Answer::error(ErrorKind::Connect),
    });
    let session = server.session();
    let result = catch_panic(|| server.block_on(fetch_sizes(&session, &urls())));
    let result = result.map_err(|panic| {
        Reason::new(format!(
            "if page 2 cannot be fetched, the function should return the error, which `?` does; it panicked: {panic}"
        ))
    })?;
    require(
        result.is_err(),
        "if page 2 cannot be fetched, the function should return the error, and it returned sizes",
    )
}
