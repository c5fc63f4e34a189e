//! Names of files that are valid on every file system.
//!
//! The names contain no invisible character, and no character that a file system refuses. They do not start with a
//! dot, do not end with a dot or a space, and are not device names of Windows. A number can be added to each name
//! without making it too long.

use std::fmt::Write as _;
use std::str::FromStr;

use inflight::url::Url;
use percent_encoding::percent_decode_str;

/// The maximum length of a name, in bytes. File systems permit 255.
const MAX_NAME: usize = 200;

/// The maximum length of the directories of a path, in bytes. Linux permits 4,096 for the whole path.
const MAX_DIRECTORIES: usize = 600;

/// The maximum length of an extension, with its dot. A longer suffix is not an extension.
const MAX_EXTENSION: usize = 16;

/// The name of a page whose URL ends with a slash.
const DEFAULT_NAME: &str = "index";

const FIELDS: &str = "{index}, {host}, {path}, {basename}, {id} and {ext}";

/// A template for the names of files, such as `{host}/{path}.{ext}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NameTemplate {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Index,
    Host,
    Path,
    Basename,
    Id,
    Extension,
}

/// The values of a template's fields.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NameFields<'a> {
    pub(crate) index: usize,
    pub(crate) id: Option<&'a str>,
    pub(crate) url: &'a str,
    pub(crate) content_type: Option<&'a str>,
}

impl Default for NameTemplate {
    fn default() -> Self {
        Self {
            parts: vec![Part::Index],
        }
    }
}

impl FromStr for NameTemplate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            parts.push(Part::Text(before.to_owned()));
            let (field, after) = after.split_once('}').ok_or("a { has no }")?;
            parts.push(match field {
                "index" => Part::Index,
                "host" => Part::Host,
                "path" => Part::Path,
                "basename" => Part::Basename,
                "id" => Part::Id,
                "ext" => Part::Extension,
                _ => {
                    return Err(format!(
                        "unknown field {{{field}}}; the fields are {FIELDS}"
                    ));
                }
            });
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        parts.retain(|part| *part != Part::Text(String::new()));
        let leaves = |part: &Part| matches!(part, Part::Text(text) if text.split('/').any(|name| name == ".."));
        if parts.is_empty() {
            Err("the template is empty".to_owned())
        } else if text.starts_with('/') || parts.iter().any(leaves) {
            Err("the names must be inside of the directory".to_owned())
        } else {
            Ok(Self { parts })
        }
    }
}

impl NameTemplate {
    /// Returns whether a name depends only on the index, so that no two names are equal.
    pub(super) fn is_index_only(&self) -> bool {
        self.parts == [Part::Index]
    }

    /// Returns a relative path, with `/` as the separator.
    pub(super) fn render(&self, fields: &NameFields<'_>) -> String {
        let url = Url::parse(fields.url).ok();
        let path = url.as_ref().map_or(vec![String::new()], path_names);
        let has_extension = self.parts.contains(&Part::Extension);
        let basename = match path.last() {
            Some(name) if !name.is_empty() => name,
            _ => DEFAULT_NAME,
        };
        let basename = match has_extension {
            true => split_extension(basename).0,
            false => basename,
        };
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Index => push_index(&mut text, fields.index),
                Part::Host => text.push_str(&url.as_ref().map(host).unwrap_or_default()),
                Part::Path => {
                    for name in &path[..path.len().saturating_sub(1)] {
                        text.push_str(name);
                        text.push('/');
                    }
                    text.push_str(basename);
                }
                Part::Basename => text.push_str(basename),
                Part::Id => match fields.id {
                    Some(id) => text.push_str(&id.replace('/', "_")),
                    None => push_index(&mut text, fields.index),
                },
                Part::Extension => text.push_str(&extension(fields.content_type, &path)),
            }
        }
        safe_path(&text)
    }
}

fn push_index(text: &mut String, index: usize) {
    // Writing to a `String` cannot fail.
    let _ = write!(text, "{index:06}");
}

fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}_{port}"),
        None => host.to_owned(),
    }
}

/// Returns the decoded segments of the path. A segment contains no slash.
fn path_names(url: &Url) -> Vec<String> {
    let names = url.path_segments().into_iter().flatten();
    let decode = |name: &str| {
        percent_decode_str(name)
            .decode_utf8_lossy()
            .replace('/', "_")
    };
    names.map(decode).collect()
}

/// Returns the extension of the media type. If the type is unknown or general, returns the extension of the path,
/// or `bin` if the path has none.
fn extension(content_type: Option<&str>, path: &[String]) -> String {
    let essence = content_type.unwrap_or_default().split(';').next();
    let essence = essence.unwrap_or_default().trim().to_ascii_lowercase();
    let known = match &*essence {
        "application/octet-stream" | "binary/octet-stream" => None,
        essence => mime2ext::mime2ext(essence),
    };
    let of_path = path.last().and_then(|name| split_extension(name).1);
    known.or(of_path).unwrap_or("bin").to_owned()
}

/// Splits a name into its stem and its extension without the dot.
fn split_extension(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && is_extension(extension) => {
            (stem, Some(extension))
        }
        _ => (name, None),
    }
}

fn is_extension(text: &str) -> bool {
    let is_short = !text.is_empty() && text.len() < MAX_EXTENSION;
    is_short && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Checks a path that the input specifies, and returns it with valid names.
pub(crate) fn relative_path(path: &str) -> Result<String, &'static str> {
    let is_inside =
        !path.starts_with(['/', '\\']) && !path.split(['/', '\\']).any(|name| name == "..");
    let has_name = path
        .split('/')
        .next_back()
        .is_some_and(|name| !name.trim().is_empty());
    match is_inside && has_name {
        true => Ok(safe_path(path)),
        false => Err("the output must be the name of a file inside of the directory"),
    }
}

/// Returns a valid file name from the last segment of a URL's path, or `None` if the segment is empty.
pub(crate) fn file_name(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let name = path_names(&url).pop().filter(|name| !name.is_empty())?;
    Some(safe_name(&name))
}

/// Makes each name of a path valid.
fn safe_path(path: &str) -> String {
    let mut names: Vec<_> = path
        .split('/')
        .filter(|name| !name.is_empty())
        .map(safe_name)
        .collect();
    let last = names.pop().unwrap_or_else(|| DEFAULT_NAME.to_owned());
    let (mut safe, mut is_full) = (String::new(), false);
    for name in names {
        is_full |= safe.len() + name.len() > MAX_DIRECTORIES;
        if !is_full {
            safe.push_str(&name);
            safe.push('/');
        }
    }
    safe + &last
}

/// Returns whether a name may contain a character: no file system refuses it, and it is visible.
fn is_safe(c: char) -> bool {
    let is_invisible = matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{ffff}'
    );
    let is_refused = r#"/\:*?"<>|"#.contains(c);
    !c.is_control() && !is_invisible && !is_refused && (c == ' ' || !c.is_whitespace())
}

fn safe_name(name: &str) -> String {
    let name: String = name
        .chars()
        .map(|c| if is_safe(c) { c } else { '_' })
        .collect();
    let name = name.trim_end_matches([' ', '.']).trim_start();
    let needs_prefix = name.is_empty() || name.starts_with('.') || is_device_name(name);
    let name = format!("{}{name}", if needs_prefix { "_" } else { "" });
    shorten(&name)
}

/// Returns whether Windows reserves the name, with any extension.
fn is_device_name(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end();
    let upper = stem.to_ascii_uppercase();
    match &*upper {
        "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$" => true,
        upper => {
            let number = upper.strip_prefix("COM").or(upper.strip_prefix("LPT"));
            number.is_some_and(|number| {
                let mut digits = number.chars();
                let is_digit = |c: char| c.is_ascii_digit() || "\u{b9}\u{b2}\u{b3}".contains(c);
                digits.next().is_some_and(is_digit) && digits.next().is_none()
            })
        }
    }
}

/// Shortens the stem of a name that is too long.
fn shorten(name: &str) -> String {
    if name.len() <= MAX_NAME {
        return name.to_owned();
    }
    let (stem, extension) = split_extension(name);
    let extension = extension
        .map(|extension| format!(".{extension}"))
        .unwrap_or_default();
    let limit = MAX_NAME - extension.len();
    let ends = stem.char_indices().map(|(start, c)| start + c.len_utf8());
    let end = ends.take_while(|end| *end <= limit).last().unwrap_or(0);
    let stem = &stem[..end];
    stem.trim_end_matches([' ', '.']).to_owned() + &extension
}

/// Adds a number to the last name of a path, before its extension. Does not add the number 1.
pub(super) fn numbered(path: &str, number: usize) -> String {
    if number == 1 {
        return path.to_owned();
    }
    let (start, end) = split_path(path);
    format!("{start}-{number}{end}")
}

/// Returns the arguments from which [`numbered`] makes a path. The number is 1 if the path has none.
pub(super) fn unnumbered(path: &str) -> (String, usize) {
    let (start, end) = split_path(path);
    let parse = || {
        let (stem, digits) = start.rsplit_once('-')?;
        let number = digits.parse().ok().filter(|number| *number > 1)?;
        // `numbered` never adds `-02` or `-+2`.
        let name = format!("{stem}{end}");
        (numbered(&name, number) == path).then_some((name, number))
    };
    parse().unwrap_or_else(|| (path.to_owned(), 1))
}

/// Splits a path before the extension of its last name.
fn split_path(path: &str) -> (&str, &str) {
    let name = path.rsplit('/').next().unwrap_or_default();
    let extension = split_extension(name).1;
    path.split_at(path.len() - extension.map_or(0, |extension| extension.len() + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(template: &str, url: &str, content_type: Option<&str>) -> String {
        let template: NameTemplate = template.parse().unwrap();
        template.render(&NameFields {
            index: 7,
            id: Some("a/b"),
            url,
            content_type,
        })
    }

    #[test]
    fn the_fields_are_those_of_the_url_and_the_response() {
        let url = "http://host:8080/a/b%20c/page.htm?q=1#f";
        assert_eq!(render("{index}", url, None), "000007");
        assert_eq!(
            render("{host}/{path}", url, None),
            "host_8080/a/b c/page.htm"
        );
        assert_eq!(render("{basename}", url, None), "page.htm");
        assert_eq!(
            render("{id}-{basename}.{ext}", url, Some("text/html; charset=x")),
            "a_b-page.html"
        );
        assert_eq!(
            render("{path}.{ext}", "http://host/", Some("image/png")),
            "index.png"
        );
        assert_eq!(
            render("{basename}.{ext}", "http://host/a.zip", None),
            "a.zip"
        );
        let general = Some("application/octet-stream");
        assert_eq!(
            render("{basename}.{ext}", "http://host/a.zip", general),
            "a.zip"
        );
        assert_eq!(render("{basename}.{ext}", "http://host/a", None), "a.bin");
        assert_eq!(render("x/{basename}", "http://host/a/", None), "x/index");
    }

    #[test]
    fn a_template_has_known_fields_and_stays_inside_of_the_directory() {
        for bad in [
            "",
            "{",
            "{index",
            "{page}",
            "/{index}",
            "../{index}",
            "a/../{index}",
        ] {
            assert!(bad.parse::<NameTemplate>().is_err(), "{bad}");
        }
        assert_eq!("{index}".parse(), Ok(NameTemplate::default()));
    }

    #[test]
    fn names_are_valid_on_every_file_system() {
        for (name, expected) in [
            ("a:b*c?d\"e<f>g|h\\i\u{0}j", "a_b_c_d_e_f_g_h_i_j"),
            ("con", "_con"),
            ("Com1.txt", "_Com1.txt"),
            ("console", "console"),
            (".htaccess", "_.htaccess"),
            ("..", "_"),
            ("a. .", "a"),
            ("  ", "_"),
            ("\u{202e}txt.exe", "_txt.exe"),
            ("caf\u{e9}.html", "caf\u{e9}.html"),
            (
                "e\u{301}-\u{939}\u{94d}-\u{1f600}",
                "e\u{301}-\u{939}\u{94d}-\u{1f600}",
            ),
            ("a\u{a0}\u{200b}b", "a__b"),
        ] {
            assert_eq!(safe_name(name), expected, "{name}");
        }
        let long = safe_name(&format!("{}.html", "\u{e9}".repeat(300)));
        assert!(long.len() <= MAX_NAME && long.ends_with(".html"), "{long}");
        let deep = safe_path(&"long-directory/".repeat(300));
        assert!(deep.len() <= MAX_DIRECTORIES + MAX_NAME, "{}", deep.len());
    }

    #[test]
    fn no_url_leads_out_of_the_directory() {
        for url in [
            "http://host/..%2f..%2fetc/passwd",
            "http://host/%2e%2e/%2E%2E/etc",
            "http://host//etc//passwd",
            "http://host/a%00b/%5c..%5cx",
            "http://host/./../",
        ] {
            let path = render("{path}", url, None);
            assert!(!path.starts_with('/') && !path.contains('\\'), "{path}");
            assert!(
                path.split('/')
                    .all(|name| !name.is_empty() && !name.starts_with('.')),
                "{path}"
            );
        }
        assert_eq!(relative_path("a/b.txt").unwrap(), "a/b.txt");
        for bad in ["", "/a", "../a", "a/..", "a/", "..\\a", "\\a"] {
            assert!(relative_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_number_precedes_the_extension() {
        assert_eq!(numbered("a/b.html", 1), "a/b.html");
        assert_eq!(numbered("a/b.html", 2), "a/b-2.html");
        assert_eq!(numbered("a.b/c", 3), "a.b/c-3");
        for (path, name, number) in [
            ("a/b-2.html", "a/b.html", 2),
            ("a.b/c-3", "a.b/c", 3),
            ("a/b.html", "a/b.html", 1),
            ("a/b-1.html", "a/b-1.html", 1),
            ("a/b-02.html", "a/b-02.html", 1),
            ("2024-11", "2024", 11),
        ] {
            assert_eq!(unnumbered(path), (name.to_owned(), number), "{path}");
        }
    }

    #[test]
    fn the_name_for_a_url_is_the_last_name_of_its_path() {
        assert_eq!(
            file_name("http://host/a/book.pdf?x=1").as_deref(),
            Some("book.pdf")
        );
        assert_eq!(file_name("http://host/a/").as_deref(), None);
        assert_eq!(file_name("http://host").as_deref(), None);
    }
}
