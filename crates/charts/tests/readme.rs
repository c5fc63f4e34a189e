//! Checks the example of the README, which also appears on crates.io.

const README: &str = include_str!("../README.md");
const DOCUMENTATION: &str = include_str!("../src/lib.rs");

/// Returns the lines of the first code block. The prefix begins the lines of a comment.
fn code(text: &str, prefix: &str) -> Vec<String> {
    let lines = text.lines().map(|line| {
        let text = line.strip_prefix(prefix).unwrap_or(line);
        text.strip_prefix(' ')
            .filter(|_| !prefix.is_empty())
            .unwrap_or(text)
    });
    let code = lines.skip_while(|line| !line.starts_with("```")).skip(1);
    code.take_while(|line| *line != "```")
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_example_is_the_tested_example_of_the_documentation() {
    let example = code(README, "");
    assert!(example.len() > 5, "{example:?}");
    assert_eq!(example, code(DOCUMENTATION, "//!"));
}
