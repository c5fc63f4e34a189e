//! Runs the example programs and checks their output.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use inflight_examples::default_cell;
use inflight_origin::Origin;

fn run(program: &str) -> String {
    run_with(program, &[])
}

fn run_with(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .expect("the program should start");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).expect("the output should be UTF-8")
}

/// Lets the program draw its picture.
fn draw(program: &str) -> String {
    let output = Command::new(program)
        .env("INFLIGHT_PICTURE", "svg")
        .output()
        .expect("the program should start");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let picture = String::from_utf8(output.stdout).expect("the picture should be UTF-8");
    assert!(picture.starts_with("<svg "), "{picture}");
    picture
}

#[test]
fn get_prints_the_page() {
    let printed = run(env!("CARGO_BIN_EXE_get"));
    assert!(printed.starts_with("200 OK /page/1\n"), "{printed}");
    assert!(printed.contains("222 characters"), "{printed}");
}

#[test]
fn hundred_pages_prints_the_pages_and_each_failure() {
    let printed = run(env!("CARGO_BIN_EXE_hundred_pages"));
    let lines: Vec<&str> = printed.lines().collect();
    assert!(
        lines[0].starts_with("5 pages, one after another: "),
        "{printed}"
    );
    assert!(lines[1].starts_with("100 pages, gathered: "), "{printed}");
    assert_eq!(
        lines[2..],
        [
            "a page of 222 bytes",
            "1: status",
            "2: connect",
            "3: invalid_url"
        ]
    );
}

#[test]
fn failures_prints_each_error_with_its_advice() {
    let printed = run(env!("CARGO_BIN_EXE_failures"));
    let lines: Vec<&str> = printed.lines().collect();
    assert!(lines[0].starts_with("all: no pages, "), "{printed}");
    assert_eq!(lines[1], "settled: 98 pages, 2 errors");
    let advice: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.strip_prefix("  kind: "))
        .collect();
    assert_eq!(
        advice,
        [
            "connect, so check that the server is running",
            "status, so check the URL",
            "incomplete, so fetch the page again"
        ]
    );
}

#[test]
fn blocking_page_reports_a_gap_as_long_as_the_blocking_call() {
    let printed = run_with(
        env!("CARGO_BIN_EXE_blocking_page"),
        &["20", "4", "3", "150"],
    );
    let value = |name: &str| -> f64 {
        let (_, rest) = printed
            .split_once(name)
            .expect("the name should be printed");
        let digits = rest.trim_start_matches(['"', ':', ' ']);
        let end = digits.find([',', '}']).expect("the number should end");
        digits[..end].parse().expect("a number")
    };
    // The third page is requested after the blocking call, and its delay is 20 ms.
    assert!(value("total_ms") >= 170.0, "{printed}");
    assert!(value("largest_gap_ms") >= 150.0, "{printed}");
}

#[test]
fn server_responds_until_it_is_killed() -> std::io::Result<()> {
    let mut server = Command::new(env!("CARGO_BIN_EXE_server"))
        .arg("127.0.0.1:0")
        .stdout(Stdio::piped())
        .spawn()?;
    let mut printed = String::new();
    let stdout = server.stdout.take().expect("the output should be a pipe");
    BufReader::new(stdout).read_line(&mut printed)?;
    let address = printed.trim_end().strip_prefix("listening on ");
    let address = address.expect("the server should print its address");
    let page = run_with(env!("CARGO_BIN_EXE_get"), &[&format!("{address}/page/7")]);
    server.kill()?;
    server.wait()?;
    assert!(page.starts_with("200 OK /page/7\n"), "{page}");
    Ok(())
}

#[test]
fn crawler_stops_at_its_limit() {
    let printed = run(env!("CARGO_BIN_EXE_crawler"));
    let expected = "50 pages, 0 failed\nstopped by the time limit: false\n\
                    at most 5 requests at once: true\n";
    assert_eq!(printed, expected);
}

#[test]
fn jobs_add_jobs() {
    let printed = run(env!("CARGO_BIN_EXE_jobs"));
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(
        lines,
        [
            "tree: 99 pages",
            "producer: 10 pages",
            "channel: 10 pages",
            "attempt 1: false",
            "attempt 2: true",
            "until: 1 page fetched, next: [\"hang\", \"page/2\"]",
        ]
    );
}

#[test]
fn upload_sends_files_forms_and_streams() {
    let printed = run(env!("CARGO_BIN_EXE_upload"));
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(
        lines,
        [
            "progress: 1000000 bytes",
            "file: 1000000 bytes, announced: true",
            "form: announced: true",
            "stream: 7893 bytes, in chunks: true",
            "attempts: 3",
            "a missing file: io",
        ]
    );
}

/// Returns the number before each `ms` of a line.
fn milliseconds(line: &str) -> Vec<u32> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let numbers = words.windows(2).filter(|pair| pair[1] == "ms");
    let numbers = numbers.map(|pair| pair[0].parse());
    numbers
        .collect::<Result<_, _>>()
        .expect("the times should be numbers")
}

#[test]
fn stall_reports_a_gap_as_long_as_the_blocking_call() {
    let printed = run(env!("CARGO_BIN_EXE_stall"));
    let rows: Vec<&str> = printed.lines().skip(3).collect();
    let gaps = milliseconds(rows[0]);
    assert_eq!(gaps.len(), 3, "{printed}");
    let last = rows.last().expect("there should be rows");
    assert_eq!(milliseconds(last).len(), 1, "{printed}");
    // On `threads`, the heartbeat has its own thread.
    let (count, is_stalled) = match default_cell().runtime() {
        "threads" => (4, false),
        _ => (5, true),
    };
    assert_eq!(rows.len(), count, "{printed}");
    // A call of 100 ms stops the only worker for at least 100 ms. The other gaps depend on the machine, so this
    // test does not check them.
    assert!(
        !is_stalled || gaps.iter().all(|gap| *gap >= 100),
        "{printed}"
    );
}

#[test]
fn stall_draws_a_bar_for_each_call() {
    let picture = draw(env!("CARGO_BIN_EXE_stall"));
    let calls = match default_cell().runtime() {
        "threads" => 4,
        // Only the settings with one worker can run.
        "async-std" => 2,
        _ => 5,
    };
    // The legend has two entries.
    assert_eq!(
        picture.matches("class=\"span\"").count(),
        calls + 2,
        "{picture}"
    );
}

#[test]
fn event_loop_reports_a_poll_as_long_as_the_blocking_call() {
    let printed = run(env!("CARGO_BIN_EXE_event_loop"));
    let polls = printed
        .lines()
        .filter(|line| line.starts_with("  longest poll: "));
    let longest: Vec<u32> = polls.flat_map(milliseconds).collect();
    assert_eq!(longest.len(), 2, "{printed}");
    // The blocking call takes 200 ms. How long the longest poll of the first run lasts depends on the machine.
    assert!(longest[1] >= 200, "{printed}");
    let picture = draw(env!("CARGO_BIN_EXE_event_loop"));
    assert!(picture.contains("the blocking task"), "{picture}");
}

#[test]
fn guard_refuses_addresses_that_are_not_public() {
    let printed = run(env!("CARGO_BIN_EXE_guard"));
    let refused: Vec<&str> = printed
        .lines()
        .filter_map(|line| line.strip_prefix("  connect: "))
        .collect();
    assert_eq!(refused.len(), 3, "{printed}");
    for (line, address) in refused.iter().zip([
        "10.0.0.1 is refused: it is private",
        "127.0.0.1 is refused: it is loopback",
        "::ffff:169.254.169.254 is refused: it is a mapped IPv4 address",
    ]) {
        assert!(line.contains(address), "{printed}");
    }
    let end = "\n200 OK\n192.168.1.1 is refused: it is private after 1 redirect\n";
    assert!(printed.ends_with(end), "{printed}");
}

#[cfg(feature = "all-backends")]
#[test]
fn four_runtimes_prints_a_row_and_the_threads_of_each_backend() {
    let printed = run(env!("CARGO_BIN_EXE_four_runtimes"));
    for cell in [
        "tokio/hyper",
        "smol/isahc",
        "async-std/surf",
        "threads/ureq",
    ] {
        let lines = printed.lines().filter(|line| line.starts_with(cell));
        assert_eq!(lines.count(), 2, "{printed}");
    }
    let picture = draw(env!("CARGO_BIN_EXE_four_runtimes"));
    assert_eq!(picture.matches("class=\"span\"").count(), 4 * 100);
}

#[test]
fn axum_reports_the_route_and_the_line_of_a_blocking_call() {
    let printed = run(env!("CARGO_BIN_EXE_axum"));
    let steps: Vec<&str> = printed.split("\n\n").collect();
    // On a busy machine, the probe may also report the polls of a page.
    let is_report = |line: &&str| line.starts_with("GET /reports/{id} ");
    let reports = |step: usize| steps[step].lines().filter(is_report);
    // The stall while it lasts, and its end.
    let counts = [0, 1, 2, 3].map(|step| reports(step).count());
    assert_eq!(counts, [0, 2, 2, 0], "{printed}");
    let is_named =
        |line: &str| line.starts_with("GET /reports/{id} (examples/src/bin/axum/main.rs:");
    assert!(reports(1).chain(reports(2)).all(is_named), "{printed}");
    if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        let place = "count_rows (examples/src/bin/axum/service.rs:";
        assert_eq!(steps[2].matches(place).count(), 2, "{printed}");
    }
}

#[test]
fn axum_draws_a_bar_for_each_request() {
    let picture = draw(env!("CARGO_BIN_EXE_axum"));
    // Two runs with 41 requests. There are at least as many polls.
    assert!(picture.matches("class=\"span\"").count() >= 2 * 2 * 41);
    assert!(picture.contains("report after "), "{picture}");
}

#[test]
fn blocking_client_shows_that_blocking_calls_in_a_task_run_one_after_another() {
    let printed = run_with(env!("CARGO_BIN_EXE_blocking_client"), &["5"]);
    let lines: Vec<&str> = printed.lines().collect();
    let took = |line: &str| -> u32 {
        let number = line.trim_end_matches(" ms").rsplit(' ').next();
        let number = number.expect("the line should end with a time");
        number.parse().expect("the time should be a number of ms")
    };
    assert_eq!(lines.len(), 7, "{printed}");
    assert!(lines[0].contains("fetches 5 pages"), "{printed}");
    // Both of these ways wait for five delays of 100 ms, one after another.
    assert!(took(lines[1]) >= 500, "{printed}");
    assert!(took(lines[2]) >= 500, "{printed}");
    // Both of these ways wait for all delays at once. The benchmarks measure by how much each way exceeds
    // 100 ms.
    assert!(took(lines[3]) >= 100, "{printed}");
    assert!(took(lines[4]) >= 100, "{printed}");
    assert!(lines[5].ends_with(" took."), "{printed}");
    assert!(lines[6].contains(" % of that time: "), "{printed}");
}

#[test]
fn gather_prints_the_size_of_each_page_and_each_failure() {
    let origin = Origin::start().expect("the server should start");
    let page = origin.url("/page/1");
    let refused = "http://127.0.0.1:1/";
    let output = Command::new(env!("CARGO_BIN_EXE_gather"))
        .args([&page, refused])
        .output()
        .expect("the program should start");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(printed, format!("{page}: 222 bytes\n"));
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains(refused), "{error}");
}

#[test]
fn auth_refresh_requests_one_token_for_all_requests() {
    let printed = run(env!("CARGO_BIN_EXE_auth_refresh"));
    assert_eq!(printed, "a new token\n");
}

#[test]
fn cache_requests_each_page_once() {
    let printed = run(env!("CARGO_BIN_EXE_cache"));
    let expected = "10 pages\n10 pages\n10 pages\n10 requests reached the server\n";
    assert_eq!(printed, expected);
}

#[test]
fn download_continues_until_the_file_is_complete() {
    let printed = run(env!("CARGO_BIN_EXE_download"));
    let expected = "save_to: incomplete, no file: true\n\
                    resume_to: 100000 bytes, as on the server: true\n";
    assert_eq!(printed, expected);
}

#[test]
fn trace_draws_each_request() {
    let printed = run(env!("CARGO_BIN_EXE_trace"));
    let lines: Vec<&str> = printed.lines().skip(1).collect();
    assert_eq!(lines.len(), 10, "{printed}");
    // The first four requests start at once. The fifth request waits for a permit.
    assert!(lines.iter().all(|line| line.contains('#')), "{printed}");
    assert!(lines[4].contains('.'), "{printed}");
}

#[test]
fn virtual_time_prints_the_elapsed_virtual_time() {
    let printed = run(env!("CARGO_BIN_EXE_virtual_time"));
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines[0], "52 requests in 60 min of virtual time");
    assert!(lines[1].starts_with("the test took "), "{printed}");
    assert_eq!(lines.len(), 2, "{printed}");
}

#[test]
fn retries_prints_what_each_server_received() {
    let printed = run(env!("CARGO_BIN_EXE_retries"));
    let received: Vec<usize> = printed
        .lines()
        .filter_map(|line| line.get(32..42)?.trim().parse().ok())
        .collect();
    let [cases @ .., budget, no_budget] = received.as_slice() else {
        panic!("{printed}");
    };
    assert_eq!(cases, [3, 2, 2, 1, 1, 2], "{printed}");
    // The budget starts with 10 retries, and 60 requests add 12.
    assert!((70..=82).contains(budget), "{printed}");
    assert_eq!(*no_budget, 240, "{printed}");
}

#[test]
fn how_fast_obeys_each_limit() {
    let printed = run(env!("CARGO_BIN_EXE_how_fast"));
    let runs: Vec<&str> = printed
        .lines()
        .filter(|line| line.contains(" ms"))
        .collect();
    assert_eq!(runs.len(), 8, "{printed}");
    for limited in &runs[1..3] {
        let (_, peak) = limited
            .split_once(", at most ")
            .expect("the line should contain the peak");
        let peak = peak.trim_start().trim_end_matches(" at once");
        let peak: u32 = peak.parse().expect("the peak should be a number");
        // On a slow machine, five requests may never be at the server at the same time.
        assert!((2..=5).contains(&peak), "{printed}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn body_memory_shows_that_a_collected_body_needs_its_size() {
    let printed = run(env!("CARGO_BIN_EXE_body_memory"));
    let last = printed.lines().last().expect("the program should print");
    let megabytes: Vec<f64> = last
        .split(" MB")
        .filter_map(|number| number.trim().parse().ok())
        .collect();
    assert!(megabytes[1] > 60.0 && megabytes[2] < 30.0, "{printed}");
}

#[test]
fn pictures_are_svg() {
    for program in [
        env!("CARGO_BIN_EXE_failures"),
        env!("CARGO_BIN_EXE_retries"),
        env!("CARGO_BIN_EXE_how_fast"),
        env!("CARGO_BIN_EXE_virtual_time"),
    ] {
        let output = Command::new(program)
            .env("INFLIGHT_PICTURE", "svg")
            .output();
        let output = output.expect("the program should start");
        let picture = String::from_utf8(output.stdout).expect("the picture should be UTF-8");
        assert!(picture.starts_with("<svg "), "{picture}");
    }
}

#[test]
fn policy_applies_each_option() {
    let printed = run(env!("CARGO_BIN_EXE_policy"));
    let (before, rest) = printed
        .split_once("9 pages of 50 ms, 3 at a time: ")
        .expect("the output should show the limit");
    assert_eq!(
        before,
        "timeout: head\ntimeout: body\ntimeout: total\ntimeout: queue\n"
    );
    let (took, rest) = rest.split_once(" ms\n").expect("the time should be in ms");
    let took: u32 = took.parse().expect("the time should be a number");
    assert!(took >= 150, "{printed}");
    let lines: Vec<&str> = rest.lines().collect();
    assert_eq!(
        lines,
        [
            "302 Found from /redirect/3",
            "302 Found from /relative-redirect/2",
            "302 Found from /relative-redirect/1",
            "200 OK",
            "too_many_redirects after 2",
            "302 Found",
            "GET: 200 OK after 3 attempts",
            "POST: 503 Service Unavailable after 1 attempt",
            "the default budget: 0 succeed, 100 are not retried",
            "a budget of 200 retries: 100 succeed, 0 are not retried",
            "within the grace period: 222 characters",
            "after close: closed",
            "without a grace period: closed",
        ]
    );
}

/// Creates a crate with one library.
fn create_crate(folder: &Path) -> std::io::Result<()> {
    let manifest = |name| format!("[package]\nname = \"{name}\"\nedition = \"2024\"\n");
    for source in ["src", "library/src"] {
        fs::create_dir_all(folder.join(source))?;
    }
    let dependency = "[dependencies]\nlibrary.path = \"library\"\n";
    fs::write(folder.join("Cargo.toml"), manifest("own") + dependency)?;
    fs::write(folder.join("src/main.rs"), "fn main() {}\n")?;
    fs::write(folder.join("library/Cargo.toml"), manifest("library"))?;
    fs::write(folder.join("library/src/lib.rs"), "")
}

#[test]
fn build_times_compiles_the_library_once() {
    let folder = tempfile::tempdir().expect("a folder");
    create_crate(folder.path()).expect("a crate");
    let path = folder.path().to_str().expect("a path in UTF-8");
    let printed = run_with(env!("CARGO_BIN_EXE_build_times"), &[path]);
    let lines: Vec<&str> = printed.lines().collect();
    let first = "first build: 2 calls of the compiler in ";
    assert!(lines[0].starts_with(first), "{printed}");
    let second = "second build: 1 call of the compiler in ";
    assert!(lines[1].starts_with(second), "{printed}");
    let mut slowest: Vec<&str> = lines[4..]
        .iter()
        .filter_map(|line| line.split(' ').next())
        .collect();
    slowest.sort_unstable();
    assert_eq!(slowest, ["library", "own"]);
}

#[test]
fn waterfall_draws_a_bar_for_each_request() {
    let picture = run(env!("CARGO_BIN_EXE_waterfall"));
    assert!(picture.starts_with("<svg "), "{picture}");
    assert_eq!(picture.matches(" pages in ").count(), 2 * 3);
    assert_eq!(picture.matches("class=\"span\"").count(), 3 * 20);
}

/// A context, such as the path of a file, differs between systems.
#[cfg(all(feature = "tokio", target_os = "linux"))]
#[test]
fn errors_prints_the_messages_that_the_book_shows() {
    let printed = run(env!("CARGO_BIN_EXE_errors"));
    let shown = include_str!("../../docs/output/errors.txt");
    assert_eq!(
        without_ports(&without_causes(&printed)),
        without_ports(&without_causes(shown))
    );
}

/// Removes the causes. They come from the libraries and the system, and the cause of an ended runtime depends on how far
/// its shutdown is.
#[cfg(all(feature = "tokio", target_os = "linux"))]
fn without_causes(text: &str) -> String {
    let is_message = |line: &&str| !line.trim_start().starts_with("cause: ");
    let lines: Vec<&str> = text.lines().filter(is_message).collect();
    lines.join("\n")
}

/// Replaces the ports of local addresses, which differ in each run.
#[cfg(all(feature = "tokio", target_os = "linux"))]
fn without_ports(text: &str) -> String {
    let mut parts = text.split("127.0.0.1:");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out += "127.0.0.1:PORT";
        out += part.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    out
}

#[test]
fn requests_prints_what_the_server_receives_and_each_chunk() {
    let printed = run(env!("CARGO_BIN_EXE_requests"));
    for expected in [
        r#"{"page": "2", "tag": "rød grød"}"#,
        r#"{"drink": "tea & milk", "name": "Ada"}"#,
        r#"Some(Order { item: "cable", quantity: 2 })"#,
        "a response with the status 404 Not Found",
        "344 characters, 522 bytes",
        r#"{"cookies": {"user": "Ada"}}"#,
        r#"{"user-agent": "tutorial/1.0"}"#,
        "5 sessions with 1 request each: 5 connections",
        "1 session with 5 requests: 1 connection",
    ] {
        let has_line = printed.lines().any(|line| line.trim() == expected);
        assert!(has_line, "no line {expected}: {printed}");
    }
    let errors = ["error_for_status: ", "json: ", "text: "];
    let has_error = errors.map(|start| printed.lines().any(|line| line.starts_with(start)));
    assert_eq!(has_error, [true; 3], "{printed}");
    // On a busy machine, several bytes of the body can arrive in one chunk.
    assert!(
        printed.contains("chunk() returned a chunk of length"),
        "{printed}"
    );
    assert!(
        printed.contains("text() returned a text of length 8"),
        "{printed}"
    );
}

#[test]
fn endings_prints_what_each_ending_does_with_the_other_requests() {
    let printed = run(env!("CARGO_BIN_EXE_endings"));
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines.len(), 8, "{printed}");
    assert!(
        lines[0].starts_with("all: an error, because job "),
        "{printed}"
    );
    assert!(lines[1].contains(" cancelled"), "{printed}");
    assert_eq!(lines[2], "settled: 9 pages and 3 errors");
    let all = "9 finished, 3 failed, 0 cancelled, 0 never started";
    assert!(lines[3].ends_with(all), "{printed}");
    assert_eq!(lines[4], "first: a page of 222 characters");
    assert!(lines[5].contains(": 1 finished, "), "{printed}");
    assert!(lines[6].starts_with("completed: the pages ["), "{printed}");
    assert!(lines[7].contains(": 5 finished, "), "{printed}");
}

// On other systems, a connect to an address that accepts no connection may fail at once.
#[cfg(target_os = "linux")]
#[test]
fn when_to_stop_prints_each_timeout_and_each_early_end() {
    let printed = run(env!("CARGO_BIN_EXE_when_to_stop"));
    let phases: Vec<&str> = printed
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("timed out ("))
        .filter_map(|line| line.split(')').next())
        .collect();
    assert_eq!(phases, ["queue", "connect", "head", "body", "total"]);
    let remedies = printed.matches("  remedy: ").count();
    assert_eq!(remedies, phases.len(), "{printed}");
    // The number of requests that the server saw end early depends on the backend.
    assert!(printed.contains("no page; the server saw "), "{printed}");
    assert!(printed.contains(" pages arrived, "), "{printed}");
    // A request that `close` ends, and a request to the closed session.
    let closed = printed.matches("the session is closed").count();
    assert!(closed >= 2, "{printed}");
    assert!(printed.contains("  stopped with "), "{printed}");
}
