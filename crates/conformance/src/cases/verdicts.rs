//! The rules for responses that a server may send: one row for each situation, with the same verdict for
//! every client.

use inflight_core::ErrorKind::{Incomplete, Protocol};

use crate::case::need;
use crate::rule::Connection::{Closed, Kept};
use crate::rule::{Accepted, Reply, Rule};

const HELLO: Accepted = Accepted {
    status: 200,
    body: "hello",
    fields: &[],
    connection: Kept,
};

const NO_BODY: Accepted = Accepted { body: "", ..HELLO };

const fn and_closed(accepted: Accepted) -> Accepted {
    Accepted {
        connection: Closed,
        ..accepted
    }
}

const fn with_status(status: u16, accepted: Accepted) -> Accepted {
    Accepted { status, ..accepted }
}

pub(super) static RULES: &[Rule] = &[
    Rule::refused(
        Protocol,
        ("status lines", "versions_other_than_1_0_and_1_1_are_protocol"),
        "A version other than HTTP/1.0 and HTTP/1.1 is refused.",
        "RFC 9112, 2.3",
        || {
            let versions = [
                "HTTP/2.0", "HTTP/2", "HTTP/0.9", "HTTP/1.2", "HTTP/1", "HTTP/1.1.1", "HTTP/11",
                "http/1.1", "HTTPS/1.1", "ICY",
            ];
            each(versions, |version| {
                format!("{version} 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            })
        },
    )
    .because("RFC 9110, 2.5, lets a higher minor version be read as 1.1; there is none."),
    Rule::refused(
        Protocol,
        ("status lines", "garbage_is_protocol"),
        "Bytes that do not begin like an HTTP response are refused: HTTP/0.9 is not supported.",
        "RFC 9112, 4",
        || {
            let greetings = [
                "SSH-2.0-OpenSSH_9.6\r\n\r\n",
                "220 mail.test ESMTP\r\n\r\n",
                "<html>hello</html>\r\n\r\n",
                "HTTP/1.1\r\n\r\n",
                "\u{16}\u{3}\u{1}\0\0\r\n\r\n",
            ];
            each(greetings, str::to_owned)
        },
    ),
    Rule::refused(
        Protocol,
        ("status lines", "statuses_that_are_no_three_digits_are_protocol"),
        "A status that is not three digits from 100 on is refused.",
        "RFC 9112, 4",
        || {
            let statuses = [
                "99", "20", "2", "", "099", "000", "1000", "2000", "20x", "+20", "-20", "2 0",
                "0x0",
            ];
            each(statuses, |status| {
                format!("HTTP/1.1 {status} OK\r\nContent-Length: 5\r\n\r\nhello")
            })
        },
    ),
    Rule::accepted(
        with_status(999, HELLO),
        ("status lines", "statuses_beyond_599_come_as_they_are"),
        "A status from 600 to 999 is returned unchanged.",
        "RFC 9110, 15",
        || vec!["HTTP/1.1 999 Denied\r\nContent-Length: 5\r\n\r\nhello".into()],
    )
    .because("It is invalid, but well-known sites send it.")
    .needs(&[need!(unregistered_status)]),
    Rule::refused(
        Protocol,
        ("status lines", "misplaced_space_in_a_status_line_is_protocol"),
        "A status line without exactly one space before its status, or with a space at its beginning, is refused.",
        "RFC 9112, 4",
        || {
            let lines = [
                "HTTP/1.1  200 OK", "HTTP/1.1200 OK", " HTTP/1.1 200 OK", "HTTP/1.1 200OK",
                "HTTP /1.1 200 OK",
            ];
            each(lines, status_line)
        },
    )
    .because("A recipient may be lenient here; no server needs it."),
    Rule::refused(
        Protocol,
        ("status lines", "control_bytes_in_a_status_line_are_protocol"),
        "A NUL or a CR in a status line is refused.",
        "RFC 9112, 4",
        || each(["HTTP/1.1 200 \0", "HTTP/1.1 200 a\rb", "HTTP/1.1\r200 OK"], status_line),
    ),
    Rule::refused(
        Protocol,
        ("status lines", "other_control_bytes_in_a_status_line_are_protocol"),
        "Any other control byte in a status line is refused; a tab is allowed in its reason.",
        "RFC 9112, 4",
        || each(["HTTP/1.1 200 \x01", "HTTP/1.1 200 \x7f", "HTTP/1.1\t200 OK"], status_line),
    )
    .needs(&[need!(strict_heads)]),
    Rule::accepted(
        HELLO,
        ("status lines", "reason_may_be_anything_or_missing"),
        "The reason may be any text, or may be missing together with the space before it.",
        "RFC 9112, 4",
        || {
            let lines = ["HTTP/1.1 200 ", "HTTP/1.1 200", "HTTP/1.1 200 A \t reason: 404!"];
            let mut replies = each(lines, status_line);
            replies.push(Reply::from(
                &b"HTTP/1.1 200 \xfc\xff\r\nContent-Length: 5\r\n\r\nhello"[..],
            ));
            replies
        },
    )
    .because("The space is required, but many servers omit it with the reason."),
    Rule::accepted(
        HELLO,
        ("status lines", "empty_lines_before_the_status_line_are_passed_over"),
        "Empty lines before a status line are skipped.",
        "RFC 9112, 2.2",
        || each(["\r\n", "\r\n\r\n\r\n"], |lines| lines.to_owned() + &sized("")),
    )
    .because("The RFC allows this for requests; some servers send one after a body.")
    .or(need!(bare_lf), Protocol),
    Rule::refused(
        Protocol,
        ("fields", "lone_cr_in_a_head_is_protocol"),
        "A CR without its LF is refused anywhere in the fields.",
        "RFC 9112, 2.2",
        || {
            let fields = [
                "X-A: a\rb\r\n", "X-A: a\r\r\n", "X-A: \rb\r\n", "X\rA: a\r\n",
                "X-A: a\rX-B: b\r\n", "\rX-A: a\r\n",
            ];
            each(fields, sized)
        },
    )
    .because("Reading it as a space is allowed, but safe only if every recipient does so."),
    Rule::accepted(
        HELLO,
        ("fields", "lines_of_a_head_may_end_in_lf_alone"),
        "A line of a head may end in LF alone.",
        "RFC 9112, 2.2",
        || {
            vec![
                "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello".into(),
                "HTTP/1.1 200 OK\r\nX-A: a\nContent-Length: 5\r\n\r\nhello".into(),
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\nhello".into(),
                "HTTP/1.1 200 OK\r\nContent-Length: 5\n\r\nhello".into(),
            ]
        },
    )
    .because("Scripts behind old gateways write such heads.")
    .or(need!(bare_lf), Protocol),
    Rule::refused(
        Protocol,
        ("fields", "control_bytes_in_a_value_are_protocol"),
        "NUL, DEL and every other control byte but the tab in a field's value are refused.",
        "RFC 9110, 5.5",
        || {
            let all = (0..0x20).chain([0x7f]).map(char::from);
            all.filter(|byte| !['\t', '\n', '\r'].contains(byte))
                .map(|byte| sized(&format!("X-A: a{byte}b\r\n")).into())
                .collect()
        },
    )
    .because("Control bytes other than NUL, CR and LF may be kept, but no server needs them."),
    Rule::refused(
        Protocol,
        ("fields", "names_that_are_no_tokens_are_protocol"),
        "A field name that is not a token is refused: no space, no control byte, nothing outside ASCII, not empty.",
        "RFC 9110, 5.1",
        || {
            let fields = [
                "X A: a\r\n", "X\0A: a\r\n", "X\x01A: a\r\n", "X\x7fA: a\r\n", "X-\u{fc}: a\r\n",
                ": a\r\n", "X(A): a\r\n", "X@: a\r\n", "\"X\": a\r\n",
            ];
            each(fields, sized)
        },
    ),
    Rule::refused(
        Protocol,
        ("fields", "space_before_a_colon_is_protocol"),
        "A space between a field's name and its colon is refused.",
        "RFC 9112, 5.1",
        || each(["X-A : a\r\n", "X-A\t: a\r\n", "Transfer-Encoding : chunked\r\n"], sized),
    )
    .because("Recipients that accept such a field and those that do not would read different messages."),
    Rule::refused(
        Protocol,
        ("fields", "lines_without_a_colon_are_protocol"),
        "A field line without a colon is refused.",
        "RFC 9112, 5",
        || each(["X-A\r\n", "X-A a\r\n", "HTTP/1.1 200 OK\r\n"], sized),
    ),
    Rule::refused(
        Protocol,
        ("fields", "space_before_the_first_field_is_protocol"),
        "A first field line that begins with a space is refused, because there is no field that it could continue.",
        "RFC 9112, 2.2",
        || each([" X-A: a\r\n", "\tX-A: a\r\n"], sized),
    ),
    Rule::accepted(
        Accepted {
            fields: &[("x-folded", "one two three")],
            ..HELLO
        },
        ("fields", "folded_values_are_joined"),
        "A value that continues on the next line after a space or a tab is one value; the fold is a space.",
        "RFC 9112, 5.2",
        || {
            let fields = [
                "X-Folded: one\r\n two\r\n\tthree\r\n",
                "X-Folded: one \r\n \t two \r\n   three\r\n",
                "X-Folded:\r\n one two three\r\n",
            ];
            each(fields, sized)
        },
    )
    .or(need!(rare_forms), Protocol),
    Rule::refused(
        Protocol,
        ("fields", "more_than_a_hundred_fields_are_protocol"),
        "More than 100 fields are refused.",
        "RFC 9110, 5.4",
        || {
            let counts = [100, 101, 200, 3000];
            let fields = counts.map(|n| (0..n).map(|n| format!("X-{n}: {n}\r\n")).collect());
            each(fields.each_ref().map(String::as_str), sized)
        },
    )
    .because("The RFC sets no limit but allows one; this is Apache's.")
    .checked_late(),
    Rule::refused(
        Protocol,
        ("fields", "fields_of_more_than_64_kib_are_protocol"),
        "Fields whose names and values exceed 64 KiB in total are refused.",
        "RFC 9110, 5.4",
        || {
            let mut fields = [66_000, 400_000, 2_000_000].map(|n| format!("X: {}\r\n", "x".repeat(n))).to_vec();
            fields.push("x".repeat(66_000) + ": a\r\n");
            fields.push((0..66).map(|n| format!("X-{n}: {}\r\n", "x".repeat(1000))).collect());
            fields.iter().map(|fields| sized(fields).into()).collect()
        },
    )
    .checked_late(),
    Rule::accepted(
        HELLO,
        ("lengths", "equal_lengths_are_one"),
        "A repeated equal Content-Length counts once, and may have leading zeros.",
        "RFC 9110, 8.6",
        || each(["5\r\nContent-Length: 5", "05", "0000000000000000000000000005"], length),
    )
    .because("Refusing a repeated one is allowed, but gateways do repeat it."),
    Rule::refused(
        Protocol,
        ("lengths", "lists_of_lengths_are_protocol"),
        "A list of equal lengths is refused.",
        "RFC 9110, 8.6",
        || each(["5, 5", "5,5", "5, 5\r\nContent-Length: 5"], length),
    )
    .because("Reading it as one is allowed, but only recipients that join fields make such lists.")
    .checked_late(),
    Rule::refused(
        Protocol,
        ("lengths", "lengths_that_differ_are_protocol"),
        "Content-Lengths that differ are refused.",
        "RFC 9112, 6.3",
        || {
            let lengths = [
                "5\r\nContent-Length: 10", "10\r\nContent-Length: 5", "5, 10",
                "5\r\nContent-Length: 5\r\nContent-Length: 6", "5, 5\r\nContent-Length: 10",
                "5\r\nContent-Length: 05", "0\r\nContent-Length: 5", "5\r\nContent-Length: 0",
            ];
            each(lengths, length)
        },
    )
    .checked_late(),
    Rule::refused(
        Protocol,
        ("lengths", "lengths_that_are_no_numbers_are_protocol"),
        "A Content-Length with anything but digits is refused.",
        "RFC 9110, 8.6",
        || {
            let lengths = [
                "five", "-5", "+5", "0x5", "5 5", "5;", "5.0", "5,", ",5", "", "5x", "1e1",
                "5\u{a0}", "\u{665}",
            ];
            each(lengths, length)
        },
    ),
    Rule::refused(
        Protocol,
        ("lengths", "lengths_that_no_counter_holds_are_protocol"),
        "A Content-Length that does not fit in 64 bits is refused.",
        "RFC 9110, 8.6",
        || {
            let lengths = [
                "18446744073709551616", "18446744073709551621", "99999999999999999999999999",
                "340282366920938463463374607431768211461",
            ];
            each(lengths, length)
        },
    ),
    Rule::accepted(
        and_closed(HELLO),
        ("transfer codings", "chunks_win_over_a_length"),
        "Chunks take precedence over a Content-Length, and the connection is not reused.",
        "RFC 9112, 6.3",
        || {
            let fields = [
                "Content-Length: 3\r\nTransfer-Encoding: chunked",
                "Transfer-Encoding: chunked\r\nContent-Length: 3",
                "Transfer-Encoding: chunked\r\nContent-Length: 5",
                "Transfer-Encoding: chunked\r\nContent-Length: 5000",
                "Transfer-Encoding: chunked\r\nContent-Length: 0",
            ];
            each(fields, |fields| {
                format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
            })
        },
    )
    .because("It ought to be an error, but servers behind gateways send both.")
    .checked_late(),
    Rule::refused(
        Protocol,
        ("transfer codings", "bad_length_beside_chunks_is_protocol"),
        "An invalid Content-Length is refused even with chunks.",
        "RFC 9112, 6.3",
        || {
            let fields = ["x", "-1", "5\r\nContent-Length: 6"];
            each(fields, |length| {
                format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\
                     Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
                )
            })
        },
    )
    .because("Chunks would override it, but the sender of such a head cannot be trusted.")
    .checked_late(),
    Rule::refused(
        Protocol,
        ("transfer codings", "codings_other_than_chunked_are_protocol"),
        "A Transfer-Encoding other than a single chunked is refused.",
        "RFC 9112, 6.1 and 6.3",
        || {
            let codings = [
                "gzip", "gzip, chunked", "chunked, gzip", "chunked, chunked", "identity",
                "identity, chunked", "xchunked", "chunkedx", "chunked;q=1", "", "chunked,",
                "gzip\r\nTransfer-Encoding: chunked", "chunked\r\nTransfer-Encoding: gzip",
                "chunked\r\nTransfer-Encoding: chunked", "\u{b}chunked",
            ];
            each(codings, |coding| coded("HTTP/1.1", "", coding))
        },
    )
    .because("No request accepts another coding (TE), so a server must not send one; `identity` is no longer valid.")
    .checked_late(),
    Rule::accepted(
        HELLO,
        ("transfer codings", "chunked_is_known_in_any_case"),
        "`chunked` may be written in any case.",
        "RFC 9112, 7",
        || each(["Chunked", "CHUNKED", "  chunked\t "], |coding| coded("HTTP/1.1", "", coding)),
    ),
    Rule::refused(
        Protocol,
        ("transfer codings", "chunks_on_http10_are_protocol"),
        "A Transfer-Encoding on HTTP/1.0 is refused.",
        "RFC 9112, 6.1",
        || {
            let fields = ["", "Content-Length: 5\r\n", "Connection: keep-alive\r\n"];
            each(fields, |fields| coded("HTTP/1.0", fields, "chunked"))
        },
    )
    .checked_late(),
    Rule::refused(
        Protocol,
        ("chunks", "nonsense_chunk_sizes_are_protocol"),
        "A chunk size that does not begin with a digit is refused.",
        "RFC 9112, 7.1",
        || each(["xyz", "-", "-5", "", ";", ";a"], chunk_line),
    )
    .or(need!(chunk_faults), Incomplete),
    Rule::refused(
        Protocol,
        ("chunks", "signed_chunk_sizes_are_protocol"),
        "A plus sign or a space before a chunk size is refused.",
        "RFC 9112, 7.1",
        || each(["+5", " 5", "\t5"], chunk_line),
    )
    .needs(&[need!(strict_chunks)]),
    Rule::refused(
        Protocol,
        ("chunks", "uncountable_chunk_sizes_are_protocol"),
        "A chunk size that does not fit in 64 bits is refused.",
        "RFC 9112, 7.1",
        || each(["10000000000000005", "fffffffffffffffff", "fffffffffffffffffff"], chunk_line),
    )
    .or(need!(chunk_faults), Incomplete),
    Rule::refused(
        Protocol,
        ("chunks", "junk_behind_a_chunk_size_is_protocol"),
        "Anything but spaces and extensions after a chunk size is refused.",
        "RFC 9112, 7.1",
        || {
            let lines = ["five", "5x", "0x5", "5 5", "5,", "5\0", "5:a", "5\r;a", "5;a\rb"];
            each(lines, chunk_line)
        },
    )
    .needs(&[need!(strict_chunks)]),
    Rule::refused(
        Protocol,
        ("chunks", "chunks_without_their_crlf_are_protocol"),
        "A chunk that is longer than its size is refused.",
        "RFC 9112, 7.1",
        || {
            let chunks = ["5\r\nhelloX\r\n", "5\r\nhello", "5\r\nhello, world\r\n", "4\r\nhello\r\n"];
            each(chunks, |chunks| chunked(&format!("{chunks}0\r\n\r\n")))
        },
    )
    .or(need!(chunk_faults), Incomplete),
    Rule::refused(
        Protocol,
        ("chunks", "chunk_lines_that_end_in_lf_alone_are_protocol"),
        "A line of a chunked body that ends in LF alone is refused.",
        "RFC 9112, 7.1",
        || {
            let bodies = ["5\nhello\r\n0\r\n\r\n", "5\r\nhello\n0\r\n\r\n", "5\r\nhello\r\n0\n\r\n"];
            each(bodies, chunked)
        },
    )
    .needs(&[need!(strict_chunks)]),
    Rule::accepted(
        HELLO,
        ("chunks", "chunk_sizes_may_be_long_and_of_either_case"),
        "A chunk size may have leading zeros and trailing spaces.",
        "RFC 9112, 7.1",
        || each(["5", "005", "0000000000000005", "5 ", "5\t", "5   "], chunk_line),
    ),
    Rule::accepted(
        HELLO,
        ("chunks", "chunk_extensions_are_no_body"),
        "Extensions after a chunk size are skipped: they are not part of the body.",
        "RFC 9112, 7.1.1",
        || each(["5;a", "5;a=b", "5; a = \"b;c\"", "5 ;a", "5;", "5;\u{fc}"], chunk_line),
    ),
    Rule::accepted(
        HELLO,
        ("chunks", "long_chunk_extensions_are_no_body"),
        "Chunk extensions may be long.",
        "RFC 9112, 7.1.1",
        || {
            let lines = ["5;signature=0123456789abcdef", "5;name=\"a value, in quotes\";other=value"];
            each(lines, chunk_line)
        },
    )
    .or(need!(rare_forms), Protocol),
    Rule::refused(
        Protocol,
        ("chunks", "floods_of_chunk_extensions_are_protocol"),
        "Chunk extensions of a megabyte are refused.",
        "RFC 9112, 7.1.1",
        || vec![chunk_line(&format!("5;{}", "x".repeat(MEGABYTE))).into()],
    )
    .needs(&[need!(strict_chunks)]),
    Rule::accepted(
        HELLO,
        ("trailers", "trailers_are_no_body"),
        "Fields after the last chunk are skipped, whatever their names.",
        "RFC 9112, 7.1.2",
        || {
            let fields = ["X-A: a\r\n", "X-A: a\r\nX-B:\r\n", "Content-Length: 3\r\n"];
            each(fields, trailers)
        },
    ),
    Rule::refused(
        Protocol,
        ("trailers", "trailers_that_are_no_fields_are_protocol"),
        "Anything but fields after the last chunk is refused.",
        "RFC 9112, 7.1.2",
        || each(["X-A\r\n", "X A: a\r\n", "X-A: a\0\r\n", ": a\r\n", "X-A : a\r\n"], trailers),
    )
    .needs(&[need!(strict_chunks)]),
    Rule::refused(
        Protocol,
        ("trailers", "floods_of_trailers_are_protocol"),
        "A flood of trailers is refused.",
        "RFC 9110, 5.4",
        || {
            let (long, many) = (format!("X: {}\r\n", "x".repeat(MEGABYTE)), "X: a\r\n".repeat(20_000));
            each([&*long, &*many], trailers)
        },
    )
    .needs(&[need!(strict_chunks)]),
    Rule::refused(
        Incomplete,
        ("early ends", "head_cut_anywhere_is_incomplete"),
        "A head that ends early is refused, wherever it is cut.",
        "RFC 9112, 8",
        || {
            let mut cuts = cut("", "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 5\r\n\r\n");
            cuts.extend(cut("HTTP/1.1 103 Early\r\n\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n\r\n"));
            cuts
        },
    ),
    Rule::refused(
        Incomplete,
        ("early ends", "head_without_a_promise_cut_anywhere_is_incomplete"),
        "A head that ends early is also refused with Connection: close, with Transfer-Encoding, and on HTTP/1.0.",
        "RFC 9112, 8",
        || {
            let mut cuts = cut("HTTP/1.1 200 OK\r\nConnection: close\r\n", "Content-Length: 5\r\n\r\n");
            cuts.extend(cut("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", "A: b\r\n\r\n"));
            cuts.extend(cut("", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n"));
            cuts
        },
    )
    .needs(&[need!(strict_heads)]),
    Rule::refused(
        Incomplete,
        ("early ends", "sized_body_cut_anywhere_is_incomplete"),
        "A body with a Content-Length that ends early is refused, wherever it is cut.",
        "RFC 9112, 8",
        || {
            let mut cuts = cut("HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n", "abcdefghijklmnopqrstuvwxyz");
            cuts.extend(cut("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", "hello"));
            cuts
        },
    ),
    Rule::refused(
        Incomplete,
        ("early ends", "chunked_body_cut_anywhere_is_incomplete"),
        "A chunked body that ends early is refused, wherever it is cut.",
        "RFC 9112, 8",
        || cut(&chunked(""), "5;a=b\r\nhello\r\n10\r\n0123456789abcdef\r\n00\r\n"),
    ),
    Rule::refused(
        Incomplete,
        ("early ends", "end_within_the_trailers_is_incomplete"),
        "A chunked body that ends before its final empty line is refused.",
        "RFC 9112, 8",
        || cut(&chunked("5\r\nhello\r\n0\r\n"), "X-End: a\r\nX-B: b\r\n\r\n"),
    )
    .needs(&[need!(strict_chunks)]),
    Rule::accepted(
        HELLO,
        ("interim responses", "ten_interim_responses_are_passed_over"),
        "Interim responses before the final one are skipped, registered or not.",
        "RFC 9110, 15.2",
        || {
            let interim = [
                "HTTP/1.1 199 What\r\n\r\n",
                "HTTP/1.1 103 Early\r\nContent-Length: 3\r\n\r\n",
                "HTTP/1.1 103 Early\r\nTransfer-Encoding: chunked\r\n\r\n",
                &"HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n".repeat(10),
            ];
            each(interim, |interim| interim.to_owned() + &sized(""))
        },
    )
    .needs(&[need!(interim_responses)]),
    Rule::accepted(
        HELLO,
        ("interim responses", "continue_may_have_fields"),
        "A 100 (Continue) may have fields.",
        "RFC 9110, 15.2.1",
        || vec![("HTTP/1.1 100 Continue\r\nX-A: a\r\n\r\n".to_owned() + &sized("")).into()],
    )
    .or(need!(rare_forms), Protocol),
    Rule::refused(
        Protocol,
        ("interim responses", "flood_of_interim_responses_is_protocol"),
        "A flood of interim responses is refused.",
        "RFC 9110, 15.2",
        || vec!["HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n".repeat(20_000).into()],
    )
    .because("The RFC sets no limit, but a client would wait forever for a server that keeps sending them.")
    .needs(&[need!(interim_limit)]),
    Rule::refused(
        Protocol,
        ("interim responses", "switching_protocols_is_protocol"),
        "A 101 (Switching Protocols) without an Upgrade in the request is refused.",
        "RFC 9110, 15.2.2",
        || {
            vec![
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\nConnection: Upgrade\r\n\r\n".into(),
                "HTTP/1.1 101 Switching Protocols\r\n\r\n".into(),
            ]
        },
    )
    .needs(&[need!(early_head)])
    .checked_late(),
    Rule::refused(
        Protocol,
        ("interim responses", "bytes_of_another_protocol_reach_nobody"),
        "Bytes after a 101 without an Upgrade in the request are not read as a body.",
        "RFC 9110, 15.2.2",
        || {
            let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\nConnection: Upgrade\r\n\r\n";
            let bytes = ["bytes".to_owned(), sized("")];
            bytes.iter().map(|bytes| Reply::from(head.to_owned() + bytes)).collect()
        },
    )
    .checked_late(),
    Rule::accepted(
        with_status(204, NO_BODY),
        ("no body", "no_content_may_say_anything_of_a_body"),
        "A 204 (No Content) has no body, whether it has a Content-Length, a Transfer-Encoding or neither.",
        "RFC 9112, 6.3",
        || each(NO_BODY_FIELDS, |fields| format!("HTTP/1.1 204 No Content\r\n{fields}\r\n")),
    ),
    Rule::accepted(
        with_status(304, NO_BODY),
        ("no body", "not_modified_may_say_anything_of_a_body"),
        "A 304 (Not Modified) has no body, whether it has a Content-Length, a Transfer-Encoding or neither.",
        "RFC 9112, 6.3",
        || each(NO_BODY_FIELDS, |fields| format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n")),
    ),
    Rule::accepted(
        NO_BODY,
        ("no body", "answer_to_head_may_say_anything_of_a_body"),
        "The response to a HEAD has no body, whether it has a Content-Length, a Transfer-Encoding or neither.",
        "RFC 9112, 6.3",
        || {
            let heads = each(NO_BODY_FIELDS, |fields| format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
            heads.into_iter().map(Reply::for_head).collect()
        },
    ),
    Rule::accepted(
        with_status(204, and_closed(NO_BODY)),
        ("no body", "bytes_behind_no_content_reach_nobody"),
        "A body after a 204 is not part of any response, and the connection is not reused.",
        "RFC 9112, 9.2",
        || {
            let rest = ["Content-Length: 5\r\n\r\nhello", "\r\nhello"];
            each(rest, |rest| format!("HTTP/1.1 204 No Content\r\n{rest}"))
        },
    ),
    Rule::accepted(
        with_status(304, and_closed(NO_BODY)),
        ("no body", "bytes_behind_not_modified_reach_nobody"),
        "A body after a 304 is not part of any response, and the connection is not reused.",
        "RFC 9112, 9.2",
        || vec!["HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello".into()],
    ),
    Rule::accepted(
        and_closed(NO_BODY),
        ("no body", "bytes_behind_an_answer_to_head_reach_nobody"),
        "A body after the response to a HEAD is not part of any response, and the connection is not reused.",
        "RFC 9112, 9.2",
        || vec![Reply::from(sized("")).for_head()],
    ),
    Rule::accepted(
        and_closed(HELLO),
        ("no body", "bytes_behind_a_body_end_the_connection"),
        "Bytes after a body are not part of any response, and the connection is not reused.",
        "RFC 9112, 9.2",
        || {
            vec![
                (sized("") + "more").into(),
                (sized("") + &sized("")).into(),
            ]
        },
    ),
    Rule::accepted(
        and_closed(HELLO),
        ("no body", "bytes_behind_the_last_chunk_end_the_connection"),
        "Bytes after the last chunk and its trailers are not part of any response, and the connection is not reused.",
        "RFC 9112, 9.2",
        || vec![chunked("5\r\nhello\r\n0\r\n\r\nmore").into()],
    )
    .checked_late(),
];

const MEGABYTE: usize = 1 << 20;

const NO_BODY_FIELDS: [&str; 3] = [
    "",
    "Content-Length: 10\r\n",
    "Transfer-Encoding: chunked\r\n",
];

fn each<const N: usize>(variants: [&str; N], reply: impl Fn(&str) -> String) -> Vec<Reply> {
    variants
        .iter()
        .map(|variant| reply(variant).into())
        .collect()
}

fn status_line(line: &str) -> String {
    format!("{line}\r\nContent-Length: 5\r\n\r\nhello")
}

/// Returns a response with these fields before the Content-Length.
fn sized(fields: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 5\r\n\r\nhello")
}

fn length(length: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nhello")
}

fn coded(version: &str, fields: &str, coding: &str) -> String {
    format!(
        "{version} 200 OK\r\n{fields}Transfer-Encoding: {coding}\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    )
}

fn chunked(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
}

/// Returns a chunked response with this line before the chunk.
fn chunk_line(line: &str) -> String {
    chunked(&format!("{line}\r\nhello\r\n0\r\n\r\n"))
}

/// Returns a chunked response with these fields after the last chunk.
fn trailers(fields: &str) -> String {
    chunked(&format!("5\r\nhello\r\n0\r\n{fields}\r\n"))
}

/// Returns `prefix` followed by each proper prefix of `cut`, after which the server closes the connection.
fn cut(prefix: &str, cut: &str) -> Vec<Reply> {
    let cuts = (0..cut.len()).map(|at| format!("{prefix}{}", &cut[..at]));
    cuts.map(|bytes| Reply::from(bytes).and_close()).collect()
}
