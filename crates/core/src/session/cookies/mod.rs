//! Cookies (RFC 6265bis, section 5, without `SameSite`).
//!
//! In reading order: `date` and `parse` (the header `Set-Cookie`), `cookie` (which URLs may set and receive
//! a cookie), `store` (the cookies of a jar), `saved` (cookies as JSON) and `netscape` (the format of curl and
//! wget).

mod cookie;
mod date;
mod netscape;
mod parse;
mod saved;
mod store;

use std::fmt;
use std::io::{self, BufRead, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use url::Url;

use crate::error::{BoxError, Error, ErrorKind};
use crate::session::cookies::cookie::{Cookie, is_public_suffix};
use crate::session::cookies::parse::MAX_LIFETIME;
use crate::session::cookies::saved::SavedCookie;
use crate::session::cookies::store::CookieStore;

/// A jar of cookies. Clones share the cookies, so several sessions can use one jar.
///
/// A session has no cookies unless [`SessionBuilder::cookies`](crate::SessionBuilder::cookies) sets
/// a jar. The session then sends each cookie with the requests to which the cookie applies,
/// including redirects.
///
/// The jar follows section 5 of [RFC 6265bis], as browsers do. It refuses a cookie for a public
/// suffix, such as `co.uk`, because sites of other owners would receive the cookie. It stores and sends
/// secure cookies only over `https`, even for `localhost`. It ignores `SameSite`, because a session does
/// not know which page causes a request. However, it refuses `SameSite=None` without `Secure`.
///
/// A cookie lasts at most 400 days, by the system's clock, and its name and value have at most 4,096
/// bytes together. The jar holds at most 180 cookies with the same domain and 3,000 in all. If there are
/// more, it removes the least recently used ones.
///
/// ```
/// use inflight_core::CookieJar;
///
/// let jar = CookieJar::new();
/// let url = "https://pages.test/".parse()?;
/// jar.set("theme=dark; Max-Age=3600", &url);
/// assert_eq!(jar.header(&url).unwrap(), "theme=dark");
///
/// let mut saved = Vec::new();
/// jar.save(&mut saved)?;
/// let loaded = CookieJar::load(&saved[..])?;
/// assert_eq!(loaded.header(&url).unwrap(), "theme=dark");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [RFC 6265bis]: https://datatracker.ietf.org/doc/draft-ietf-httpbis-rfc6265bis/
#[derive(Clone, Default)]
pub struct CookieJar(Arc<Mutex<CookieStore>>);

impl CookieJar {
    /// Creates an empty jar.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a jar with the cookies that [`save`](Self::save) wrote and that have not expired.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] if the reader fails or the data is not in the format of `save`.
    pub fn load(reader: impl BufRead) -> Result<Self, Error> {
        let invalid = "cannot load the cookies: the data is not in the format of `CookieJar::save`";
        let parsed = serde_json::from_reader::<_, Vec<SavedCookie>>(reader);
        let saved = parsed.map_err(|error| match error.is_io() {
            true => read_error(error.into()),
            false => io_error(invalid, error),
        })?;
        let cookies = saved.into_iter().map(SavedCookie::into_cookie);
        Self::from_cookies(cookies.map(|cookie| cookie.map_err(|error| io_error(invalid, error))))
    }

    /// Creates a jar with the cookies of a Netscape cookie file, often called `cookies.txt`.
    /// [`save_netscape`], curl, wget, yt-dlp and browser extensions write this format.
    ///
    /// Each line is a cookie. It has seven fields that are separated by tabs:
    ///
    /// | Field | Content |
    /// |---|---|
    /// | domain | The host. A leading dot and a port have no effect. |
    /// | subdomains | `TRUE` if the hosts below the domain also receive the cookie, otherwise `FALSE` |
    /// | path | The path, which starts with a slash |
    /// | secure | `TRUE` if the jar sends the cookie only over `https`, otherwise `FALSE` |
    /// | expires | The time in seconds since 1970. It is 0 or empty for a session cookie, which lasts as long as the jar. |
    /// | name | The name, in any encoding |
    /// | value | The value, in any encoding. The last tab and the value may be missing. |
    ///
    /// `#HttpOnly_` before the domain has no effect. Other lines that start with `#` and blank lines are
    /// comments. The jar skips expired cookies. It also skips a cookie for a public suffix whose second field
    /// is `TRUE`. A cookie lasts at most 400 days from now.
    ///
    /// ```
    /// use inflight_core::CookieJar;
    ///
    /// let file = b"# Netscape HTTP Cookie File\n\
    ///     .pages.test\tTRUE\t/\tTRUE\t0\tlogin\t0a1b2c\n";
    /// let jar = CookieJar::load_netscape(&file[..])?;
    /// let url = "https://www.pages.test/".parse()?;
    /// assert_eq!(jar.header(&url).unwrap(), "login=0a1b2c");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] if the reader fails or a line is not valid. The message contains the number of the
    /// line, but no text of the line.
    ///
    /// [`save_netscape`]: Self::save_netscape
    #[doc(alias("cookies.txt", "MozillaCookieJar"))]
    pub fn load_netscape(reader: impl BufRead) -> Result<Self, Error> {
        Self::from_cookies(netscape::read_cookies(reader, now()))
    }

    /// Creates a jar with saved cookies.
    fn from_cookies(
        cookies: impl IntoIterator<Item = Result<Cookie, Error>>,
    ) -> Result<Self, Error> {
        let (jar, now) = (Self::new(), now());
        for cookie in cookies {
            let mut cookie = cookie?;
            // Other programs may save later times than a jar allows.
            let latest = now + MAX_LIFETIME;
            cookie.expires = cookie.expires.map(|end| end.min(latest));
            // Other programs may save cookies for public suffixes, and the list of suffixes may have grown.
            if cookie.is_host_only || !is_public_suffix(&cookie.domain) {
                jar.lock().insert(cookie, now);
            }
        }
        Ok(jar)
    }

    /// Writes the cookies that have an `Expires` or a `Max-Age`, as JSON. Other cookies are not saved.
    /// [`save_netscape`](Self::save_netscape) also saves those.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] if the writer fails.
    pub fn save(&self, writer: impl Write) -> Result<(), Error> {
        let cookies: Vec<_> = {
            let store = self.lock();
            let cookies = store.cookies(now()).into_iter();
            cookies.filter_map(SavedCookie::new).collect()
        };
        let json = serde_json::to_vec_pretty(&cookies).map_err(io::Error::from);
        json.and_then(|json| write_and_flush(writer, &json))
            .map_err(write_error)
    }

    /// Writes the cookies as a Netscape cookie file, which curl, wget and yt-dlp read. [`load_netscape`]
    /// describes the format.
    ///
    /// Unlike [`save`](Self::save), this method also writes session cookies, which have no expiry time.
    /// A login usually depends on one. The method leaves out a cookie that contains a tab, because the format
    /// cannot express it. The jar does not keep the attribute `HttpOnly`, so the file marks no cookie with it.
    ///
    /// The file may contain credentials, so other users should not be able to read it.
    ///
    /// ```
    /// use inflight_core::CookieJar;
    ///
    /// let jar = CookieJar::new();
    /// jar.set("login=0a1b2c; Secure", &"https://pages.test/".parse()?);
    /// let mut file = Vec::new();
    /// jar.save_netscape(&mut file)?;
    /// let expected = b"# Netscape HTTP Cookie File\n\
    ///     pages.test\tFALSE\t/\tTRUE\t0\tlogin\t0a1b2c\n";
    /// assert_eq!(file, expected);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] if the writer fails.
    ///
    /// [`load_netscape`]: Self::load_netscape
    #[doc(alias("cookies.txt", "MozillaCookieJar"))]
    pub fn save_netscape(&self, writer: impl Write) -> Result<(), Error> {
        let file = netscape::format_cookies(self.lock().cookies(now()));
        write_and_flush(writer, &file).map_err(write_error)
    }

    /// Adds a cookie as if a response from `url` had set it. `cookie` has the syntax of `Set-Cookie`, in
    /// any encoding. A cookie that `url` may not set is ignored.
    pub fn set(&self, cookie: impl AsRef<[u8]>, url: &Url) {
        self.lock().set(cookie.as_ref(), url, now());
    }

    /// Returns the value of `Cookie` for a request to `url`, or `None` if no cookie applies. The bytes
    /// are those that the server sent, in any encoding.
    pub fn header(&self, url: &Url) -> Option<HeaderValue> {
        let value = self.lock().header(url, now())?;
        // A header value may contain all bytes that a cookie may contain.
        let mut value = HeaderValue::try_from(value).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Removes every cookie.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// Adds the cookies that apply to `url` to a request that has no `Cookie` header. With `ascii_only`,
    /// leaves out cookies with bytes outside ASCII. Returns whether a cookie was left out.
    pub(crate) fn add_to_request(
        &self,
        headers: &mut HeaderMap,
        url: Option<&Url>,
        ascii_only: bool,
    ) -> bool {
        if headers.contains_key(COOKIE) {
            return false;
        }
        let Some(mut value) = url.and_then(|url| self.header(url)) else {
            return false;
        };
        let leaves_out = ascii_only && value.to_str().is_err();
        if leaves_out {
            let cookies = value.as_bytes().split(|byte| *byte == b';');
            let ascii: Vec<_> = cookies.filter(|cookie| cookie.is_ascii()).collect();
            let Ok(ascii) = HeaderValue::from_bytes(ascii.join(&b';').trim_ascii()) else {
                return true;
            };
            value = ascii;
            value.set_sensitive(true);
        }
        if !value.is_empty() {
            headers.insert(COOKIE, value);
        }
        leaves_out
    }

    /// Adds the cookies that a response sets.
    pub(crate) fn add_from_response(&self, headers: &HeaderMap, url: Option<&Url>) {
        let Some(url) = url else { return };
        for value in headers.get_all(SET_COOKIE) {
            self.set(value, url);
        }
    }

    fn lock(&self) -> MutexGuard<'_, CookieStore> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn io_error(context: &'static str, source: impl Into<BoxError>) -> Error {
    Error::new(ErrorKind::Io)
        .with_context(context)
        .with_source(source)
}

fn read_error(source: io::Error) -> Error {
    io_error("cannot read the cookies", source)
}

fn write_error(source: io::Error) -> Error {
    io_error("cannot save the cookies", source)
}

/// Writes a whole file. A buffered writer ignores errors when it is dropped, so it has to be flushed.
fn write_and_flush(mut writer: impl Write, file: &[u8]) -> io::Result<()> {
    writer.write_all(file)?;
    writer.flush()
}

/// Returns the time of the system's clock, or the start of 1970 if the clock is earlier, because saved
/// cookies cannot have earlier dates.
fn now() -> SystemTime {
    SystemTime::now().max(SystemTime::UNIX_EPOCH)
}

impl fmt::Debug for CookieJar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cookies = self.lock().cookies(now()).len();
        write!(f, "CookieJar({cookies} cookies)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    fn saved(jar: &CookieJar) -> String {
        let mut saved = Vec::new();
        jar.save(&mut saved).unwrap();
        String::from_utf8(saved).unwrap()
    }

    #[test]
    fn cookies_outside_ascii_are_sent_unchanged_or_left_out() {
        let (jar, url) = (CookieJar::new(), url("http://example.org/"));
        let mut response = HeaderMap::new();
        for value in [&b"a=\xe9"[..], b"b=2"] {
            response.append(SET_COOKIE, HeaderValue::from_bytes(value).unwrap());
        }
        jar.add_from_response(&response, Some(&url));
        let mut request = HeaderMap::new();
        assert!(!jar.add_to_request(&mut request, Some(&url), false));
        assert_eq!(request[COOKIE].as_bytes(), b"a=\xe9; b=2");
        assert!(request[COOKIE].is_sensitive());
        let mut request = HeaderMap::new();
        assert!(jar.add_to_request(&mut request, Some(&url), true));
        assert_eq!(request[COOKIE].as_bytes(), b"b=2");
        assert!(request[COOKIE].is_sensitive());
    }

    #[test]
    fn cookies_of_the_request_replace_those_of_the_jar() {
        let (jar, url) = (CookieJar::new(), url("http://example.org/"));
        jar.set("a=1", &url);
        let mut request = HeaderMap::new();
        request.insert(COOKIE, HeaderValue::from_static("own=2"));
        assert!(!jar.add_to_request(&mut request, Some(&url), true));
        assert_eq!(request[COOKIE], "own=2");
    }

    #[test]
    fn a_cleared_jar_is_empty() {
        let (jar, url) = (CookieJar::new(), url("http://example.org/"));
        jar.set("a=1", &url);
        assert_eq!(format!("{jar:?}"), "CookieJar(1 cookies)");
        jar.clear();
        assert_eq!(jar.header(&url), None);
        assert_eq!(format!("{jar:?}"), "CookieJar(0 cookies)");
    }

    #[test]
    fn loaded_cookies_apply_to_the_same_urls_in_the_same_order() {
        let jar = CookieJar::new();
        let site = url("https://www.example.org/a/b");
        for cookie in [
            "z=1; Max-Age=60; Path=/",
            "session=2",
            "a=3; Max-Age=60; Path=/; Domain=example.org; Secure",
            "deep=4; Max-Age=60",
        ] {
            jar.set(cookie, &site);
        }
        let loaded = CookieJar::load(saved(&jar).as_bytes()).unwrap();
        assert_eq!(saved(&loaded), saved(&jar));
        for (at, sent) in [
            ("https://www.example.org/", "z=1; a=3"),
            ("http://www.example.org/", "z=1"),
            ("https://example.org/", "a=3"),
            ("https://www.example.org/a", "deep=4; z=1; a=3"),
        ] {
            assert_eq!(loaded.header(&url(at)).unwrap(), sent, "{at}");
        }
    }

    #[test]
    fn loading_skips_expired_cookies_and_cookies_for_public_suffixes() {
        let jar = CookieJar::load(
            br#"[{
                "name": "theme", "value": "dark", "domain": "example.org", "host_only": true,
                "path": "/", "secure": false, "expires": "Fri, 31 Dec 9999 23:59:59 GMT"
            }, {
                "name": "", "value": [233], "domain": "example.org", "host_only": false,
                "path": "/", "secure": false, "expires": "Fri, 31 Dec 9999 23:59:59 GMT"
            }, {
                "name": "old", "value": "1", "domain": "example.org", "host_only": true,
                "path": "/", "secure": false, "expires": "Thu, 01 Jan 1970 00:00:00 GMT"
            }, {
                "name": "shared", "value": "1", "domain": "org", "host_only": false,
                "path": "/", "secure": false, "expires": "Fri, 31 Dec 9999 23:59:59 GMT"
            }]"#
            .as_slice(),
        );
        let value = jar.unwrap().header(&url("http://example.org/")).unwrap();
        assert_eq!(value.as_bytes(), b"theme=dark; \xe9");
    }

    #[test]
    fn a_loaded_cookie_lasts_at_most_400_days() {
        let jar = CookieJar::load(
            br#"[{
                "name": "theme", "value": "dark", "domain": "example.org", "host_only": true,
                "path": "/", "secure": false, "expires": "Fri, 31 Dec 9999 23:59:59 GMT"
            }]"#
            .as_slice(),
        );
        let mut saved = Vec::new();
        jar.unwrap().save(&mut saved).unwrap();
        let saved: Vec<SavedCookie> = serde_json::from_slice(&saved).unwrap();
        for cookie in saved {
            let end = cookie.into_cookie().unwrap().expires.unwrap();
            assert!(end <= now() + MAX_LIFETIME, "{end:?}");
        }
    }

    struct BrokenReader;

    impl io::Read for BrokenReader {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::TimedOut.into())
        }
    }

    #[test]
    fn a_failing_reader_or_writer_is_an_io_error() {
        let broken = || io::BufReader::new(BrokenReader);
        for loaded in [
            CookieJar::load(broken()),
            CookieJar::load_netscape(broken()),
        ] {
            let error = loaded.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Io);
            assert!(error.to_string().contains("cannot read the cookies"));
        }
        let jar = CookieJar::new();
        for saved in [
            jar.save(&mut [0; 1][..]),
            jar.save_netscape(&mut [0; 1][..]),
            // A buffer of this size fails only when it is flushed.
            jar.save_netscape(io::BufWriter::new(&mut [0; 1][..])),
        ] {
            let error = saved.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Io);
            assert!(error.to_string().contains("cannot save the cookies"));
        }
    }

    #[test]
    fn data_that_is_not_a_saved_jar_is_an_error() {
        let cookie = |value: &str, expires: &str| {
            format!(
                r#"[{{"name":"a","value":"{value}","domain":"b.test","host_only":true,"path":"/",
                "secure":false,"expires":"{expires}"}}]"#
            )
        };
        let date = "Fri, 31 Dec 9999 23:59:59 GMT";
        assert!(CookieJar::load(cookie("1", date).as_bytes()).is_ok());
        let no_control_character = cookie(r"\r\n", date);
        let no_date = cookie("1", "never");
        for bad in [
            "",
            "{",
            "[1]",
            "null",
            "\u{0}",
            &no_control_character,
            &cookie("1", date).replace(r#""/""#, r#""x""#),
            &cookie("1", date).replace(r#""/""#, r#""/\n""#),
            &cookie("1", date).replace("b.test", r"b.test\n"),
            &cookie("1", date).replace("b.test", "B.test"),
            &cookie("1", date).replace("b.test", ""),
            &no_date,
            // The format of the crate `cookie_store`.
            r#"[{"raw_cookie":"a=1","path":["/",true],"domain":{"HostOnly":"b.test"},"expires":
            {"AtUtc":"9999-12-31T23:59:59Z"}}]"#,
        ] {
            let error = CookieJar::load(bad.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Io, "{bad:?}");
            assert!(error.to_string().contains("CookieJar::save"), "{error}");
        }
    }
}
