//! Elements of HTML and SVG: nesting and escaping are right by construction, whatever the records
//! call things.

use std::fmt::{self, Display, Formatter, Write};

/// An element.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct El {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    children: Vec<Node>,
}

/// What may be in an element.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    /// Another.
    El(El),
    /// Text, escaped when it is written.
    Text(String),
    /// Text as it is, for our own style and script: HTML does not decode them.
    Raw(&'static str),
}

/// What has neither children nor an end in HTML.
const VOID: [&str; 4] = ["meta", "link", "br", "hr"];

impl El {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            attributes: Vec::new(),
            children: Vec::new(),
        }
    }

    /// With a class.
    pub(crate) fn of(name: &'static str, class: &str) -> Self {
        Self::new(name).with("class", class)
    }

    /// With an attribute.
    pub(crate) fn with(mut self, name: &'static str, value: impl Display) -> Self {
        self.attributes.push((name, value.to_string()));
        self
    }

    /// With an attribute that is a length or a place: tenths of a pixel are enough.
    pub(crate) fn at(self, name: &'static str, value: f64) -> Self {
        let rounded = (value * 10.0).round() / 10.0;
        // Not -0.
        self.with(name, rounded + 0.0)
    }

    /// With text in it.
    pub(crate) fn text(mut self, text: impl Display) -> Self {
        self.children.push(Node::Text(text.to_string()));
        self
    }

    pub(crate) fn raw(mut self, text: &'static str) -> Self {
        self.children.push(Node::Raw(text));
        self
    }

    /// With an element in it.
    pub(crate) fn child(mut self, child: El) -> Self {
        self.add(child);
        self
    }

    pub(crate) fn children(mut self, children: impl IntoIterator<Item = El>) -> Self {
        self.children.extend(children.into_iter().map(Node::El));
        self
    }

    pub(crate) fn add(&mut self, child: El) {
        self.children.push(Node::El(child));
    }
}

impl Display for El {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "<{}", self.name)?;
        for (name, value) in &self.attributes {
            write!(f, " {name}=\"")?;
            escape(f, value)?;
            f.write_char('"')?;
        }
        if VOID.contains(&self.name) {
            return f.write_str("/>");
        }
        f.write_char('>')?;
        for child in &self.children {
            match child {
                Node::El(el) => el.fmt(f)?,
                Node::Text(text) => escape(f, text)?,
                Node::Raw(text) => f.write_str(text)?,
            }
        }
        write!(f, "</{}>", self.name)?;
        // Lines that people and tools can read; between blocks it means nothing.
        if matches!(
            self.name,
            "p" | "tr" | "g" | "figure" | "section" | "table" | "h2" | "style" | "script" | "div"
        ) {
            f.write_char('\n')?;
        }
        Ok(())
    }
}

fn escape(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    for c in text.chars() {
        match c {
            '&' => f.write_str("&amp;")?,
            '<' => f.write_str("&lt;")?,
            '>' => f.write_str("&gt;")?,
            '"' => f.write_str("&quot;")?,
            '\'' => f.write_str("&#39;")?,
            // No control character is text in XML.
            c if c.is_control() && !matches!(c, '\n' | '\t') => f.write_char('\u{fffd}')?,
            c => f.write_char(c)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        let name = "</title><script>alert(\"1\" & '2')\u{1}";
        let el = El::new("g")
            .with("aria-label", name)
            .child(El::new("title").text(name));
        let out = el.to_string();
        assert_eq!(out.matches('<').count(), 4, "{out}");
        let escaped = "&lt;/title&gt;&lt;script&gt;alert(&quot;1&quot; &amp; &#39;2&#39;)\u{fffd}";
        assert_eq!(out.matches(escaped).count(), 2, "{out}");
    }

    #[test]
    fn places_are_short_and_zero_has_no_sign() {
        let el = El::new("line")
            .at("x1", 1.26)
            .at("x2", -0.01)
            .at("y1", 12.0);
        assert_eq!(
            el.to_string(),
            "<line x1=\"1.3\" x2=\"0\" y1=\"12\"></line>"
        );
    }

    #[test]
    fn what_is_void_has_no_end() {
        assert_eq!(
            El::new("meta").with("charset", "utf-8").to_string(),
            "<meta charset=\"utf-8\"/>"
        );
    }
}
