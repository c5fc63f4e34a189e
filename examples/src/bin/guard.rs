//! Refuses to connect to addresses that are not public: `just run guard`.
#![allow(clippy::print_stdout, reason = "a program")]

use inflight::connect::AddressGuard;
use inflight_origin::Origin;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    inflight::block_on(guard())
}

// ANCHOR: guard
async fn guard() -> Result<(), Failure> {
    let guard = AddressGuard::public();
    let session = inflight::builder().address_guard(guard.clone()).build()?;
    for url in [
        "http://10.0.0.1/",
        "http://2130706433/",
        "http://[::ffff:169.254.169.254]/latest/meta-data/",
    ] {
        let error = session.get(url).text().await.unwrap_err();
        println!("{url}\n  {}: {error}", error.kind());
    }

    // Allow the loopback addresses, because the server of this program is on this machine.
    let origin = Origin::start()?;
    let guard = guard.allow("127.0.0.0/8".parse()?);
    let session = inflight::builder().address_guard(guard).build()?;
    println!(
        "{}",
        session.get(origin.url("/page/1")).send().await?.status()
    );
    let redirect = origin.url("/redirect-to?url=http://192.168.1.1/");
    let error = session.get(redirect).text().await.unwrap_err();
    let refused = error.address_refused().ok_or("not refused")?;
    println!("{} after {} redirect", refused, error.redirects());
    Ok(())
}
// ANCHOR_END: guard
