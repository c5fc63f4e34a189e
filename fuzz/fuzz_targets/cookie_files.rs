//! Any bytes as a cookie file: what loads is saved and loaded again without a change.
#![no_main]

use std::time::{SystemTime, UNIX_EPOCH};

use inflight_core::{CookieJar, ErrorKind};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, &[u8])| {
    let (is_json, file) = input;
    let loaded = match is_json {
        true => CookieJar::load(file),
        false => CookieJar::load_netscape(file),
    };
    match loaded {
        Ok(jar) => check_saved(&jar),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Io),
    }
});

fn check_saved(jar: &CookieJar) {
    let mut file = Vec::new();
    jar.save_netscape(&mut file)
        .expect("writing to memory does not fail");
    if expires_soon(&file) {
        return;
    }
    let again = CookieJar::load_netscape(&file[..]).expect("a saved jar can be loaded");
    let mut saved = Vec::new();
    again
        .save_netscape(&mut saved)
        .expect("writing to memory does not fail");
    assert_eq!(saved, file);

    let mut json = Vec::new();
    jar.save(&mut json)
        .expect("writing to memory does not fail");
    let again = CookieJar::load(&json[..]).expect("a saved jar can be loaded");
    let mut saved = Vec::new();
    again
        .save(&mut saved)
        .expect("writing to memory does not fail");
    assert_eq!(saved, json);
}

/// Returns whether a cookie may expire between two steps of the check.
fn expires_soon(file: &[u8]) -> bool {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the clock is right")
        .as_secs();
    let lines = file.split(|byte| *byte == b'\n');
    let fields = lines.filter_map(|line| line.split(|byte| *byte == b'\t').nth(4));
    let mut ends = fields.filter_map(|field| str::from_utf8(field).ok()?.parse::<u64>().ok());
    ends.any(|end| end > 0 && end < now + 5)
}
