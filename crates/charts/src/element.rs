//! Elements of HTML and SVG. Nesting and escaping are correct by construction, for any names in the
//! records.

use std::fmt::{self, Display, Formatter, Write};

/// An HTML or SVG element. Its [`Display`] implementation writes the markup.
///
/// ```
/// use inflight_charts::Element;
///
/// let link = Element::new("a").with("href", "#top").text("Ben & Jerry");
/// assert_eq!(link.to_string(), "<a href=\"#top\">Ben &amp; Jerry</a>");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Element {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    children: Vec<Node>,
}

/// The content of an element.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    /// A child element.
    Element(Element),
    /// Text, which is escaped.
    Text(String),
    /// Raw text, for the style sheet and the script, in which HTML decodes no escapes.
    Raw(&'static str),
}

/// The HTML elements without an end tag that the report uses.
const VOID: [&str; 4] = ["meta", "link", "br", "hr"];

impl Element {
    /// Creates an element without attributes and children.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            attributes: Vec::new(),
            children: Vec::new(),
        }
    }

    /// Creates an element with a class.
    pub fn with_class(name: &'static str, class: &str) -> Self {
        Self::new(name).with("class", class)
    }

    /// Adds an attribute.
    pub fn with(mut self, name: &'static str, value: impl Display) -> Self {
        self.attributes.push((name, value.to_string()));
        self
    }

    /// Adds a length or a coordinate, rounded to a tenth of a pixel.
    pub fn at(self, name: &'static str, value: f64) -> Self {
        let rounded = (value * 10.0).round() / 10.0;
        // Turns -0 into 0.
        self.with(name, rounded + 0.0)
    }

    /// Adds text.
    pub fn text(mut self, text: impl Display) -> Self {
        self.children.push(Node::Text(text.to_string()));
        self
    }

    /// Adds raw text, such as a style sheet. It is not escaped.
    pub fn raw(mut self, text: &'static str) -> Self {
        self.children.push(Node::Raw(text));
        self
    }

    /// Adds a child element.
    pub fn child(mut self, child: Element) -> Self {
        self.add(child);
        self
    }

    /// Adds child elements.
    pub fn children(mut self, children: impl IntoIterator<Item = Element>) -> Self {
        self.children
            .extend(children.into_iter().map(Node::Element));
        self
    }

    /// Adds a child element.
    pub fn add(&mut self, child: Element) {
        self.children.push(Node::Element(child));
    }
}

impl Display for Element {
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
                Node::Element(element) => element.fmt(f)?,
                Node::Text(text) => escape(f, text)?,
                Node::Raw(text) => f.write_str(text)?,
            }
        }
        write!(f, "</{}>", self.name)?;
        // Line breaks between blocks make the source readable.
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
            // XML does not allow control characters.
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
    fn hostile_text_is_escaped() {
        let name = "</title><script>alert(\"1\" & '2')\u{1}";
        let element = Element::new("g")
            .with("aria-label", name)
            .child(Element::new("title").text(name));
        let out = element.to_string();
        assert_eq!(out.matches('<').count(), 4, "{out}");
        let escaped = "&lt;/title&gt;&lt;script&gt;alert(&quot;1&quot; &amp; &#39;2&#39;)\u{fffd}";
        assert_eq!(out.matches(escaped).count(), 2, "{out}");
    }

    #[test]
    fn coordinates_are_short_and_zero_has_no_sign() {
        let element = Element::new("line")
            .at("x1", 1.26)
            .at("x2", -0.01)
            .at("y1", 12.0);
        assert_eq!(
            element.to_string(),
            "<line x1=\"1.3\" x2=\"0\" y1=\"12\"></line>"
        );
    }

    #[test]
    fn void_elements_have_no_end_tag() {
        assert_eq!(
            Element::new("meta").with("charset", "utf-8").to_string(),
            "<meta charset=\"utf-8\"/>"
        );
    }
}
