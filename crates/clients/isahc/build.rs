//! Detects whether the bundled libcurl is built with `poll`.

use std::env;

/// Sets the cfg `curl_selects` if libcurl uses `select`, which supports no descriptor above 1023. curl-sys
/// defines `HAVE_POLL_FINE`, but its bundled libcurl checks `HAVE_POLL`. So libcurl uses `poll` only if the
/// compiler's flags contain `-DHAVE_POLL=1`.
fn main() {
    println!("cargo::rustc-check-cfg=cfg(curl_selects)");
    let target = env::var("TARGET").unwrap_or_default();
    // The variables from which the `cc` crate takes the compiler's flags.
    let sources = [
        format!("CFLAGS_{target}"),
        format!("CFLAGS_{}", target.replace('-', "_")),
        "TARGET_CFLAGS".to_owned(),
        "CFLAGS".to_owned(),
    ];
    let polls = sources.iter().any(|name| {
        println!("cargo::rerun-if-env-changed={name}");
        env::var(name).is_ok_and(|flags| flags.contains("-DHAVE_POLL="))
    });
    if env::var_os("CARGO_CFG_UNIX").is_some() && !polls {
        println!("cargo::rustc-cfg=curl_selects");
    }
}
