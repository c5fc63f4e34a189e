//! `Set-Cookie`: a jar sends back what a plain reading of the header says, and saved jars load.
#![no_main]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::NaiveDateTime;
use inflight_core::CookieJar;
use libfuzzer_sys::fuzz_target;
use url::Url;

// The input has lines: a host with a path, a cookie without attributes, a date, and any number of cookies.
fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (host, single, date) = (line(), line(), line());
    let Some(url) = page(host) else { return };
    check_pair(single);
    check_date(date);
    let jar = CookieJar::new();
    for cookie in lines {
        jar.set(cookie, &url);
    }
    let has_tab = data.contains(&b'\t');
    check_saved(&jar, &url, has_tab);
});

fn page(host: &[u8]) -> Option<Url> {
    let host = str::from_utf8(host).ok()?;
    let url = Url::parse(&format!("https://{host}")).ok()?;
    url.has_host().then_some(url)
}

fn pages() -> Url {
    "https://pages.test/".parse().expect("the URL is valid")
}

/// Checks the name and the value of a cookie without attributes.
fn check_pair(cookie: &[u8]) {
    if cookie.contains(&b';') {
        return;
    }
    let jar = CookieJar::new();
    jar.set(cookie, &pages());
    let sent = jar.header(&pages());
    let is_control = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
    let (name, value) = match cookie.iter().position(|byte| *byte == b'=') {
        Some(at) => (cookie[..at].trim_ascii(), cookie[at + 1..].trim_ascii()),
        None => (&[][..], cookie.trim_ascii()),
    };
    let len = name.len() + value.len();
    // A prefix of a name, such as `__Host-`, adds conditions. A cookie without a name must not imitate one.
    let has_prefix = [name, value].iter().any(|text| text.starts_with(b"__"));
    if has_prefix {
        return;
    }
    let expected = match cookie.iter().any(is_control) || !(1..=4096).contains(&len) {
        true => None,
        false if name.is_empty() => Some(value.to_vec()),
        false => Some([name, &b"="[..], value].concat()),
    };
    assert_eq!(sent.map(|value| value.as_bytes().to_vec()), expected);
}

/// Checks `Expires` with a date in the format that RFC 9110 prefers.
fn check_date(date: &[u8]) {
    let jar = CookieJar::new();
    jar.set([&b"a=1; Expires="[..], date].concat(), &pages());
    let expected = str::from_utf8(date).ok().and_then(imf_date);
    let Some(expected) = expected else { return };
    let now = SystemTime::now();
    let is_near = |time: SystemTime| {
        let distance = expected
            .duration_since(time)
            .or_else(|error| Ok::<_, ()>(error.duration()));
        distance.is_ok_and(|distance| distance < Duration::from_secs(10))
    };
    if is_near(now) {
        return;
    }
    assert_eq!(
        jar.header(&pages()).is_some(),
        expected > now,
        "{expected:?}"
    );
    let latest = now + Duration::from_secs(400 * 86_400);
    if expected > now && expected < latest {
        let seconds = expected
            .duration_since(UNIX_EPOCH)
            .expect("it is after now")
            .as_secs();
        assert_eq!(expiries(&save(&jar)), [seconds]);
    }
}

fn imf_date(text: &str) -> Option<SystemTime> {
    let form = "aaa, 00 aaa 0000 00:00:00 GMT";
    let fits = |(byte, form): (u8, u8)| match form {
        b'a' => byte.is_ascii_alphabetic(),
        b'0' => byte.is_ascii_digit(),
        form => byte == form,
    };
    let is_imf = text.len() == form.len() && text.bytes().zip(form.bytes()).all(fits);
    // chrono accepts leap seconds, and the RFC of cookies does not.
    if !is_imf || text.contains(":60 ") {
        return None;
    }
    let date = NaiveDateTime::parse_from_str(&text[5..25], "%d %b %Y %H:%M:%S").ok()?;
    let seconds = u64::try_from(date.and_utc().timestamp()).ok()?;
    Some(UNIX_EPOCH + Duration::from_secs(seconds))
}

fn save(jar: &CookieJar) -> Vec<u8> {
    let mut file = Vec::new();
    jar.save_netscape(&mut file)
        .expect("writing to memory does not fail");
    file
}

/// Returns the fifth field of each line of a Netscape file.
fn expiries(file: &[u8]) -> Vec<u64> {
    let lines = file.split(|byte| *byte == b'\n').skip(1);
    let fields = lines.filter_map(|line| line.split(|byte| *byte == b'\t').nth(4));
    let number = |field: &[u8]| str::from_utf8(field).ok()?.parse().ok();
    fields
        .map(|field| number(field).expect("the field is a number"))
        .collect()
}

/// Checks that a loaded jar sends the same cookies, in both formats.
fn check_saved(jar: &CookieJar, url: &Url, has_tab: bool) {
    let file = save(jar);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the clock is right")
        .as_secs();
    // Such a cookie may expire between two steps.
    if expiries(&file).iter().any(|end| *end > 0 && *end < now + 5) {
        return;
    }
    let mut json = Vec::new();
    jar.save(&mut json)
        .expect("writing to memory does not fail");
    let from_json = CookieJar::load(&json[..]).expect("a saved jar can be loaded");
    let loaded = CookieJar::load_netscape(&file[..]).expect("a saved jar can be loaded");
    assert_eq!(save(&loaded), file);
    // The Netscape format cannot express a tab.
    if has_tab {
        return;
    }
    assert_eq!(loaded.header(url), jar.header(url));
    // JSON contains no session cookies.
    if expiries(&file).iter().all(|end| *end > 0) {
        assert_eq!(save(&from_json), file);
    }
}
