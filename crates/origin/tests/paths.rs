//! The status and the content of each path.

mod common;

use std::io::Read;

use common::{Answer, Client, get};
use inflight_origin::{Origin, payload};
use serde_json::json;

/// A target for each path that accepts GET, and the status of the response to GET and to HEAD.
const GETS: &[(&str, u16)] = &[
    ("/", 200),
    ("/get", 200),
    ("/headers", 200),
    ("/ip", 200),
    ("/user-agent", 200),
    ("/anything", 200),
    ("/anything/a/b", 200),
    ("/status/299", 299),
    ("/status/204", 204),
    ("/status/304", 304),
    ("/status/999", 999),
    ("/delay/0.001", 200),
    ("/delay-ms/1", 200),
    ("/page/1", 200),
    ("/page/1?delay_ms=1", 200),
    ("/bytes/0", 200),
    ("/bytes/100", 200),
    ("/stream-bytes/0", 200),
    ("/stream-bytes/100?chunk_size=30", 200),
    ("/drip?numbytes=5&duration=0.01&delay=0&code=299", 299),
    ("/slow-body?chunks=3&size=2&pause_ms=1", 200),
    ("/encoding/utf8", 200),
    ("/links/3/1", 200),
    ("/links/201/1", 400),
    ("/redirect/1", 302),
    ("/relative-redirect/2", 302),
    ("/absolute-redirect/2", 302),
    ("/redirect-to?url=/get", 302),
    ("/gzip", 200),
    ("/deflate", 200),
    ("/brotli", 200),
    ("/zstd", 200),
    ("/coded/gzip/100", 200),
    ("/coded/lzma/100", 400),
    ("/coded/br/100000000000", 400),
    ("/range/100", 200),
    ("/range/104857601", 400),
    ("/cookies", 200),
    ("/cookies/set?a=1", 302),
    ("/cookies/set/a/1", 302),
    ("/cookies/delete?a", 302),
    ("/basic-auth/me/secret", 401),
    ("/hidden-basic-auth/me/secret", 404),
    ("/bearer", 401),
    ("/response-headers?a=1", 200),
    ("/echo-headers-raw", 200),
    ("/raw-header?hex=6162", 200),
    ("/upload", 200),
    ("/flaky?fail=0", 200),
    ("/stats", 200),
];

#[test]
fn get_and_head_have_the_same_status_on_one_connection() {
    let origin = Origin::start().unwrap();
    let mut client = Client::connect(origin.addr());
    for &(path, status) in GETS {
        let got = client.get(path);
        assert_eq!(got.status, status, "GET {path}: {}", got.text());
        let head = client.call("HEAD", path, &[], b"");
        assert_eq!(head.status, status, "HEAD {path}");
        assert!(head.body.is_empty());
        if path != "/stats" {
            assert_eq!(
                head.header("content-type"),
                got.header("content-type"),
                "{path}"
            );
        }
    }
    assert_eq!(
        client
            .call("HEAD", "/bytes/70000", &[], b"")
            .header("content-length"),
        "70000"
    );

    let stats = origin.stats();
    assert_eq!(stats.connections_accepted, 1);
    assert_eq!(stats.requests, 2 * (GETS.len() as u64 - 1) + 1);
    assert_eq!((stats.in_flight, stats.aborted), (0, 0));
}

#[test]
fn the_index_lists_every_path() {
    let origin = Origin::start().unwrap();
    let index = get(&origin, "/");
    for (path, _) in GETS {
        let first = path[1..].split(['/', '?']).next().unwrap();
        assert!(index.text().contains(&format!("/{first}")), "{path}");
    }
}

#[test]
fn bad_parameters_are_refused_with_a_reason() {
    let origin = Origin::start().unwrap();
    let mut client = Client::connect(origin.addr());
    for path in [
        "/status/100",
        "/status/1000",
        "/status/teapot",
        "/delay/-1",
        "/delay/nan",
        "/delay-ms/-1",
        "/delay-ms/99999999",
        "/page/one",
        "/bytes/104857601",
        "/bytes/1?seed=x",
        "/stream-bytes/10?chunk_size=0",
        "/drip?numbytes=0",
        "/drip?duration=-1",
        "/drip?code=101",
        "/slow-body?chunks=1000000&size=1000000",
        "/redirect/0",
        "/redirect-to",
        "/redirect-to?url=/&status_code=200",
        "/redirect-to?url=a%0d%0ab",
        "/cookies/set?a=%0a",
        "/response-headers?Content-Length=3",
        "/raw-header?hex=6",
        "/raw-header?hex=0d0a",
        "/flaky?fail=many",
    ] {
        let answer = client.get(path);
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.text().len() > 10, "{path}: {}", answer.text());
    }
    assert_eq!(client.get("/nowhere").status, 404);
    assert_eq!(client.call("POST", "/get", &[], b"").status, 405);
}

#[test]
fn get_shows_arguments_headers_origin_and_url() {
    let origin = Origin::start().unwrap();
    let mut client = Client::connect(origin.addr());
    let headers = [("x-custom-header", "a"), ("X-Custom-Header", "b")];
    let echo = client.call("GET", "/get?one=1&two=2&two=3&none=", &headers, b"");
    assert_eq!(
        echo.json(),
        json!({
            "args": {"one": "1", "two": ["2", "3"], "none": ""},
            "headers": {"Host": "origin.test:80", "X-Custom-Header": "a,b"},
            "origin": "127.0.0.1",
            "url": "http://origin.test:80/get?one=1&two=2&two=3&none=",
        })
    );
    let agent = client.call("GET", "/user-agent", &[("User-Agent", "me/1")], b"");
    assert_eq!(agent.json(), json!({"user-agent": "me/1"}));
    assert_eq!(client.get("/ip").json(), json!({"origin": "127.0.0.1"}));
    assert_eq!(
        client.get("/headers").json(),
        json!({"headers": {"Host": "origin.test:80"}})
    );
}

#[test]
fn post_parses_the_body_by_its_media_type() {
    let origin = Origin::start().unwrap();
    let mut client = Client::connect(origin.addr());
    let mut post = |media: &str, body: &[u8]| {
        let echo = client.call("POST", "/post", &[("Content-Type", media)], body);
        let mut echo = echo.json();
        let mut part = |name: &str| echo[name].take();
        [part("data"), part("form"), part("files"), part("json")]
    };

    assert_eq!(
        post("application/json", br#"{"a": [1]}"#),
        [
            json!("{\"a\": [1]}"),
            json!({}),
            json!({}),
            json!({"a": [1]})
        ]
    );
    assert_eq!(
        post("text/plain", "grüße".as_bytes()),
        [json!("grüße"), json!({}), json!({}), json!(null)]
    );
    assert_eq!(
        post("application/octet-stream", b"\xff\x00"),
        [
            json!("data:application/octet-stream;base64,/wA="),
            json!({}),
            json!({}),
            json!(null)
        ]
    );
    assert_eq!(
        post(
            "application/x-www-form-urlencoded; charset=utf-8",
            b"a=1&b=2&b=%C3%BC"
        ),
        [
            json!(""),
            json!({"a": "1", "b": ["2", "ü"]}),
            json!({}),
            json!(null)
        ]
    );
    let form = "--cut\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n\
                --cut\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f.txt\"\r\n\r\nfile\r\n--cut--\r\n";
    assert_eq!(
        post("multipart/form-data; boundary=cut", form.as_bytes()),
        [
            json!(""),
            json!({"a": "1"}),
            json!({"f": "file"}),
            json!(null)
        ]
    );
}

#[test]
fn each_method_is_echoed() {
    let origin = Origin::start().unwrap();
    let mut client = Client::connect(origin.addr());
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let path = format!("/{}", method.to_lowercase());
        assert_eq!(client.call(method, &path, &[], b"x").json()["data"], "x");
    }
    for method in [
        "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND",
    ] {
        let echo = client.call(method, "/anything/at/all?q=1", &[], b"").json();
        assert_eq!(echo["method"], method);
        assert_eq!(echo["url"], "http://origin.test:80/anything/at/all?q=1");
        let status = client.call(method, "/status/418", &[], b"ignored");
        assert_eq!(status.status, 418);
    }
}

#[test]
fn redirect_and_authentication_statuses_have_their_headers() {
    let origin = Origin::start().unwrap();
    let mut client = Client::connect(origin.addr());
    for code in [301, 302, 303, 305, 307, 308] {
        let answer = client.get(&format!("/status/{code}"));
        assert_eq!(
            (answer.status, answer.header("location")),
            (code, "/redirect/1")
        );
    }
    let basic = "Basic realm=\"Fake Realm\"";
    assert_eq!(client.get("/status/401").header("www-authenticate"), basic);
    assert_eq!(
        client.get("/status/407").header("proxy-authenticate"),
        basic
    );
}

#[test]
fn redirects_end_at_get() {
    let origin = Origin::start().unwrap();
    let mut client = Client::connect(origin.addr());
    for (path, location) in [
        ("/redirect/1", "/get"),
        ("/redirect/3", "/relative-redirect/2"),
        (
            "/redirect/3?absolute=true",
            "http://origin.test:80/absolute-redirect/2",
        ),
        ("/relative-redirect/2", "/relative-redirect/1"),
        ("/absolute-redirect/1", "http://origin.test:80/get"),
        (
            "/redirect-to?url=http%3A%2F%2Felsewhere%2F%3Fa%3Db",
            "http://elsewhere/?a=b",
        ),
    ] {
        let answer = client.get(path);
        assert_eq!(
            (answer.status, answer.header("location")),
            (302, location),
            "{path}"
        );
    }
    let kept = client.call("POST", "/redirect-to?url=/post&status_code=307", &[], b"x");
    assert_eq!((kept.status, kept.header("location")), (307, "/post"));
}

#[test]
fn bytes_depend_only_on_the_seed() {
    let origin = Origin::start().unwrap();
    let mut client = Client::connect(origin.addr());
    let sized = client.get("/bytes/200000?seed=7");
    assert_eq!(sized.header("content-length"), "200000");
    assert!(sized.body == payload::bytes(200_000, 7));

    let chunked = client.get("/stream-bytes/200000?seed=7&chunk_size=70000");
    assert_eq!(chunked.chunks, [70_000, 70_000, 60_000]);
    assert!(chunked.body == sized.body);
    assert!(client.get("/bytes/200000").body == payload::bytes(200_000, 0));
    assert_eq!(client.get("/page/5").text(), payload::page(5));
}

#[test]
fn bodies_with_pauses_are_complete() {
    let origin = Origin::start().unwrap();
    let mut client = Client::connect(origin.addr());
    let drip = client.get("/drip?numbytes=7&duration=0.02&delay=0.001");
    assert_eq!(
        (drip.header("content-length"), drip.text()),
        ("7", "*******")
    );
    let fast = client.get("/drip?numbytes=100000&duration=0.01&delay=0");
    assert_eq!(fast.body, [b'*'; 100_000]);

    let slow = client.get("/slow-body?chunks=3&size=5&pause_ms=2");
    assert_eq!(slow.chunks, [5, 5, 5]);
    assert_eq!(slow.body, payload::bytes(15, 0));
}

#[test]
fn compressed_responses_can_be_decompressed() {
    let origin = Origin::start().unwrap();
    let mut client = Client::connect(origin.addr());
    let mut check = |path: &str, coding: &str, flag: &str, decode: fn(&[u8]) -> Vec<u8>| {
        let mut answer: Answer = client.get(path);
        assert_eq!(answer.header("content-encoding"), coding);
        answer.body = decode(&answer.body);
        let echo = answer.json();
        assert_eq!(
            (&echo[flag], &echo["method"]),
            (&json!(true), &json!("GET"))
        );
        assert_eq!(echo["headers"]["Host"], "origin.test:80");
    };
    fn all(mut decoder: impl Read) -> Vec<u8> {
        let mut plain = Vec::new();
        decoder.read_to_end(&mut plain).unwrap();
        plain
    }
    check("/gzip", "gzip", "gzipped", |body| {
        all(flate2::read::GzDecoder::new(body))
    });
    check("/deflate", "deflate", "deflated", |body| {
        all(flate2::read::ZlibDecoder::new(body))
    });
    check("/brotli", "br", "brotli", |body| {
        all(brotli::Decompressor::new(body, 4096))
    });
    check("/zstd", "zstd", "zstd", |body| {
        zstd::decode_all(body).unwrap()
    });
}

#[test]
fn bytes_are_sent_in_the_requested_coding() {
    let origin = Origin::start().unwrap();
    let mut client = Client::connect(origin.addr());
    let bare = client.get("/coded/bare-deflate/1000?seed=3");
    assert_eq!(bare.header("content-encoding"), "deflate");
    let mut plain = Vec::new();
    let mut decoder = flate2::read::DeflateDecoder::new(&bare.body[..]);
    std::io::Read::read_to_end(&mut decoder, &mut plain).unwrap();
    assert_eq!(plain, inflight_origin::payload::bytes(1000, 3));
    let zeros = zstd::decode_all(&client.get("/coded/zstd/1000").body[..]).unwrap();
    assert_eq!(zeros, [0; 1000]);
}

#[test]
fn a_range_of_the_same_version_is_sent_alone() {
    let origin = Origin::start().unwrap();
    let mut client = Client::connect(origin.addr());
    let bytes = payload::bytes(200_000, 3);
    let mut range = |fields: &[(&str, &str)]| {
        let answer = client.call("GET", "/range/200000?seed=3", fields, b"");
        assert_eq!(answer.header("etag"), "\"200000-3\"");
        answer
    };
    let (same, other) = (("If-Range", "\"200000-3\""), ("If-Range", "\"other\""));
    for (asked, first, end) in [
        ("bytes=70001-", 70_001, 200_000),
        ("bytes=0-0", 0, 1),
        ("bytes=150000-999999", 150_000, 200_000),
        ("bytes=-10", 199_990, 200_000),
    ] {
        let part = range(&[("Range", asked), same]);
        let content_range = format!("bytes {first}-{}/200000", end - 1);
        assert_eq!(part.status, 206, "{asked}");
        assert_eq!(part.header("content-range"), content_range);
        assert!(part.body == bytes[first..end], "{asked}");
    }
    for fields in [
        &[("Range", "bytes=5-"), other][..],
        &[("Range", "bytes=0-4,6-9")],
        &[("Range", "lines=5-")],
        &[],
    ] {
        let whole = range(fields);
        assert_eq!(whole.status, 200, "{fields:?}");
        assert!(whole.body == bytes, "{fields:?}");
    }
    let refused = range(&[("Range", "bytes=200000-"), same]);
    assert_eq!(refused.status, 416);
    assert_eq!(refused.header("content-range"), "bytes */200000");
}

#[test]
fn a_cut_range_ends_with_the_connection() {
    let origin = Origin::start().unwrap();
    let mut client = Client::connect(origin.addr());
    client.send("GET /range/100?cut=40 HTTP/1.1\r\nHost: here\r\nRange: bytes=10-\r\n\r\n");
    let received = client.read_to_end().unwrap();
    let head = String::from_utf8_lossy(&received).to_lowercase();
    assert!(head.contains("\r\ncontent-length: 90\r\n"), "{head}");
    assert!(received.ends_with(&payload::bytes(50, 0)[10..]));
}

#[test]
fn cookies_are_set_shown_and_deleted() {
    let origin = Origin::start().unwrap();
    let mut client = Client::connect(origin.addr());
    let set = client.get("/cookies/set?a=1&b=two");
    assert_eq!((set.status, set.header("location")), (302, "/cookies"));
    assert_eq!(
        set.header_values("set-cookie"),
        [&b"a=1; Path=/"[..], b"b=two; Path=/"]
    );
    assert_eq!(
        client.get("/cookies/set/k/v%2B").header("set-cookie"),
        "k=v+; Path=/"
    );
    let deleted = client.get("/cookies/delete?a");
    assert!(deleted.header("set-cookie").contains("Max-Age=0"));
    let echo = client.call("GET", "/cookies", &[("Cookie", "a=1; b=two=2")], b"");
    assert_eq!(echo.json(), json!({"cookies": {"a": "1", "b": "two=2"}}));
}

#[test]
fn credentials_are_checked() {
    let origin = Origin::start().unwrap();
    let mut client = Client::connect(origin.addr());
    let mut status = |path: &str, authorization: &str| {
        let headers = [("Authorization", authorization)];
        client.call("GET", path, &headers, b"").status
    };
    // me:secret, me:guess
    let (right, wrong) = ("Basic bWU6c2VjcmV0", "basic bWU6Z3Vlc3M=");
    assert_eq!(status("/basic-auth/me/secret", right), 200);
    assert_eq!(status("/basic-auth/me/secret", wrong), 401);
    assert_eq!(status("/hidden-basic-auth/me/secret", right), 200);
    assert_eq!(status("/hidden-basic-auth/me/secret", wrong), 404);
    assert_eq!(status("/bearer", right), 401);
    let bearer = client.call("GET", "/bearer", &[("Authorization", "Bearer tok")], b"");
    assert_eq!(
        bearer.json(),
        json!({"authenticated": true, "token": "tok"})
    );
}

#[test]
fn header_bytes_are_echoed_and_sent_exactly() {
    let origin = Origin::start().unwrap();
    let mut client = Client::connect(origin.addr());
    client.send(b"GET /echo-headers-raw HTTP/1.1\r\nX-Raw: \xc3\xa9\xff\r\nX-raw: 2\r\n\r\n");
    assert_eq!(
        client.read_answer("GET").json(),
        json!({"headers": [["x-raw", "c3a9ff"], ["x-raw", "32"]]})
    );

    let raw = client.get("/raw-header?name=X-Raw&hex=c3a9&hex=6162&name=X-Other&hex=FF");
    assert_eq!(raw.header_values("x-raw"), [&b"\xc3\xa9"[..], b"ab"]);
    assert_eq!(raw.header_values("x-other"), [b"\xff"]);

    let chosen = client.get("/response-headers?Content-Type=text/x&X-A=1&X-A=2");
    assert_eq!(chosen.header("content-type"), "text/x");
    assert_eq!(chosen.header_values("x-a"), [b"1", b"2"]);
    let echo: serde_json::Value = serde_json::from_slice(&chosen.body).unwrap();
    assert_eq!(
        echo,
        json!({
            "Content-Type": "text/x",
            "Content-Length": chosen.body.len().to_string(),
            "X-A": ["1", "2"],
        })
    );
}

#[test]
fn upload_returns_the_length_and_the_digest() {
    let origin = Origin::start().unwrap();
    let mut client = Client::connect(origin.addr());
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(
        client.call("POST", "/upload", &[], b"abc").json(),
        json!({"bytes": 3, "sha256": abc, "chunked": false, "content_length": 3})
    );
    client.send("PUT /upload HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n");
    assert_eq!(
        client.read_answer("PUT").json(),
        json!({"bytes": 3, "sha256": abc, "chunked": true, "content_length": null})
    );
}

#[test]
fn echo_sends_a_chunk_back_before_the_next_one() {
    let origin = Origin::start().unwrap();
    let mut client = Client::connect(origin.addr());
    client.send("POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
    while !client.read_line().is_empty() {}
    assert_eq!(client.read_exactly(8), b"3\r\none\r\n");
    client.send("3\r\ntwo\r\n");
    assert_eq!(client.read_exactly(8), b"3\r\ntwo\r\n");
    client.send("0\r\n\r\n");
    assert_eq!(client.read_exactly(5), b"0\r\n\r\n");
}

#[test]
fn flaky_fails_the_requested_number_of_times() {
    let origin = Origin::start().unwrap();
    let mut client = Client::connect(origin.addr());
    for (attempt, status) in [(1, 503), (2, 503), (3, 200), (4, 200)] {
        let answer = client.get("/flaky?fail=2&id=a");
        assert_eq!(answer.status, status);
        assert_eq!(answer.json(), json!({"id": "a", "attempt": attempt}));
    }
    assert_eq!(client.get("/flaky?fail=2&id=b").status, 503);
}
