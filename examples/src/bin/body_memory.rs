//! Compares the memory of a body in one piece with the memory of a body that is streamed to a file, on Linux:
//! `just run body_memory`.
//!
//! Each download runs in a process of its own, because the peak of a process never decreases.
#![allow(clippy::print_stdout, reason = "a program")]

use std::env;
use std::fs;
use std::process::Command;

use inflight::Session;
use inflight_origin::Origin;

type Failure = Box<dyn std::error::Error>;

const MEGABYTE: usize = 1_000_000;
const SIZES: [usize; 3] = [MEGABYTE, 8 * MEGABYTE, 64 * MEGABYTE];

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => compare(),
        [way, warm_up, url] => {
            let growth = inflight::block_on(measure(way, warm_up, url))?;
            println!("{growth}");
            Ok(())
        }
        _ => Err("usage: body_memory [WAY WARM-UP-URL URL]".into()),
    }
}

/// Prints the additional memory of each download.
fn compare() -> Result<(), Failure> {
    let origin = Origin::start()?;
    println!("{:>9} {:>12} {:>12}", "body", "bytes()", "save_to()");
    for size in SIZES {
        let url = origin.url(&format!("/bytes/{size}"));
        let [bytes, save_to] = ["bytes", "save_to"].map(|way| run_child(way, &origin, &url));
        let size = megabytes(size);
        println!(
            "{size:>9} {:>12} {:>12}",
            megabytes(bytes?),
            megabytes(save_to?)
        );
    }
    Ok(())
}

fn megabytes(bytes: usize) -> String {
    format!("{:.1} MB", bytes as f64 / MEGABYTE as f64)
}

/// Downloads the body in another process, and returns by how many bytes the peak of its memory has grown.
fn run_child(way: &str, origin: &Origin, url: &str) -> Result<usize, Failure> {
    let program = env::current_exe()?;
    let output = Command::new(program)
        .args([way, &origin.url("/bytes/1000"), url])
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

async fn measure(way: &str, warm_up: &str, url: &str) -> Result<usize, Failure> {
    let session = inflight::session()?;
    // The first request starts threads and opens a connection, which needs memory too.
    session.get(warm_up).bytes().await?;
    let before = peak_memory()?;
    match way {
        "bytes" => in_one_piece(&session, url).await?,
        _ => to_file(&session, url).await?,
    }
    Ok(peak_memory()? - before)
}

// ANCHOR: ways
async fn in_one_piece(session: &Session, url: &str) -> Result<(), Failure> {
    session.get(url).bytes().await?;
    Ok(())
}

async fn to_file(session: &Session, url: &str) -> Result<(), Failure> {
    let response = session.get(url).send().await?;
    let directory = tempfile::tempdir()?;
    response.save_to(directory.path().join("file")).await?;
    Ok(())
}
// ANCHOR_END: ways

/// Returns the highest amount of memory that this process has had so far, in bytes.
fn peak_memory() -> Result<usize, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    let kilobytes: usize = peak
        .ok_or("this system does not report the peak memory of a process")?
        .parse()?;
    Ok(kilobytes * 1024)
}
