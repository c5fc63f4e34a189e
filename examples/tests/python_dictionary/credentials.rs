//! Credentials and cookies.

use inflight::CookieJar;
use inflight::url::Url;
use inflight_origin::Origin;
use netrc::Netrc;
use serde_json::{Value, json};

use crate::{TestResult, run};

#[test]
fn basic_auth() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/basic-auth/ada/secret");
        // ANCHOR: basic_auth
        let response = session.get(url).basic_auth("ada", "secret").send().await?;
        // ANCHOR_END: basic_auth
        assert_eq!(response.status(), 200);
        Ok(())
    })
}

#[test]
fn bearer_auth() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/bearer");
        // ANCHOR: bearer_auth
        let response = session.get(url).bearer_auth("token").send().await?;
        // ANCHOR_END: bearer_auth
        assert_eq!(response.status(), 200);
        Ok(())
    })
}

#[test]
fn session_auth() -> TestResult {
    run(async |origin: &Origin| {
        let url = origin.url("/bearer");
        // ANCHOR: session_auth
        let session = inflight::builder()
            .header("authorization", "Bearer token")
            .build()?;
        let response = session.get(url).send().await?;
        // ANCHOR_END: session_auth
        assert_eq!(response.status(), 200);
        Ok(())
    })
}

#[test]
fn netrc() -> TestResult {
    run(async |origin: &Origin| {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("netrc");
        std::fs::write(&path, "machine 127.0.0.1 login ada password secret")?;
        let session = inflight::session()?;
        let url = Url::parse(&origin.url("/basic-auth/ada/secret"))?;
        // ANCHOR: netrc
        let netrc = Netrc::from_file(&path)?; // the crate `rust-netrc`
        let mut request = session.get(&url);
        if let Some(entry) = url.host_str().and_then(|host| netrc.hosts.get(host)) {
            request = request.basic_auth(&entry.login, &entry.password);
        }
        // ANCHOR_END: netrc
        assert_eq!(request.send().await?.status(), 200);
        Ok(())
    })
}

#[test]
fn cookie_jar() -> TestResult {
    run(async |origin: &Origin| {
        let (login, account) = (origin.url("/cookies/set?user=ada"), origin.url("/cookies"));
        // ANCHOR: cookie_jar
        let session = inflight::builder().cookies(CookieJar::new()).build()?;
        session.get(login).send().await?;
        let echo: Value = session.get(account).json().await?;
        // ANCHOR_END: cookie_jar
        assert_eq!(echo["cookies"], json!({"user": "ada"}));
        Ok(())
    })
}

#[test]
fn no_cookies() -> TestResult {
    run(async |origin: &Origin| {
        let (login, account) = (origin.url("/cookies/set?user=ada"), origin.url("/cookies"));
        // ANCHOR: no_cookies
        let session = inflight::session()?;
        session.get(login).send().await?;
        let echo: Value = session.get(account).json().await?;
        assert_eq!(echo["cookies"], json!({}));
        // ANCHOR_END: no_cookies
        Ok(())
    })
}

#[test]
fn request_cookies() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/cookies");
        // ANCHOR: request_cookies
        let request = session.get(url).header("cookie", "user=ada; theme=dark");
        // ANCHOR_END: request_cookies
        let echo: Value = request.json().await?;
        assert_eq!(echo["cookies"], json!({"user": "ada", "theme": "dark"}));
        Ok(())
    })
}

#[test]
fn saved_cookies() -> TestResult {
    let url = Url::parse("https://pages.test/")?;
    let jar = CookieJar::new();
    jar.set("theme=dark; Max-Age=3600", &url);
    let mut file = Vec::new();
    // ANCHOR: saved_cookies
    jar.save(&mut file)?;
    let jar = CookieJar::load(file.as_slice())?;
    // ANCHOR_END: saved_cookies
    assert_eq!(jar.header(&url).unwrap(), "theme=dark");
    Ok(())
}
