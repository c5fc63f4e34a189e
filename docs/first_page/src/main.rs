use inflight::Error;

fn main() -> Result<(), Error> {
    inflight::block_on(async {
        let session = inflight::session()?;
        let response = session.get("http://127.0.0.1:8080/page/1").send().await?;
        println!("{} on {}", response.status(), session.runtime().name());
        let text = response.text().await?;
        println!("{} characters", text.chars().count());
        Ok(())
    })
}
