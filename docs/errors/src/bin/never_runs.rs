//! A future that nothing runs.

use inflight::Error;

// ANCHOR: code
fn main() -> Result<(), Error> {
    inflight::block_on(async {
        let session = inflight::session()?;
        session.get("http://127.0.0.1:8080/page/1").text();
        println!("done");
        Ok(())
    })
}
// ANCHOR_END: code
