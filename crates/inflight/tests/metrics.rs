//! Tests of the metrics of a session on a real backend.
#![cfg(any(
    feature = "tokio",
    feature = "smol",
    feature = "async-std",
    feature = "ureq"
))]

use inflight::Error;
use inflight::observe::SessionMetrics;
use inflight_origin::Origin;

#[test]
fn the_metrics_of_a_session_contain_the_routes_of_its_requests() -> Result<(), Error> {
    let origin = Origin::start().expect("the server should start");
    let users = origin.url("/page");
    // ANCHOR: metrics
    let metrics = SessionMetrics::new();
    let session = inflight::builder().observe(metrics.clone()).build()?;
    inflight::block_on(async {
        for id in 1..=3 {
            let user = session.get(format!("{users}/{id}")).name("/users/{id}");
            user.text().await?;
        }
        Ok::<_, Error>(())
    })?;
    let text = metrics.prometheus();
    // ANCHOR_END: metrics
    let expected =
        r#"inflight_requests_total{route="/users/{id}",method="GET",status="2xx",error=""} 3"#;
    assert!(text.lines().any(|line| line == expected), "{text}");
    assert!(
        text.lines()
            .any(|line| line == "inflight_requests_in_flight 0")
    );
    Ok(())
}
