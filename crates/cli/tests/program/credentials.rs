//! Tests of `--cookies` and `--netrc`.

use std::fs;

use inflight_origin::Origin;

use crate::program::{backends, finish, kinds, program, run};

#[test]
fn cookies_are_read_and_saved() {
    let origin = Origin::start().unwrap();
    for backend in backends() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("cookies.txt");
        let cookies = file.to_str().unwrap();
        let arguments = ["get", "--backend", backend, "--cookies", cookies];
        let get = |path: &str| run(arguments.into_iter().chain([&*origin.url(path)]));
        let ran = get("/cookies/set?theme=dark");
        assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{backend}");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("# Netscape HTTP Cookie File"), "{text}");
        assert!(text.contains("\ttheme\tdark"), "{text}");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(
                fs::metadata(&file).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
        let ran = get("/cookies");
        assert!(ran.stdout.contains("dark"), "{backend}: {ran:?}");
    }
}

#[test]
fn a_file_that_has_no_cookies_is_a_usage_error_and_stays() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("notes.txt");
    fs::write(&file, "my secret notes\n").unwrap();
    let ran = run([
        "get",
        "--cookies",
        file.to_str().unwrap(),
        "http://127.0.0.1:1/",
    ]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(
        ran.stderr.contains("line 1") && !ran.stderr.contains("secret"),
        "{ran:?}"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), "my secret notes\n");
}

#[test]
fn netrc_has_the_credentials_of_a_host() {
    let origin = Origin::start().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, "machine 127.0.0.1 login me password secret\n").unwrap();
    let gather = |netrc: &str, options: &[&str], url: &str| {
        let arguments = ["gather", "--fail-status", "--netrc"].into_iter();
        let mut command = program(arguments.chain(options.iter().copied()).chain([url]));
        let ran = finish(
            command
                .env("NETRC", netrc)
                .env("HOME", "/nonexistent")
                .spawn()
                .unwrap(),
        );
        let printed = ran.stdout.replace("/me/secret", "") + &ran.stderr;
        assert!(!printed.contains("secret"), "{printed}");
        ran
    };
    let url = origin.url("/basic-auth/me/secret");
    let path = file.path().to_str().unwrap();
    assert_eq!(kinds(&gather(path, &[], &url).records()), ["ok"]);
    let own = url.replace("http://", "http://other:wrong@");
    assert_eq!(kinds(&gather(path, &[], &own).records()), ["status"]);
    assert_eq!(
        kinds(&gather(path, &["--user", "a:b"], &url).records()),
        ["status"]
    );
    assert_eq!(gather("/nonexistent", &[], &url).code, Some(2));
    fs::write(&file, "machine a login me password\nmy secret\n").unwrap();
    let ran = gather(path, &[], &url);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("line "), "{ran:?}");
}
