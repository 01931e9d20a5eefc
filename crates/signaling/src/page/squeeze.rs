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
        gap = false;
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

/// A page: without what stands on lines of its own for readers.
pub(super) fn page(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn style_sheet_keeps_what_separates() {
        let source = "/* Big. */\n.a .b > .c:hover,\n.d::after {\n  margin: 0 1px;\n  content: \" ;  }\";\n  width: calc(1px + 2em);\n}\n@media (min-width: 9px) and (hover) { p { color: red } }\n";
        let sent = ".a .b>.c:hover,.d::after{margin:0 1px;content:\" ;  }\";width:calc(1px + 2em)}@media (min-width:9px) and (hover){p{color:red}}\n";
        assert_eq!(style(source), sent);
    }
}
