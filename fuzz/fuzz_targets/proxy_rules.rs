//! Proxy rules: `NO_PROXY` and the proxy variables, compared with the rules of hyper-util.
#![no_main]

use std::net::IpAddr;

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use inflight_core::{Proxies, Proxy};
use libfuzzer_sys::fuzz_target;
use url::Url;

// The input has lines: a host, and the values of `no_proxy`, `http_proxy`, `https_proxy` and `all_proxy`.
fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let (host, list, variables) = (line(), line(), [line(), line(), line()]);
    let Some(uri) = server(host) else { return };
    check_exceptions(&uri, list);
    check_variables(&uri, variables);
});

/// Returns the URL of a server in the form in which a session passes it to a client.
fn server(host: &str) -> Option<Uri> {
    let url = Url::parse(&format!("http://{host}")).ok()?;
    let uri: Uri = url.as_str().parse().ok()?;
    uri.host()
        .is_some_and(|host| !host.is_empty())
        .then_some(uri)
}

fn check_exceptions(uri: &Uri, list: &str) {
    let proxy = Proxy::new("http://proxy.test:3128").expect("the URL is valid");
    let proxies = Proxies::all(proxy).except(list);
    let is_direct = proxies.of(uri).expect("the proxy is supported").is_none();
    let host = uri.host().unwrap_or_default();
    let is_address = host.starts_with('[') || host.parse::<IpAddr>().is_ok();
    let entries: Vec<_> = list.split(',').collect();
    let is_plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '[' | ']' | ':');
    // hyper-util compares a trailing dot, and applies `*` only to names.
    let is_common = host.chars().all(is_plain)
        && !host.ends_with('.')
        && entries
            .iter()
            .all(|entry| is_common(entry) && !(is_address && entry.trim() == "*"));
    if is_common {
        let matcher = Matcher::builder()
            .all("http://proxy.test:3128")
            .no(list)
            .build();
        assert_eq!(
            is_direct,
            matcher.intercept(uri).is_none(),
            "{uri} and {list:?}"
        );
    }
}

/// Returns whether both implementations define the entry in the same way. hyper-util knows no ports, no
/// wildcards within a name, no list separated by spaces, and no names outside ASCII.
fn is_common(entry: &str) -> bool {
    let entry = entry.trim_matches(' ');
    let is_name = |name: &str| {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        // A label `xn--` is checked by the URL standard, and a number at the end means an address.
        let has_number = name
            .rsplit('.')
            .next()
            .is_some_and(|last| last.starts_with(|c: char| c.is_ascii_digit()));
        let mut labels = name.split('.');
        !has_number
            && !name.contains("xn--")
            && labels.all(|label| !label.is_empty() && label.chars().all(is_part))
    };
    let is_network = || {
        let (address, length) = entry.split_once('/').unwrap_or((entry, "0"));
        address.parse::<IpAddr>().is_ok() && length.parse::<u8>().is_ok()
    };
    entry == "*"
        || entry.is_empty()
        || is_name(entry.strip_prefix('.').unwrap_or(entry))
        || is_network()
}

fn check_variables(uri: &Uri, [http, https, all]: [&str; 3]) {
    let var = |name: &str| {
        let value = match name {
            "http_proxy" => http,
            "https_proxy" => https,
            "all_proxy" => all,
            _ => return None,
        };
        Some(value.to_owned())
    };
    let Ok(proxies) = Proxies::from_env(var) else {
        return;
    };
    let matcher = Matcher::builder().http(http).https(https).all(all).build();
    let Ok(Some(proxy)) = proxies.of(uri) else {
        return;
    };
    let Some(expected) = matcher.intercept(uri) else {
        return;
    };
    // The URL standard rewrites other hosts, and hyper-util ignores a variable that it cannot parse.
    let host = expected.uri().host().unwrap_or_default();
    let is_plain = host.starts_with(|c: char| c.is_ascii_alphabetic())
        && host.chars().all(|c| c.is_ascii_alphabetic());
    if is_plain && [http, all].iter().all(|value| is_plain_proxy(value)) {
        assert!(proxy.host().eq_ignore_ascii_case(host), "{http:?}, {all:?}");
        let port = expected.uri().port_u16();
        assert!(
            port.is_none_or(|port| proxy.port() == port),
            "{http:?}, {all:?}"
        );
    }
}

/// Returns whether the value is empty or `http://`, a host and perhaps a port.
fn is_plain_proxy(value: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-');
    value.is_empty()
        || value
            .strip_prefix("http://")
            .is_some_and(|rest| rest.chars().all(is_part))
}
