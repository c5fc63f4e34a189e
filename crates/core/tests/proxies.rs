//! Tests of `Proxies`.

use inflight_core::{Error, Proxies, Proxy};

#[test]
fn requests_to_exceptions_use_no_proxy() -> Result<(), Error> {
    // ANCHOR: proxies
    let proxies = Proxies::all(Proxy::new("http://proxy.test:3128")?)
        .except("localhost, .internal.test, 10.0.0.0/8");
    // ANCHOR_END: proxies
    for (url, uses_proxy) in [
        ("http://pages.test/", true),
        ("https://pages.test/", true),
        ("http://localhost:8080/", false),
        ("https://wiki.internal.test/", false),
        ("http://10.1.2.3/", false),
        ("http://11.1.2.3/", true),
    ] {
        let uri = url.parse().unwrap();
        assert_eq!(proxies.of(&uri).unwrap().is_some(), uses_proxy, "{url}");
    }
    Ok(())
}
