//! The rules for responses that a server may send. Each rule has the same verdict for every client.

use inflight_core::ErrorKind::{Incomplete, Protocol};

use crate::case::need;
use crate::rule::Connection::{Closed, Kept};
use crate::rule::{Accepted, Reply, Ruling, rules};

const HELLO: Accepted = Accepted {
    status: 200,
    body: "hello",
    fields: &[],
    connection: Kept,
};

const FOLDED: Accepted = Accepted {
    fields: &[("x-folded", "one two three")],
    ..HELLO
};

const ODD_NAMES: Accepted = Accepted {
    fields: &[("x-$prototype_v.1", "a"), ("_!#%&'*+^`|~0", "b")],
    ..HELLO
};

const EMPTY_VALUE: Accepted = Accepted {
    fields: &[("x-empty", ""), ("x-a", "a")],
    ..HELLO
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

rules! {
    /// A version other than HTTP/1.0 and HTTP/1.1 is refused.
    versions_other_than_1_0_and_1_1_are_protocol_errors {
        topic: "status lines", source: "RFC 9112, 2.3", ruling: Ruling::Refused(Protocol),
        reason: Some("RFC 9110, 2.5, allows reading a higher minor version as 1.1, but none exists."),
        replies: || each([
            "HTTP/2.0", "HTTP/2", "HTTP/0.9", "HTTP/1.2", "HTTP/1", "HTTP/1.1.1", "HTTP/11",
            "http/1.1", "HTTPS/1.1", "ICY", "HTTP/01.1", "HTTP/1.01", "HTTP/11.1", "HTTP/5.6",
            "HTP/1.1", "HTTPER/1.1", "RTSP/1.1", "HTTP/ 1.1", "HTTP/1 .1", "HTTP:/1.1", "HT\tTP/1.1",
            "HTTP/1:.1", "HTTP/1.1:", ":HTTP/1.1", "\tHTTP/1.1",
        ], |version| status_line(&format!("{version} 200 OK"))),
    }
    /// Bytes that do not begin with a status line are refused, because HTTP/0.9 is not supported.
    garbage_is_a_protocol_error {
        topic: "status lines", source: "RFC 9112, 4", ruling: Ruling::Refused(Protocol),
        replies: || each([
            "SSH-2.0-OpenSSH_9.6\r\n\r\n",
            "220 mail.test ESMTP\r\n\r\n",
            "<html>hello</html>\r\n\r\n",
            "HTTP/1.1\r\n\r\n",
            "\u{16}\u{3}\u{1}\0\0\r\n\r\n",
        ], str::to_owned),
    }
    /// A status that is not a three-digit number of at least 100 is refused.
    statuses_without_three_digits_are_protocol_errors {
        topic: "status lines", source: "RFC 9112, 4", ruling: Ruling::Refused(Protocol),
        replies: || each([
            "99", "20", "2", "", "099", "000", "1000", "2000", "20x", "+20", "-20", "2 0",
            "0x0", "BLAH", "65736", "131072", "2\t00", ":200",
        ], |status| status_line(&format!("HTTP/1.1 {status} OK"))),
    }
    /// A status from 600 to 999 is returned unchanged.
    statuses_over_599_are_returned_unchanged {
        topic: "status lines", source: "RFC 9110, 15", ruling: Ruling::Accepted(with_status(999, HELLO)),
        reason: Some("These statuses are invalid, but well-known sites send 999."),
        needs: &[need!(unregistered_status)],
        replies: || vec!["HTTP/1.1 999 Denied\r\nContent-Length: 5\r\n\r\nhello".into()],
    }
    /// A status line with a missing, extra or misplaced space before its status is refused.
    misplaced_space_in_a_status_line_is_a_protocol_error {
        topic: "status lines", source: "RFC 9112, 4", ruling: Ruling::Refused(Protocol),
        reason: Some("The RFC allows a recipient to accept such a line, but no server needs this."),
        replies: || each([
            "HTTP/1.1  200 OK", "HTTP/1.1200 OK", " HTTP/1.1 200 OK", "HTTP/1.1 200OK",
            "HTTP /1.1 200 OK",
        ], status_line),
    }
    /// A NUL or a CR in a status line is refused.
    control_bytes_in_a_status_line_are_protocol_errors {
        topic: "status lines", source: "RFC 9112, 4", ruling: Ruling::Refused(Protocol),
        replies: || each([
            "HTTP/1.1 200 \0", "HTTP/1.1 200 a\rb", "HTTP/1.1\r200 OK", "\rHTTP/1.1 200 OK",
            "\0HTTP/1.1 200 OK", "HTTP/1.1 200 OK\r", "HTTP/1.1 200 OK\rX-A: a", "HTTP/1.1 200 OK\n\rX-A: a",
        ], status_line),
    }
    /// A control byte other than NUL and CR is refused in a status line, except for a tab in the
    /// reason phrase.
    other_control_bytes_in_a_status_line_are_protocol_errors {
        topic: "status lines", source: "RFC 9112, 4", ruling: Ruling::Refused(Protocol),
        needs: &[need!(strict_heads)],
        replies: || each(["HTTP/1.1 200 \x01", "HTTP/1.1 200 \x7f", "HTTP/1.1\t200 OK"], status_line),
    }
    /// The reason phrase may be any text. It may be missing, with or without the space before it.
    reason_may_be_anything_or_missing {
        topic: "status lines", source: "RFC 9112, 4", ruling: Ruling::Accepted(HELLO),
        reason: Some("The RFC requires the space, but many servers omit it together with the phrase."),
        replies: || {
            let lines = ["HTTP/1.1 200 ", "HTTP/1.1 200", "HTTP/1.1 200 A \t reason: 404!", "HTTP/1.1 200  OK", "HTTP/1.1 200 :"];
            let mut replies = each(lines, status_line);
            replies.push(Reply::from(
                &b"HTTP/1.1 200 \xfc\xff\r\nContent-Length: 5\r\n\r\nhello"[..],
            ));
            replies
        },
    }
    /// Empty lines before a status line are skipped.
    empty_lines_before_the_status_line_are_skipped {
        topic: "status lines", source: "RFC 9112, 2.2", ruling: Ruling::Accepted(HELLO),
        reason: Some("The RFC allows this only before requests, but some servers send an empty line after a body."),
        alternative: Some((need!(bare_lf), Protocol)),
        replies: || each(["\r\n", "\r\n\r\n\r\n"], |lines| lines.to_owned() + &sized("")),
    }
    /// A CR that is not followed by LF is refused anywhere in the fields.
    lone_cr_in_a_head_is_a_protocol_error {
        topic: "fields", source: "RFC 9112, 2.2", ruling: Ruling::Refused(Protocol),
        reason: Some("The RFC allows reading it as a space, but this is safe only if every recipient does so."),
        replies: || each([
            "X-A: a\rb\r\n", "X-A: a\r\r\n", "X-A: \rb\r\n", "X\rA: a\r\n",
            "X-A: a\rX-B: b\r\n", "\rX-A: a\r\n", "X-A\r: a\r\n",
        ], sized),
    }
    /// A line of a head may end in LF alone.
    lines_of_a_head_may_end_in_lf_alone {
        topic: "fields", source: "RFC 9112, 2.2", ruling: Ruling::Accepted(HELLO),
        reason: Some("Scripts behind old gateways write such heads."),
        alternative: Some((need!(bare_lf), Protocol)),
        replies: || vec![
            "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello".into(),
            "HTTP/1.1 200 OK\r\nX-A: a\nContent-Length: 5\r\n\r\nhello".into(),
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\nhello".into(),
            "HTTP/1.1 200 OK\r\nContent-Length: 5\n\r\nhello".into(),
        ],
    }
    /// Every control byte except the tab is refused in a field's value, including NUL and DEL.
    control_bytes_in_a_value_are_protocol_errors {
        topic: "fields", source: "RFC 9110, 5.5", ruling: Ruling::Refused(Protocol),
        reason: Some("The RFC allows keeping control bytes other than NUL, CR and LF, but no server needs them."),
        replies: || {
            let all = (0..0x20).chain([0x7f]).map(char::from);
            all.filter(|byte| !['\t', '\n', '\r'].contains(byte))
                .map(|byte| sized(&format!("X-A: a{byte}b\r\n")).into())
                .collect()
        },
    }
    /// A field name that is not a token is refused: for example, an empty name, or a name with a
    /// space, a control byte or a byte outside ASCII.
    field_names_that_are_not_tokens_are_protocol_errors {
        topic: "fields", source: "RFC 9110, 5.1", ruling: Ruling::Refused(Protocol),
        replies: || each([
            "X A: a\r\n", "X\0A: a\r\n", "X\x01A: a\r\n", "X\x7fA: a\r\n", "X-\u{fc}: a\r\n",
            ": a\r\n", "X(A): a\r\n", "X@: a\r\n", "\"X\": a\r\n",
        ], sized),
    }
    /// A space between a field's name and its colon is refused.
    space_before_a_colon_is_a_protocol_error {
        topic: "fields", source: "RFC 9112, 5.1", ruling: Ruling::Refused(Protocol),
        reason: Some("Recipients that accept such a field and recipients that ignore it read different messages."),
        replies: || each(["X-A : a\r\n", "X-A\t: a\r\n", "Transfer-Encoding : chunked\r\n"], sized),
    }
    /// A field line without a colon is refused.
    lines_without_a_colon_are_protocol_errors {
        topic: "fields", source: "RFC 9112, 5", ruling: Ruling::Refused(Protocol),
        replies: || each(["X-A\r\n", "X-A a\r\n", "HTTP/1.1 200 OK\r\n"], sized),
    }
    /// A first field line that begins with a space or a tab is refused, because there is no field
    /// that it could continue.
    space_before_the_first_field_is_a_protocol_error {
        topic: "fields", source: "RFC 9112, 2.2", ruling: Ruling::Refused(Protocol),
        replies: || each([" X-A: a\r\n", "\tX-A: a\r\n"], sized),
    }
    /// If a line begins with a space or a tab, it continues the value of the previous line. The
    /// line break counts as one space.
    folded_values_are_joined {
        topic: "fields", source: "RFC 9112, 5.2", ruling: Ruling::Accepted(FOLDED),
        alternative: Some((need!(rare_forms), Protocol)),
        replies: || each([
            "X-Folded: one\r\n two\r\n\tthree\r\n",
            "X-Folded: one \r\n \t two \r\n   three\r\n",
            "X-Folded:\r\n one two three\r\n",
        ], sized),
    }
    /// A field's name may have any character of a token.
    field_names_may_be_any_token {
        topic: "fields", source: "RFC 9110, 5.1", ruling: Ruling::Accepted(ODD_NAMES),
        replies: || vec![sized("x-$prototype_v.1: a\r\n_!#%&'*+^`|~0: b\r\n").into()],
    }
    /// A field's value may be empty. It does not continue on the next line.
    empty_values_are_not_joined_with_the_next_line {
        topic: "fields", source: "RFC 9110, 5.5", ruling: Ruling::Accepted(EMPTY_VALUE),
        replies: || each(["X-Empty:\r\nX-A: a\r\n", "X-Empty: \r\nX-A:a\r\n", "X-Empty: \t \r\nX-A: \t a \t\r\n"], sized),
    }
    /// More than 100 fields are refused.
    more_than_a_hundred_fields_are_a_protocol_error {
        topic: "fields", source: "RFC 9110, 5.4", ruling: Ruling::Refused(Protocol),
        reason: Some("The RFC sets no limit but allows one; Apache has the same limit."),
        checked_late: true,
        replies: || {
            let counts = [100, 101, 200, 3000];
            let fields = counts.map(|n| (0..n).map(|n| format!("X-{n}: {n}\r\n")).collect());
            each(fields.each_ref().map(String::as_str), sized)
        },
    }
    /// Fields whose names and values exceed 64 KiB in total are refused.
    fields_of_more_than_64_kib_are_a_protocol_error {
        topic: "fields", source: "RFC 9110, 5.4", ruling: Ruling::Refused(Protocol),
        checked_late: true,
        replies: || {
            let mut fields = [66_000, 400_000, 2_000_000].map(|n| format!("X: {}\r\n", "x".repeat(n))).to_vec();
            fields.push("x".repeat(66_000) + ": a\r\n");
            fields.push((0..66).map(|n| format!("X-{n}: {}\r\n", "x".repeat(1000))).collect());
            fields.iter().map(|fields| sized(fields).into()).collect()
        },
    }
    /// A Content-Length that is repeated with the same value counts once. The value may have
    /// leading zeros.
    equal_lengths_count_once {
        topic: "lengths", source: "RFC 9110, 8.6", ruling: Ruling::Accepted(HELLO),
        reason: Some("Refusing a repeated Content-Length is allowed, but some gateways repeat it."),
        replies: || each(["5\r\nContent-Length: 5", "05", "0000000000000000000000000005"], length),
    }
    /// Spaces and tabs around a Content-Length are not part of its value.
    spaces_around_a_length_are_ignored {
        topic: "lengths", source: "RFC 9110, 5.5", ruling: Ruling::Accepted(HELLO),
        replies: || each(["\t5\t", "  5  ", " \t 5"], length),
    }
    /// A field whose name only begins like Content-Length does not determine the length.
    fields_with_longer_names_than_content_length_are_ignored {
        topic: "lengths", source: "RFC 9112, 6.3", ruling: Ruling::Accepted(HELLO),
        replies: || {
            let longer = "Content-Length-X: 0\r\nContent-Lengths: 3\r\n";
            vec![sized(longer).into(), coded("HTTP/1.1", longer, "chunked").into()]
        },
    }
    /// A Content-Length with a list of equal lengths is refused.
    lists_of_lengths_are_protocol_errors {
        topic: "lengths", source: "RFC 9110, 8.6", ruling: Ruling::Refused(Protocol),
        reason: Some("The RFC allows reading the list as one length, but only recipients that join repeated fields create such lists."),
        checked_late: true,
        replies: || each(["5, 5", "5,5", "5, 5\r\nContent-Length: 5"], length),
    }
    /// Different lengths are refused, whether in one Content-Length or in several.
    lengths_that_differ_are_protocol_errors {
        topic: "lengths", source: "RFC 9112, 6.3", ruling: Ruling::Refused(Protocol),
        checked_late: true,
        replies: || each([
            "5\r\nContent-Length: 10", "10\r\nContent-Length: 5", "5, 10",
            "5\r\nContent-Length: 5\r\nContent-Length: 6", "5, 5\r\nContent-Length: 10",
            "5\r\nContent-Length: 05", "0\r\nContent-Length: 5", "5\r\nContent-Length: 0",
        ], length),
    }
    /// A Content-Length with anything but digits is refused.
    lengths_that_are_not_numbers_are_protocol_errors {
        topic: "lengths", source: "RFC 9110, 8.6", ruling: Ruling::Refused(Protocol),
        replies: || each([
            "five", "-5", "+5", "0x5", "5 5", "5;", "5.0", "5,", ",5", "", "5x", "1e1", "5\t5", "five, five",
            "five\r\nContent-Length: five", "\r\nContent-Length: 5", "5\r\nContent-Length: \t",
            "5\u{a0}", "\u{665}",
        ], length),
    }
    /// A Content-Length that does not fit in 64 bits is refused.
    lengths_over_64_bits_are_protocol_errors {
        topic: "lengths", source: "RFC 9110, 8.6", ruling: Ruling::Refused(Protocol),
        replies: || each([
            "18446744073709551616", "18446744073709551621", "99999999999999999999999999",
            "340282366920938463463374607431768211461",
        ], length),
    }
    /// If a chunked body has a Content-Length, the length is ignored, and the connection is not
    /// reused.
    chunks_take_precedence_over_a_length {
        topic: "transfer codings", source: "RFC 9112, 6.3", ruling: Ruling::Accepted(and_closed(HELLO)),
        reason: Some("The RFC recommends an error, but servers behind gateways send both."),
        checked_late: true,
        replies: || each([
            "Content-Length: 3\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 3",
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
            "Transfer-Encoding: chunked\r\nContent-Length: 5000",
            "Transfer-Encoding: chunked\r\nContent-Length: 0",
        ], |fields| format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n5\r\nhello\r\n0\r\n\r\n")),
    }
    /// An invalid Content-Length is refused even if the body is chunked.
    invalid_length_with_chunks_is_a_protocol_error {
        topic: "transfer codings", source: "RFC 9112, 6.3", ruling: Ruling::Refused(Protocol),
        reason: Some("The length would be ignored, but the sender of such a head cannot be trusted."),
        checked_late: true,
        replies: || each(["x", "-1", "5\r\nContent-Length: 6"], |length| {
            let length = format!("Content-Length: {length}\r\n");
            coded("HTTP/1.1", &length, "chunked")
        }),
    }
    /// A Transfer-Encoding other than a single `chunked` is refused.
    codings_other_than_chunked_are_protocol_errors {
        topic: "transfer codings", source: "RFC 9112, 6.1 and 6.3", ruling: Ruling::Refused(Protocol),
        reason: Some("No request accepts another coding (TE), so a server must not use one. The coding `identity` is no longer valid."),
        checked_late: true,
        replies: || each([
            "gzip", "gzip, chunked", "chunked, gzip", "chunked, chunked", "identity",
            "identity, chunked", "xchunked", "chunkedx", "chunked;q=1", "", "chunked,",
            "gzip\r\nTransfer-Encoding: chunked", "chunked\r\nTransfer-Encoding: gzip",
            "chunked\r\nTransfer-Encoding: chunked", "\u{b}chunked", "chunkedchunked", "chunked, deflate",
            "chunked\r\nTransfer-Encoding: identity", "chunked\r\n  abc",
        ], |coding| coded("HTTP/1.1", "", coding)),
    }
    /// `chunked` may be written in upper or lower case.
    chunked_is_case_insensitive {
        topic: "transfer codings", source: "RFC 9112, 7", ruling: Ruling::Accepted(HELLO),
        replies: || each(["Chunked", "CHUNKED", "  chunked\t "], |coding| coded("HTTP/1.1", "", coding)),
    }
    /// A Transfer-Encoding in an HTTP/1.0 response is refused.
    chunks_on_http10_are_protocol_errors {
        topic: "transfer codings", source: "RFC 9112, 6.1", ruling: Ruling::Refused(Protocol),
        checked_late: true,
        replies: || each(["", "Content-Length: 5\r\n", "Connection: keep-alive\r\n"], |fields| coded("HTTP/1.0", fields, "chunked")),
    }
    /// A chunk size that does not begin with a hexadecimal digit is refused.
    chunk_sizes_without_a_leading_digit_are_protocol_errors {
        topic: "chunks", source: "RFC 9112, 7.1", ruling: Ruling::Refused(Protocol),
        alternative: Some((need!(chunk_faults), Incomplete)),
        replies: || each(["xyz", "-", "-5", "", ";", ";a"], chunk_line),
    }
    /// A plus sign, a space or a tab before a chunk size is refused.
    signed_chunk_sizes_are_protocol_errors {
        topic: "chunks", source: "RFC 9112, 7.1", ruling: Ruling::Refused(Protocol),
        needs: &[need!(strict_chunks)],
        replies: || each(["+5", " 5", "\t5"], chunk_line),
    }
    /// A chunk size that does not fit in 64 bits is refused.
    chunk_sizes_over_64_bits_are_protocol_errors {
        topic: "chunks", source: "RFC 9112, 7.1", ruling: Ruling::Refused(Protocol),
        alternative: Some((need!(chunk_faults), Incomplete)),
        replies: || each(["10000000000000005", "fffffffffffffffff", "fffffffffffffffffff"], chunk_line),
    }
    /// After a chunk size, anything but spaces, tabs and extensions is refused.
    junk_after_a_chunk_size_is_a_protocol_error {
        topic: "chunks", source: "RFC 9112, 7.1", ruling: Ruling::Refused(Protocol),
        needs: &[need!(strict_chunks)],
        replies: || each(["five", "5x", "0x5", "5 5", "5 abc", "5,", "5\0", "5\u{c}", "5\u{c};a", "5:a", "5\r;a", "5;a\rb"], chunk_line),
    }
    /// A chunk that is longer than its size is refused.
    chunks_longer_than_their_size_are_protocol_errors {
        topic: "chunks", source: "RFC 9112, 7.1", ruling: Ruling::Refused(Protocol),
        alternative: Some((need!(chunk_faults), Incomplete)),
        replies: || each(["5\r\nhelloX\r\n", "5\r\nhello", "5\r\nhello, world\r\n", "4\r\nhello\r\n"], |chunks| chunked(&format!("{chunks}0\r\n\r\n"))),
    }
    /// A chunk, or the line with its size, that ends in LF alone is refused.
    chunk_lines_that_end_in_lf_alone_are_protocol_errors {
        topic: "chunks", source: "RFC 9112, 7.1", ruling: Ruling::Refused(Protocol),
        needs: &[need!(strict_chunks)],
        replies: || each(["5\nhello\r\n0\r\n\r\n", "5\r\nhello\n0\r\n\r\n", "5\r\nhello\r\n0\n\r\n"], chunked),
    }
    /// A chunk size may have leading zeros, and spaces or tabs after it.
    chunk_sizes_may_have_leading_zeros_and_trailing_spaces {
        topic: "chunks", source: "RFC 9112, 7.1", ruling: Ruling::Accepted(HELLO),
        replies: || each(["5", "005", "0000000000000005", "5 ", "5\t", "5   "], chunk_line),
    }
    /// Extensions after a chunk size are skipped: they are not part of the body.
    chunk_extensions_are_skipped {
        topic: "chunks", source: "RFC 9112, 7.1.1", ruling: Ruling::Accepted(HELLO),
        replies: || each(["5;a", "5;a=b", "5; a = \"b;c\"", "5 ;a", "5;", "5;\u{fc}"], chunk_line),
    }
    /// Chunk extensions may be long.
    long_chunk_extensions_are_skipped {
        topic: "chunks", source: "RFC 9112, 7.1.1", ruling: Ruling::Accepted(HELLO),
        alternative: Some((need!(rare_forms), Protocol)),
        replies: || each(["5;signature=0123456789abcdef", "5;name=\"a value, in quotes\";other=value"], chunk_line),
    }
    /// Chunk extensions of a megabyte are refused.
    floods_of_chunk_extensions_are_protocol_errors {
        topic: "chunks", source: "RFC 9112, 7.1.1", ruling: Ruling::Refused(Protocol),
        needs: &[need!(strict_chunks)],
        replies: || vec![chunk_line(&format!("5;{}", "x".repeat(MEGABYTE))).into()],
    }
    /// Fields after the last chunk are skipped, whatever their names.
    trailers_are_skipped {
        topic: "trailers", source: "RFC 9112, 7.1.2", ruling: Ruling::Accepted(HELLO),
        replies: || each(["X-A: a\r\n", "X-A: a\r\nX-B:\r\n", "Content-Length: 3\r\n"], trailers),
    }
    /// After the last chunk, anything but valid fields is refused if all lines end in CRLF.
    trailers_that_are_not_fields_are_protocol_errors {
        topic: "trailers", source: "RFC 9112, 7.1.2", ruling: Ruling::Refused(Protocol),
        needs: &[need!(strict_chunks)],
        replies: || each(["X-A\r\n", "X A: a\r\n", "X-A: a\0\r\n", ": a\r\n", "X-A : a\r\n"], trailers),
    }
    /// A trailer of a megabyte is refused, and so are 20,000 trailers.
    floods_of_trailers_are_protocol_errors {
        topic: "trailers", source: "RFC 9110, 5.4", ruling: Ruling::Refused(Protocol),
        needs: &[need!(strict_chunks)],
        replies: || {
            let (long, many) = (format!("X: {}\r\n", "x".repeat(MEGABYTE)), "X: a\r\n".repeat(20_000));
            each([&*long, &*many], trailers)
        },
    }
    /// A head that ends early is refused, wherever it is cut.
    head_cut_anywhere_is_an_incomplete_error {
        topic: "early ends", source: "RFC 9112, 8", ruling: Ruling::Refused(Incomplete),
        replies: || {
            let mut cuts = cut("", "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 5\r\n\r\n");
            cuts.extend(cut("HTTP/1.1 103 Early\r\n\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n\r\n"));
            cuts
        },
    }
    /// A head that ends early is also refused if it has Connection: close or Transfer-Encoding, or
    /// if its version is HTTP/1.0.
    head_with_close_or_chunks_cut_anywhere_is_an_incomplete_error {
        topic: "early ends", source: "RFC 9112, 8", ruling: Ruling::Refused(Incomplete),
        needs: &[need!(strict_heads)],
        replies: || {
            let mut cuts = cut("HTTP/1.1 200 OK\r\nConnection: close\r\n", "Content-Length: 5\r\n\r\n");
            cuts.extend(cut("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", "A: b\r\n\r\n"));
            cuts.extend(cut("", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n"));
            cuts
        },
    }
    /// A head that ends early is also refused if its response has no body.
    head_without_a_body_cut_anywhere_is_an_incomplete_error {
        topic: "early ends", source: "RFC 9112, 8", ruling: Ruling::Refused(Incomplete),
        needs: &[need!(strict_heads)],
        replies: || {
            let rest = "X-A: a\r\n\r\n";
            let mut cuts = cut("HTTP/1.1 204 No Content\r\n", rest);
            cuts.extend(cut("HTTP/1.1 304 Not Modified\r\n", rest));
            cuts.extend(cut("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", rest));
            let heads = cut("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", rest);
            cuts.extend(heads.into_iter().map(Reply::for_head));
            cuts
        },
    }
    /// If a body with a Content-Length ends early, it is refused, wherever it is cut.
    sized_body_cut_anywhere_is_an_incomplete_error {
        topic: "early ends", source: "RFC 9112, 8", ruling: Ruling::Refused(Incomplete),
        replies: || {
            let mut cuts = cut("HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n", "abcdefghijklmnopqrstuvwxyz");
            cuts.extend(cut("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", "hello"));
            cuts
        },
    }
    /// A chunked body that ends early is refused, wherever it is cut.
    chunked_body_cut_anywhere_is_an_incomplete_error {
        topic: "early ends", source: "RFC 9112, 8", ruling: Ruling::Refused(Incomplete),
        replies: || cut(&chunked(""), "5;a=b\r\nhello\r\n10\r\n0123456789abcdef\r\n00\r\n"),
    }
    /// A chunked body that ends before its final empty line is refused.
    end_within_the_trailers_is_an_incomplete_error {
        topic: "early ends", source: "RFC 9112, 8", ruling: Ruling::Refused(Incomplete),
        needs: &[need!(strict_chunks)],
        replies: || cut(&chunked("5\r\nhello\r\n0\r\n"), "X-End: a\r\nX-B: b\r\n\r\n"),
    }
    /// Interim responses (1xx) before the final response are skipped, even if their status is not
    /// registered.
    ten_interim_responses_are_skipped {
        topic: "interim responses", source: "RFC 9110, 15.2", ruling: Ruling::Accepted(HELLO),
        needs: &[need!(interim_responses)],
        replies: || each([
            "HTTP/1.1 199 What\r\n\r\n",
            "HTTP/1.1 103 Early\r\nContent-Length: 3\r\n\r\n",
            "HTTP/1.1 103 Early\r\nTransfer-Encoding: chunked\r\n\r\n",
            &"HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n".repeat(10),
            // Together, these responses exceed the limit on the size of one head.
            &format!("HTTP/1.1 103 Early\r\nLink: <{:02000}>\r\n\r\n", 1).repeat(60),
        ], |interim| interim.to_owned() + &sized("")),
    }
    /// A 100 (Continue) may have fields.
    continue_may_have_fields {
        topic: "interim responses", source: "RFC 9110, 15.2.1", ruling: Ruling::Accepted(HELLO),
        alternative: Some((need!(rare_forms), Protocol)),
        replies: || vec![("HTTP/1.1 100 Continue\r\nX-A: a\r\n\r\n".to_owned() + &sized("")).into()],
    }
    /// A flood of interim responses is refused.
    flood_of_interim_responses_is_a_protocol_error {
        topic: "interim responses", source: "RFC 9110, 15.2", ruling: Ruling::Refused(Protocol),
        reason: Some("The RFC sets no limit, but without one, a client would wait forever if a server kept sending them."),
        needs: &[need!(interim_limit)],
        replies: || vec!["HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n".repeat(20_000).into()],
    }
    /// A 101 (Switching Protocols) without an Upgrade in the request is refused.
    switching_protocols_is_a_protocol_error {
        topic: "interim responses", source: "RFC 9110, 15.2.2", ruling: Ruling::Refused(Protocol),
        needs: &[need!(early_head)],
        checked_late: true,
        replies: || vec![
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\nConnection: Upgrade\r\n\r\n".into(),
            "HTTP/1.1 101 Switching Protocols\r\n\r\n".into(),
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\nConnection: Upgrade\r\nContent-Length: 4\r\n\r\n".into(),
        ],
    }
    /// If the request has no Upgrade, the bytes after a 101 are not read as a body.
    bytes_of_another_protocol_are_never_returned {
        topic: "interim responses", source: "RFC 9110, 15.2.2", ruling: Ruling::Refused(Protocol),
        checked_late: true,
        replies: || {
            let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\nConnection: Upgrade\r\n";
            let rest = [
                "\r\nbytes",
                &format!("\r\n{}", sized("")),
                "Content-Length: 4\r\n\r\nbodybytes",
                "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\nbytes",
            ];
            each(rest, |rest| head.to_owned() + rest)
        },
    }
    /// A body without a length may be empty: the connection ends directly after the head.
    end_after_a_head_without_a_length_is_an_empty_body {
        topic: "no body", source: "RFC 9112, 6.3", ruling: Ruling::Accepted(and_closed(NO_BODY)),
        alternative: Some((need!(strict_heads), Incomplete)),
        replies: || {
            let heads = each(["", "X-A: a\r\n", "Connection: close\r\n"], |fields| {
                format!("HTTP/1.1 200 OK\r\n{fields}\r\n")
            });
            heads.into_iter().map(Reply::and_close).collect()
        },
    }
    /// A 204 (No Content) has no body, whether it has a Content-Length, a Transfer-Encoding or
    /// neither.
    status_204_has_no_body_whatever_its_fields {
        topic: "no body", source: "RFC 9112, 6.3", ruling: Ruling::Accepted(with_status(204, NO_BODY)),
        replies: || each(NO_BODY_FIELDS, |fields| format!("HTTP/1.1 204 No Content\r\n{fields}\r\n")),
    }
    /// A 304 (Not Modified) has no body, whether it has a Content-Length, a Transfer-Encoding or
    /// neither.
    status_304_has_no_body_whatever_its_fields {
        topic: "no body", source: "RFC 9112, 6.3", ruling: Ruling::Accepted(with_status(304, NO_BODY)),
        replies: || each(NO_BODY_FIELDS, |fields| format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n")),
    }
    /// The response to a HEAD has no body, whether it has a Content-Length, a Transfer-Encoding or
    /// neither.
    response_to_head_has_no_body_whatever_its_fields {
        topic: "no body", source: "RFC 9112, 6.3", ruling: Ruling::Accepted(NO_BODY),
        replies: || {
            let heads = each(NO_BODY_FIELDS, |fields| format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
            heads.into_iter().map(Reply::for_head).collect()
        },
    }
    /// A body after a 204 is not part of any response, and the connection is not reused.
    bytes_after_status_204_are_never_returned {
        topic: "no body", source: "RFC 9112, 9.2", ruling: Ruling::Accepted(with_status(204, and_closed(NO_BODY))),
        replies: || each(["Content-Length: 5\r\n\r\nhello", "\r\nhello"], |rest| format!("HTTP/1.1 204 No Content\r\n{rest}")),
    }
    /// A body after a 304 is not part of any response, and the connection is not reused.
    bytes_after_status_304_are_never_returned {
        topic: "no body", source: "RFC 9112, 9.2", ruling: Ruling::Accepted(with_status(304, and_closed(NO_BODY))),
        replies: || vec!["HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello".into()],
    }
    /// A body after the response to a HEAD is not part of any response, and the connection is not
    /// reused.
    bytes_after_a_response_to_head_are_never_returned {
        topic: "no body", source: "RFC 9112, 9.2", ruling: Ruling::Accepted(and_closed(NO_BODY)),
        replies: || vec![Reply::from(sized("")).for_head()],
    }
    /// Bytes after a body are not part of any response, and the connection is not reused.
    bytes_after_a_body_close_the_connection {
        topic: "no body", source: "RFC 9112, 9.2", ruling: Ruling::Accepted(and_closed(HELLO)),
        replies: || vec![
            (sized("") + "more").into(),
            (sized("") + &sized("")).into(),
        ],
    }
    /// Bytes after the last chunk and its trailers are not part of any response, and the connection
    /// is not reused.
    bytes_after_the_last_chunk_close_the_connection {
        topic: "no body", source: "RFC 9112, 9.2", ruling: Ruling::Accepted(and_closed(HELLO)),
        checked_late: true,
        replies: || vec![chunked("5\r\nhello\r\n0\r\n\r\nmore").into()],
    }
    /// A Connection: Upgrade in a response other than a 101 has no effect.
    upgrade_without_status_101_has_no_effect {
        topic: "connection options", source: "RFC 9110, 7.8", ruling: Ruling::Accepted(HELLO),
        replies: || {
            let upgrade = "Connection: upgrade\r\nUpgrade: h2c\r\n";
            vec![sized(upgrade).into(), coded("HTTP/1.1", upgrade, "chunked").into()]
        },
    }
    /// A Proxy-Connection field has no effect.
    proxy_connection_has_no_effect {
        topic: "connection options", source: "RFC 9112, C.2.2", ruling: Ruling::Accepted(HELLO),
        replies: || vec![sized("Proxy-Connection: close\r\n").into()],
    }
}

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

/// Returns a chunked response with this line before the chunk `hello`.
fn chunk_line(line: &str) -> String {
    chunked(&format!("{line}\r\nhello\r\n0\r\n\r\n"))
}

/// Returns a chunked response with these fields after the last chunk.
fn trailers(fields: &str) -> String {
    chunked(&format!("5\r\nhello\r\n0\r\n{fields}\r\n"))
}

/// Returns one reply for each position in `rest`: `prefix`, followed by `rest` up to that position.
/// After each reply, the server closes the connection.
fn cut(prefix: &str, rest: &str) -> Vec<Reply> {
    let cuts = (0..rest.len()).map(|at| format!("{prefix}{}", &rest[..at]));
    cuts.map(|bytes| Reply::from(bytes).and_close()).collect()
}
