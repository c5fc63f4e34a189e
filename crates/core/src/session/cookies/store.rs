//! The cookies of a jar: replacing, eviction, and the order in which they are sent (RFC 6265bis, 5.7
//! and 5.8).

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::SystemTime;

use url::Url;

use crate::session::cookies::cookie::{Cookie, domains_of, host, is_secure};
use crate::session::cookies::parse::SetCookie;

/// The most cookies with the same domain.
const MAX_PER_DOMAIN: usize = 180;

/// The most cookies in all.
const MAX_COOKIES: usize = 3000;

#[derive(Default)]
pub(super) struct CookieStore {
    domains: HashMap<String, Vec<StoredCookie>>,
    /// How many times cookies were set or sent so far. This count orders cookies, because a clock may
    /// return the same time twice.
    calls: u64,
}

struct StoredCookie {
    cookie: Cookie,
    /// The value of `calls` when the cookie was first set. A new value of the cookie does not change
    /// this number.
    created: u64,
    /// The value of `calls` when the cookie was last set or sent.
    last_access: u64,
}

impl CookieStore {
    /// Stores the cookie of a `Set-Cookie` header, unless `url` may not set it.
    pub(super) fn set(&mut self, header: &[u8], url: &Url, now: SystemTime) {
        let parsed = SetCookie::parse(header, now);
        let Some(cookie) = parsed.and_then(|parsed| Cookie::from_set_cookie(&parsed, url)) else {
            return;
        };
        let hides = |other: &StoredCookie| cookie.hides_secure(&other.cookie);
        if is_secure(url) || !self.unexpired(now).any(hides) {
            self.insert(cookie, now);
        }
    }

    /// Stores a cookie. It replaces an older cookie with the same name, domain and path. An expired
    /// cookie only removes the older one.
    pub(super) fn insert(&mut self, cookie: Cookie, now: SystemTime) {
        self.calls += 1;
        let old = self.take(&cookie).filter(|old| !old.cookie.is_expired(now));
        if cookie.is_expired(now) {
            return;
        }
        let domain = cookie.domain.clone();
        let cookies = self.domains.entry(domain.clone()).or_default();
        cookies.push(StoredCookie {
            cookie,
            created: old.map_or(self.calls, |old| old.created),
            last_access: self.calls,
        });
        self.evict(&domain, now);
    }

    /// Returns the value of `Cookie` for a request to `url`: cookies with longer paths first, then those
    /// that were created earlier.
    pub(super) fn header(&mut self, url: &Url, now: SystemTime) -> Option<Vec<u8>> {
        self.calls += 1;
        let mut sent = Vec::new();
        for domain in domains_of(host(url)?) {
            for stored in self.domains.get_mut(domain).into_iter().flatten() {
                let cookie = &stored.cookie;
                if cookie.applies_to(url) && !cookie.is_expired(now) {
                    stored.last_access = self.calls;
                    sent.push((Reverse(cookie.path.len()), stored.created, cookie.pair()));
                }
            }
        }
        sent.sort_unstable();
        let pairs: Vec<_> = sent.into_iter().map(|(_, _, pair)| pair).collect();
        (!pairs.is_empty()).then(|| pairs.join(&b"; "[..]))
    }

    /// Returns the cookies that have not expired, in the order of their creation.
    pub(super) fn cookies(&self, now: SystemTime) -> Vec<&Cookie> {
        let mut stored: Vec<_> = self.unexpired(now).collect();
        stored.sort_unstable_by_key(|stored| stored.created);
        stored.into_iter().map(|stored| &stored.cookie).collect()
    }

    pub(super) fn clear(&mut self) {
        self.domains.clear();
    }

    fn unexpired(&self, now: SystemTime) -> impl Iterator<Item = &StoredCookie> {
        let stored = self.domains.values().flatten();
        stored.filter(move |stored| !stored.cookie.is_expired(now))
    }

    /// Removes and returns the stored cookie that `cookie` replaces.
    fn take(&mut self, cookie: &Cookie) -> Option<StoredCookie> {
        let cookies = self.domains.get_mut(&cookie.domain)?;
        let at = cookies
            .iter()
            .position(|stored| cookie.replaces(&stored.cookie))?;
        let old = cookies.swap_remove(at);
        if cookies.is_empty() {
            self.domains.remove(&cookie.domain);
        }
        Some(old)
    }

    /// Removes the cookies that exceed the limits, after a cookie was added to `domain`. Removes them in the
    /// order of RFC 6265bis, 5.7.
    fn evict(&mut self, domain: &str, now: SystemTime) {
        if self.count_in(domain) > MAX_PER_DOMAIN || self.count() > MAX_COOKIES {
            self.retain(|stored| !stored.cookie.is_expired(now));
        }
        if self.count_in(domain) > MAX_PER_DOMAIN {
            let stored = self.domains.get(domain).into_iter().flatten();
            let first = stored
                .min_by_key(|stored| {
                    let cookie = &stored.cookie;
                    (cookie.is_secure, stored.last_access, stored.created)
                })
                .map(|stored| stored.created);
            self.retain(|stored| Some(stored.created) != first);
        }
        if self.count() > MAX_COOKIES {
            let stored = self.domains.values().flatten();
            let first = stored
                .min_by_key(|stored| (stored.last_access, stored.created))
                .map(|stored| stored.created);
            self.retain(|stored| Some(stored.created) != first);
        }
    }

    fn count(&self) -> usize {
        self.domains.values().map(Vec::len).sum()
    }

    fn count_in(&self, domain: &str) -> usize {
        self.domains.get(domain).map_or(0, Vec::len)
    }

    fn retain(&mut self, is_kept: impl Fn(&StoredCookie) -> bool) {
        self.domains.retain(|_, cookies| {
            cookies.retain(&is_kept);
            !cookies.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn set(store: &mut CookieStore, cookie: &str, by: &str) {
        store.set(cookie.as_bytes(), &url(by), at(0));
    }

    fn sent(store: &mut CookieStore, to: &str) -> String {
        let header = store.header(&url(to), at(0)).unwrap_or_default();
        String::from_utf8(header).unwrap()
    }

    fn is_stored(cookie: &str, by: &str) -> bool {
        let mut store = CookieStore::default();
        set(&mut store, cookie, by);
        store.count() > 0
    }

    /// Returns the cookies that are sent to `to` after `cookies` were set.
    fn after(cookies: &[(&str, &str)], to: &str) -> String {
        let mut store = CookieStore::default();
        for (cookie, by) in cookies {
            set(&mut store, cookie, by);
        }
        sent(&mut store, to)
    }

    #[test]
    fn a_cookie_without_a_domain_is_for_its_host_alone() {
        let set = [("a=1", "http://example.org:81/")];
        assert_eq!(after(&set, "https://example.org:82/"), "a=1");
        assert_eq!(after(&set, "http://www.example.org/"), "");
        assert_eq!(after(&set, "http://example.com/"), "");
        assert_eq!(after(&set, "http://org/"), "");
    }

    #[test]
    fn a_cookie_with_a_domain_is_for_that_domain_and_the_hosts_below_it() {
        for attribute in ["example.org", ".example.org", "EXAMPLE.org"] {
            let cookie = format!("a=1; Domain={attribute}");
            let set = [(&*cookie, "http://www.example.org/")];
            assert_eq!(after(&set, "http://example.org/"), "a=1");
            assert_eq!(after(&set, "http://a.b.example.org/"), "a=1");
            assert_eq!(after(&set, "http://badexample.org/"), "");
        }
    }

    #[test]
    fn a_host_sets_cookies_only_for_itself_and_its_parents() {
        for attribute in [
            "a.www.example.org",
            "other.example.org",
            "example.com",
            "ww.example.org",
            "ample.org",
            "..example.org",
            "www.example.org:80",
            "\"www.example.org\"",
            "www.exämple.org",
        ] {
            let cookie = format!("a=1; Domain={attribute}");
            let is_stored = is_stored(&cookie, "http://www.example.org/");
            assert!(!is_stored, "{attribute}");
        }
    }

    #[test]
    fn only_the_host_of_a_public_suffix_sets_and_receives_cookies_for_the_suffix() {
        for attribute in [
            "co.uk",
            ".co.uk",
            "CO.UK",
            "uk",
            "good.co.uk",
            "com",
            "github.io",
        ] {
            let cookie = format!("a=1; Domain={attribute}");
            let set = [(&*cookie, "http://bad.co.uk/")];
            assert_eq!(after(&set, "http://bad.co.uk/"), "", "{attribute}");
            assert_eq!(after(&set, "http://good.co.uk/"), "", "{attribute}");
        }
        for host in ["github.io", "localhost"] {
            let cookie = format!("a=1; Domain={host}");
            let page = format!("http://{host}/");
            let set = [(&*cookie, &*page)];
            assert_eq!(after(&set, &page), "a=1");
            assert_eq!(after(&set, &format!("http://below.{host}/")), "");
        }
    }

    #[test]
    fn a_host_with_a_trailing_dot_is_another_host() {
        let (plain, dotted) = ("http://a.example.org/", "http://a.example.org./");
        assert_eq!(after(&[("a=1", dotted)], dotted), "a=1");
        assert_eq!(after(&[("a=1", dotted)], plain), "");
        assert_eq!(after(&[("a=1", plain)], dotted), "");
        assert_eq!(after(&[("a=1; Domain=example.org.", plain)], plain), "");
        assert_eq!(after(&[("a=1; Domain=example.org", dotted)], dotted), "");
        let set = [("a=1; Domain=example.org.", dotted)];
        assert_eq!(after(&set, "http://b.example.org./"), "a=1");
        // A public suffix with a trailing dot is also a public suffix.
        let set = [("a=1; Domain=org.", dotted)];
        assert_eq!(after(&set, "http://other.org./"), "");
        assert_eq!(
            after(&[("a=1; Domain=..", "http://a../")], "http://b../"),
            ""
        );
    }

    #[test]
    fn an_address_has_no_parents() {
        let v4 = "http://192.0.2.7/";
        assert_eq!(after(&[("a=1; Domain=192.0.2.7", v4)], v4), "a=1");
        for attribute in ["0.2.7", "2.7", "7", ".0.2.7"] {
            let cookie = format!("a=1; Domain={attribute}");
            assert!(!is_stored(&cookie, v4), "{attribute}");
        }
        let v6 = "http://[2001:db8::7]/";
        assert_eq!(after(&[("a=1", v6)], v6), "a=1");
        assert_eq!(after(&[("a=1; Domain=[2001:db8::7]", v6)], v6), "a=1");
        assert_eq!(after(&[("a=1; Domain=2001:db8::7", v6)], v6), "");
    }

    #[test]
    fn the_default_path_is_the_folder_of_the_request() {
        for (by, sent_to, not_sent_to) in [
            ("/a/b/c?d/e", "/a/b/x", "/a/bc"),
            ("/a/b/", "/a/b", "/a"),
            ("/a/b", "/a/", "/"),
        ] {
            let by = format!("http://example.org{by}");
            // `Path` has no effect unless its value starts with a slash.
            for cookie in [
                "a=1",
                "a=1; Path",
                "a=1; Path=",
                "a=1; Path=x",
                "a=1; Path=/y; Path=x",
            ] {
                let set = [(cookie, &*by)];
                assert_eq!(after(&set, &format!("http://example.org{sent_to}")), "a=1");
                assert_eq!(after(&set, &format!("http://example.org{not_sent_to}")), "");
            }
        }
        for by in [
            "http://example.org",
            "http://example.org/",
            "http://example.org/a",
        ] {
            assert_eq!(after(&[("a=1", by)], "http://example.org/"), "a=1");
        }
        let deep = |length: usize| format!("http://example.org/{}/", "p".repeat(length));
        assert_eq!(after(&[("a=1", &deep(1023))], &deep(1023)), "a=1");
        assert_eq!(after(&[("a=1", &deep(1024))], &deep(1024)), "");
    }

    #[test]
    fn the_path_of_a_cookie_matches_whole_segments() {
        for (path, to, is_sent) in [
            ("/a", "/a", true),
            ("/a", "/a/b", true),
            ("/a/", "/a/b", true),
            ("/a/", "/a/", true),
            ("/", "/a", true),
            ("/a/", "/a", false),
            ("/a", "/ab", false),
            ("/a", "/A", false),
            ("/a", "/", false),
            ("/%61", "/a", false),
            ("/ü", "/%C3%BC", false),
        ] {
            let cookie = format!("a=1; Path={path}");
            let sent = after(
                &[(&cookie, "http://example.org/elsewhere/")],
                &format!("http://example.org{to}?query"),
            );
            assert_eq!(sent == "a=1", is_sent, "{path} {to}");
        }
    }

    #[test]
    fn secure_cookies_require_https_even_on_localhost() {
        for host in ["example.org", "localhost", "127.0.0.1"] {
            let (plain, secure) = (format!("http://{host}/"), format!("https://{host}/"));
            assert_eq!(after(&[("a=1; Secure", &plain)], &secure), "");
            assert_eq!(after(&[("a=1; Secure", &secure)], &plain), "");
            assert_eq!(after(&[("a=1; Secure", &secure)], &secure), "a=1");
        }
    }

    #[test]
    fn a_secure_cookie_is_not_replaced_or_hidden_over_http() {
        let login = ("a=good; Secure; Path=/login", "https://www.example.org/");
        for cookie in [
            "a=bad; Path=/login",
            "a=bad; Path=/login/deeper",
            "a=bad; Path=/login; Domain=example.org",
            "a=bad; Path=/login; Max-Age=0",
        ] {
            let set = [login, (cookie, "http://www.example.org/")];
            let sent = after(&set, "https://www.example.org/login/deeper");
            assert_eq!(sent, "a=good", "{cookie}");
        }
        let parent = (
            "a=good; Secure; Domain=example.org",
            "https://www.example.org/",
        );
        let set = [parent, ("a=bad", "http://www.example.org/")];
        assert_eq!(after(&set, "https://www.example.org/"), "a=good");
        // Plain HTTP may set cookies with other names, paths and domains. An https URL may replace the
        // secure cookie.
        for (cookie, by, sent) in [
            ("b=2; Path=/login", "http://www.example.org/", "a=good; b=2"),
            ("a=2; Path=/", "http://www.example.org/", "a=good; a=2"),
            ("a=2; Path=/login", "https://www.example.org/", "a=2"),
        ] {
            assert_eq!(
                after(&[login, (cookie, by)], "https://www.example.org/login"),
                sent
            );
        }
        let set = [login, ("a=2; Path=/login", "http://other.example.org/")];
        assert_eq!(after(&set, "http://other.example.org/login"), "a=2");
    }

    #[test]
    fn a_prefix_of_the_name_requires_attributes() {
        for (cookie, is_stored) in [
            ("__Secure-a=1; Secure", true),
            ("__secure-a=1; Secure; Domain=example.org", true),
            ("__Secure-a=1", false),
            ("__SECURE-a=1", false),
            ("__Host-a=1; Secure; Path=/", true),
            ("__hOST-a=1; Secure; Path=/", true),
            ("__Host-a=1; Secure; Path=/; Domain=", true),
            ("__Host-a=1; Path=/", false),
            ("__Host-a=1; Secure", false),
            ("__Host-a=1; Secure; Path=/a", false),
            ("__host-a=1; Secure; Path=/; Domain=www.example.org", false),
            // A cookie without a name must not imitate a cookie with a prefix.
            ("=__Secure-a=1; Secure", false),
            ("=__host-a=1; Secure; Path=/", false),
            ("__Host-a; Secure; Path=/", false),
            ("__Host=1", true),
            ("a=__Host-b", true),
        ] {
            let sent = after(
                &[(cookie, "https://www.example.org/")],
                "https://www.example.org/",
            );
            assert_eq!(!sent.is_empty(), is_stored, "{cookie}");
        }
    }

    #[test]
    fn same_site_none_requires_secure() {
        let page = "https://example.org/";
        assert_eq!(after(&[("a=1; SameSite=None", page)], page), "");
        assert_eq!(after(&[("a=1; SameSite=None; Secure", page)], page), "a=1");
        assert_eq!(after(&[("a=1; SameSite=Strict", page)], page), "a=1");
    }

    #[test]
    fn a_cookie_without_a_name_is_sent_as_its_value() {
        let page = "http://example.org/";
        let set = [
            ("a=1", page),
            ("first", page),
            ("=second", page),
            ("b=", page),
        ];
        assert_eq!(after(&set, page), "a=1; second; b=");
    }

    #[test]
    fn a_new_value_keeps_the_position_of_a_cookie() {
        let page = "http://example.org/";
        let set = [("a=1", page), ("b=2", page), ("a=3", page)];
        assert_eq!(after(&set, page), "a=3; b=2");
        let set = [
            ("a=1", page),
            ("b=2", page),
            ("a=; Max-Age=0", page),
            ("a=3", page),
        ];
        assert_eq!(after(&set, page), "b=2; a=3");
        // These cookies differ in their path or their domain, so none replaces another.
        let set = [
            ("a=1; Path=/", page),
            ("a=2; Domain=example.org", page),
            ("a=3; Path=/x", page),
        ];
        assert_eq!(after(&set, "http://example.org/x"), "a=3; a=1; a=2");
    }

    #[test]
    fn a_cookie_is_not_sent_after_it_expires() {
        let (mut store, page) = (CookieStore::default(), url("http://example.org/"));
        store.set(b"a=1; Max-Age=10", &page, at(100));
        store.set(
            b"b=2; Expires=Thu, 01 Jan 1970 00:02:00 GMT",
            &page,
            at(100),
        );
        store.set(b"c=3", &page, at(100));
        let mut sent = |now| String::from_utf8(store.header(&page, now).unwrap()).unwrap();
        assert_eq!(sent(at(109)), "a=1; b=2; c=3");
        assert_eq!(sent(at(110)), "b=2; c=3");
        assert_eq!(sent(at(120)), "c=3");
        assert_eq!(store.cookies(at(109)).len(), 3);
        assert_eq!(store.cookies(at(120)).len(), 1);
        // A new cookie does not take the position of an expired one.
        store.set(b"a=4", &page, at(120));
        assert_eq!(store.header(&page, at(120)).unwrap(), b"c=3; a=4");
    }

    #[test]
    fn all_cookies_are_listed_in_the_order_of_their_creation() {
        let mut store = CookieStore::default();
        for n in 0..20 {
            set(
                &mut store,
                &format!("{n}=1"),
                &format!("http://host{}.test/", n % 5),
            );
        }
        let names = store.cookies(at(0)).into_iter().map(|cookie| {
            let name = str::from_utf8(&cookie.name).unwrap();
            name.parse::<usize>().unwrap()
        });
        assert!(names.eq(0..20));
    }

    #[test]
    fn a_domain_without_cookies_is_removed() {
        let mut store = CookieStore::default();
        for n in 0..10 {
            let page = format!("http://host{n}.example.org/");
            set(&mut store, "a=1; Max-Age=0", &page);
            set(&mut store, "b=1", &page);
            set(&mut store, "b=1; Max-Age=0", &page);
        }
        assert_eq!(store.domains.len(), 0);
    }

    /// Sets the cookies `c0`, `c1` and so on.
    fn fill(store: &mut CookieStore, count: usize, by: &str) {
        for n in 0..count {
            set(store, &format!("c{n}=1"), by);
        }
    }

    fn names(header: &str) -> Vec<&str> {
        let pairs = header.split("; ");
        pairs.map(|pair| pair.split('=').next().unwrap()).collect()
    }

    #[test]
    fn a_full_domain_evicts_the_least_recently_used_cookie_and_secure_cookies_last() {
        let (mut store, page) = (CookieStore::default(), "https://example.org/");
        set(&mut store, "first=1; Secure", page);
        fill(&mut store, MAX_PER_DOMAIN - 2, page);
        set(&mut store, "path=1; Path=/used", page);
        assert_eq!(store.count(), MAX_PER_DOMAIN);
        // Sends all cookies but `path`, so `path` is the least recently used one.
        sent(&mut store, page);
        set(&mut store, "new=1", page);
        assert_eq!(store.count(), MAX_PER_DOMAIN);
        let header = sent(&mut store, "https://example.org/used");
        assert_eq!(names(&header).len(), MAX_PER_DOMAIN);
        assert!(!header.contains("path"));
        // `first` is the oldest, but it is secure.
        set(&mut store, "newer=1", page);
        let header = sent(&mut store, page);
        assert_eq!(names(&header)[..2], ["first", "c1"]);
        // Other domains have their own limit.
        fill(&mut store, 10, "https://example.com/");
        assert_eq!(store.count(), MAX_PER_DOMAIN + 10);
    }

    #[test]
    fn a_full_domain_evicts_expired_cookies_first() {
        let (mut store, page) = (CookieStore::default(), "http://example.org/");
        fill(&mut store, MAX_PER_DOMAIN - 1, page);
        store.set(b"short=1; Max-Age=10", &url(page), at(0));
        store.set(b"new=1", &url(page), at(10));
        let header = store.header(&url(page), at(10)).unwrap();
        let header = String::from_utf8(header).unwrap();
        assert_eq!(names(&header).len(), MAX_PER_DOMAIN);
        assert_eq!(names(&header)[0], "c0");
    }

    #[test]
    fn a_full_store_evicts_the_least_recently_used_cookie_of_all() {
        let mut store = CookieStore::default();
        let page = |n| format!("http://host{n}.example.org/");
        for n in 0..MAX_COOKIES {
            set(&mut store, "a=1", &page(n));
        }
        assert_eq!(sent(&mut store, &page(0)), "a=1");
        set(&mut store, "a=1", "http://example.com/");
        assert_eq!(store.count(), MAX_COOKIES);
        assert_eq!(sent(&mut store, &page(0)), "a=1");
        assert_eq!(sent(&mut store, &page(1)), "");
        assert_eq!(sent(&mut store, &page(2)), "a=1");
        assert_eq!(sent(&mut store, "http://example.com/"), "a=1");
        // The map does not keep the evicted host.
        assert_eq!(store.domains.len(), MAX_COOKIES);
    }

    #[test]
    fn a_host_that_is_longer_than_a_name_has_no_cookies() {
        let page = |length: usize| format!("http://{}/", "a.".repeat(length / 2));
        assert_eq!(after(&[("a=1", &page(254))], &page(254)), "a=1");
        assert_eq!(after(&[("a=1", &page(256))], &page(256)), "");
    }

    const PAGES: [&str; 4] = [
        "http://example.org/",
        "https://www.example.org/a/b",
        "http://localhost/a",
        "http://127.0.0.1/",
    ];

    /// A header in the syntax of `Set-Cookie`, often with wrong bytes.
    fn any_header() -> impl Strategy<Value = Vec<u8>> {
        let like_a_cookie = "[ab]?=?[a-c=\t\u{0}\r\n\u{7f}ü ]{0,4}(; ?(Domain|Path|Max-Age|Expires|\
            Secure|SameSite|x)=?[a-z0-9/.: \n-]{0,12}){0,3}";
        prop_oneof![
            like_a_cookie.prop_map(String::into_bytes),
            vec(any::<u8>(), 0..24),
        ]
    }

    proptest! {
        #[test]
        fn no_header_contains_control_characters(
            headers in vec((any_header(), 0..PAGES.len()), 0..20),
        ) {
            let mut stores = [CookieStore::default(), CookieStore::default()];
            for (header, page) in &headers {
                for store in &mut stores {
                    store.set(header, &url(PAGES[*page]), at(0));
                }
            }
            for page in PAGES {
                let [first, second] = stores.each_mut().map(|store| store.header(&url(page), at(0)));
                let is_control = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
                prop_assert!(!first.iter().flatten().any(is_control), "{:?}", first);
                // The order of the cookies does not depend on the store's hash map.
                prop_assert_eq!(first, second);
            }
        }
    }
}
