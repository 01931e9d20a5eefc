//! What stands in a page's files for whoever reads the source, and not for browsers, stays here: comments, indentation, and the
//! spaces that tell no two words apart. Names stay as they are. Pure.

/// What stands between two tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    None,
    Space,
    /// In a script it may end a statement.
    Line,
}

/// Reads a text token by token.
struct Squeezer<'a> {
    rest: &'a str,
    out: String,
    gap: Gap,
}

/// After these a line of a script goes on: nothing has ended.
const GOES_ON_AFTER: &str = "{;,([=:?&|!<";
/// No statement begins with these.
const GOES_ON_BEFORE: &str = "}),].?:&|=;";
/// After these, and after the words, a slash begins a pattern; after anything else it divides.
const BEFORE_PATTERN: &str = "(,=:[!&|?{};+-*%<>";
const WORDS_BEFORE_PATTERN: [&str; 5] = ["return", "typeof", "case", "in", "of"];

/// A script (ECMAScript) that means the same.
pub(super) fn script(text: &str) -> String {
    let mut it = Squeezer::of(text);
    // How many braces are open in each template's expression that is.
    let mut templates: Vec<usize> = Vec::new();
    while let Some(next) = it.skip_gap(true) {
        it.close_gap(next, |gap, last, next| match gap {
            Gap::None => false,
            Gap::Line => !GOES_ON_AFTER.contains(last) && !GOES_ON_BEFORE.contains(next),
            Gap::Space => (is_word(last) && is_word(next)) || (last == next && "+-/".contains(next)),
        });
        match next {
            '"' | '\'' => it.copy_text(next),
            '`' => {
                it.copy(1);
                it.copy_template(&mut templates);
            }
            '/' if it.begins_pattern() => it.copy_pattern(),
            '{' | '}' if !templates.is_empty() => {
                it.copy(1);
                match (next, templates.last_mut()) {
                    ('}', Some(0)) => {
                        templates.pop();
                        it.copy_template(&mut templates);
                    }
                    ('}', Some(open)) => *open -= 1,
                    (_, Some(open)) => *open += 1,
                    (_, None) => {}
                }
            }
            _ => it.copy(next.len_utf8()),
        }
    }
    it.end()
}

/// A style sheet that means the same.
pub(super) fn style(text: &str) -> String {
    let mut it = Squeezer::of(text);
    while let Some(next) = it.skip_gap(false) {
        it.close_gap(next, |gap, last, next| {
            gap != Gap::None && !"{};,:>".contains(last) && !"{};,>".contains(next)
        });
        match next {
            '"' | '\'' => it.copy_text(next),
            '}' => {
                // The last declaration needs no end.
                if it.out.ends_with(';') {
                    it.out.pop();
                }
                it.copy(1);
            }
            _ => it.copy(next.len_utf8()),
        }
    }
    it.end()
}

/// A page: without what stands on lines of its own for readers.
pub(super) fn page(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.flat_map(|line| [line, "\n"]).collect()
}

impl<'a> Squeezer<'a> {
    fn of(text: &'a str) -> Self {
        Self {
            rest: text,
            out: String::with_capacity(text.len()),
            gap: Gap::None,
        }
    }

    fn end(mut self) -> String {
        self.out.push('\n');
        self.out
    }

    /// Passes blanks and comments, and tells what comes then.
    fn skip_gap(&mut self, has_line_comments: bool) -> Option<char> {
        loop {
            let next = self.rest.chars().next()?;
            if next.is_whitespace() {
                self.gap = self.gap.max(if next == '\n' { Gap::Line } else { Gap::Space });
                self.rest = &self.rest[next.len_utf8()..];
            } else if self.rest.starts_with("/*") {
                self.gap = self.gap.max(Gap::Space);
                self.rest = self.rest.split_once("*/").map_or("", |(_, after)| after);
            } else if has_line_comments && self.rest.starts_with("//") {
                self.rest = self.rest.find('\n').map_or("", |at| &self.rest[at..]);
            } else {
                return Some(next);
            }
        }
    }

    /// Writes of a gap what is needed of it.
    fn close_gap(&mut self, next: char, is_needed: impl Fn(Gap, char, char) -> bool) {
        let gap = std::mem::replace(&mut self.gap, Gap::None);
        if self
            .out
            .chars()
            .next_back()
            .is_some_and(|last| is_needed(gap, last, next))
        {
            self.out.push(if gap == Gap::Line { '\n' } else { ' ' });
        }
    }

    fn copy(&mut self, bytes: usize) {
        let (copied, rest) = self.rest.split_at(bytes);
        self.out.push_str(copied);
        self.rest = rest;
    }

    /// Copies up to and with the first character of which `ends` says so; what a backslash stands before is none.
    fn copy_until(&mut self, mut ends: impl FnMut(char) -> bool) {
        let mut is_escaped = false;
        let end = self.rest.char_indices().find_map(|(at, next)| {
            let is_end = !is_escaped && ends(next);
            is_escaped = !is_escaped && next == '\\';
            is_end.then_some(at + next.len_utf8())
        });
        self.copy(end.unwrap_or(self.rest.len()));
    }

    fn copy_text(&mut self, quote: char) {
        self.copy(1);
        self.copy_until(|next| next == quote);
    }

    /// Copies a template up to its end, or to where an expression begins in it.
    fn copy_template(&mut self, templates: &mut Vec<usize>) {
        let mut last = ' ';
        let mut is_expression = false;
        self.copy_until(|next| {
            is_expression = last == '$' && next == '{';
            last = next;
            next == '`' || is_expression
        });
        if is_expression {
            templates.push(0);
        }
    }

    fn begins_pattern(&self) -> bool {
        let word: String = self.out.chars().rev().take_while(|c| is_word(*c)).collect();
        let word: String = word.chars().rev().collect();
        match self.out.chars().next_back() {
            None => true,
            Some(_) if !word.is_empty() => WORDS_BEFORE_PATTERN.contains(&word.as_str()),
            Some(last) => BEFORE_PATTERN.contains(last),
        }
    }

    fn copy_pattern(&mut self) {
        self.copy(1);
        let mut is_class = false;
        self.copy_until(|next| {
            match next {
                '[' => is_class = true,
                ']' => is_class = false,
                _ => {}
            }
            next == '/' && !is_class
        });
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_' || character == '$'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_readers_of_a_script_goes_and_what_it_says_stays() {
        for (source, sent) in [
            (
                "/* Two\n * lines. */\n// One.\nconst a = /** @type {A} */ (b); // said\n",
                "const a=(b);\n",
            ),
            (
                "f(\"https://x  y\", 'a // b', `c  ${ d + `e  ${ {} }` } // f`);",
                "f(\"https://x  y\",'a // b',`c  ${d+`e  ${{}}`} // f`);\n",
            ),
            (
                "if (x) {\n  return /a \\/ [/ ] b/g.test(y);\n}\nz",
                "if(x){return/a \\/ [/ ] b/g.test(y);}\nz\n",
            ),
            ("a = b / c / d\ne = f + +g\nreturn\nh", "a=b/c/d\ne=f+ +g\nreturn\nh\n"),
            ("a\n  .b(c)\n  ? d\n  : e", "a.b(c)?d:e\n"),
            ("const {a, b} = c\n(d)", "const{a,b}=c\n(d)\n"),
            ("x = `\\`  \\${  `  ;", "x=`\\`  \\${  `;\n"),
            ("i++\nj", "i++\nj\n"),
        ] {
            assert_eq!(script(source), sent);
        }
    }

    #[test]
    fn style_sheet_keeps_what_separates() {
        let source = "/* Big. */\n.a .b > .c:hover,\n.d::after {\n  margin: 0 1px;\n  content: \" ;  }\";\n  width: calc(1px + 2em);\n}\n@media (min-width: 9px) and (hover) { p { color: red } }\n";
        let sent = ".a .b>.c:hover,.d::after{margin:0 1px;content:\" ;  }\";width:calc(1px + 2em)}@media (min-width:9px) and (hover){p{color:red}}\n";
        assert_eq!(style(source), sent);
    }
}
