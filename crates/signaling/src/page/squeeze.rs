//! What stands in a page's style sheet and pages for whoever reads the source, and not for browsers, stays here: comments,
//! indentation, and blanks that tell nothing apart. Pure.

/// A style sheet that means the same.
pub(super) fn style(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut gap) = (text, false);
    while let Some(next) = rest.chars().next() {
        if next.is_whitespace() {
            (gap, rest) = (true, &rest[next.len_utf8()..]);
            continue;
        }
        if rest.starts_with("/*") {
            (gap, rest) = (true, rest.split_once("*/").map_or("", |(_, after)| after));
            continue;
        }
        let last = out.chars().next_back();
        if gap && last.is_some_and(|last| !"{};,:>".contains(last)) && !"{};,>".contains(next) {
            out.push(' ');
        }
        // Half is .5, where no number goes on.
        let is_leading_zero = next == '0' && rest.as_bytes().get(1) == Some(&b'.');
        let goes_on = !gap && last.is_some_and(|last| last.is_alphanumeric() || "._-#".contains(last));
        gap = false;
        if is_leading_zero && !goes_on {
            rest = &rest[1..];
            continue;
        }
        // The last declaration needs no end.
        if next == '}' && out.ends_with(';') {
            out.pop();
        }
        let length = match next {
            '"' | '\'' => text_length(rest, next),
            _ => next.len_utf8(),
        };
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    out.push('\n');
    out
}

/// How long the text is that begins here, quotes included.
fn text_length(rest: &str, quote: char) -> usize {
    let mut is_escaped = false;
    let end = rest.char_indices().skip(1).find(|(_, next)| {
        let is_end = !is_escaped && *next == quote;
        is_escaped = !is_escaped && *next == '\\';
        is_end
    });
    end.map_or(rest.len(), |(at, _)| at + quote.len_utf8())
}

/// A page: without what stands on lines of its own for readers, and without quotes where an attribute's value needs none.
pub(super) fn page(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.flat_map(|line| [unquoted(line), "\n".to_owned()]).collect()
}

/// A line of HTML, whose attributes are quoted.
fn unquoted(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("=\"") {
        let Some((value, next)) = after.split_once('"') else {
            break;
        };
        // A slash that follows would be taken for a part of it.
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.:#?".contains(letter);
        let needs_none = !value.is_empty() && value.chars().all(is_plain) && next.starts_with([' ', '>']);
        let quote = if needs_none { "" } else { "\"" };
        out.extend([before, "=", quote, value, quote]);
        rest = next;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn style_sheet_keeps_what_separates() {
        let source = "/* Big. */\n.a .b > .c:hover,\n.d::after {\n  margin: 0 1px;\n  content: \" ;  }\";\n  width: calc(1px + 2em);\n}\n@media (min-width: 9px) and (hover) { p { color: red } }\n";
        let sent = ".a .b>.c:hover,.d::after{margin:0 1px;content:\" ;  }\";width:calc(1px + 2em)}@media (min-width:9px) and (hover){p{color:red}}\n";
        assert_eq!(style(source), sent);
        assert_eq!(
            style("a{margin:0.5em -0.5em 10.5em;flex:0 0.2 0}"),
            "a{margin:.5em -0.5em 10.5em;flex:0 .2 0}\n"
        );
    }

    #[test]
    fn page_keeps_the_quotes_that_it_needs() {
        let source = "  <a id=\"leave\" class=\"button words\" href=\"../?list\" alt=\"\" hidden>\"x=\"</a>\n\n  <circle r=\"3.2\"/>\n";
        let sent =
            "<a id=leave class=\"button words\" href=\"../?list\" alt=\"\" hidden>\"x=\"</a>\n<circle r=\"3.2\"/>\n";
        assert_eq!(page(source), sent);
    }
}
