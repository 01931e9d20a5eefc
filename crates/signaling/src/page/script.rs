//! The tokens of a script (ECMAScript), as far as they have to be told apart to write them shorter. Pure.

/// What stands before a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Gap {
    None,
    Space,
    /// In a script it may end a statement.
    Line,
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name, a word of the language, a number.
    Word,
    /// A sign: one character, `...`, `=>` or `?.`.
    Sign,
    /// A text, a pattern, or a template without an expression.
    Text,
    /// A template up to its first expression.
    Opens,
    /// A template between two of its expressions.
    Between,
    /// A template after its last expression.
    Closes,
}

/// One token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) gap: Gap,
    pub(super) kind: Kind,
    pub(super) text: String,
}

/// Signs of several characters that have to be known as such.
const LONG_SIGNS: [&str; 3] = ["...", "=>", "?."];
/// After these, and after the words, a slash begins a pattern; after anything else it divides.
const BEFORE_PATTERN: &str = "(,=:[!&|?{};+-*%<>";
const WORDS_BEFORE_PATTERN: [&str; 5] = ["return", "typeof", "case", "in", "of"];
/// After these a line goes on: nothing has ended.
const GOES_ON_AFTER: &str = "{;,([=:?&|!<";
/// No statement begins with these.
const GOES_ON_BEFORE: &str = "}),].?:&|=;";

struct Reader<'a> {
    rest: &'a str,
    tokens: Vec<Token>,
    gap: Gap,
}

/// A script's tokens, without comments.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut it = Reader {
        rest: text,
        tokens: Vec::new(),
        gap: Gap::None,
    };
    // How many braces are open in each template's expression that is.
    let mut templates: Vec<usize> = Vec::new();
    while let Some(next) = it.skip_gap() {
        match next {
            '"' | '\'' => it.take_text(next),
            '`' => it.take_template(&mut templates, false),
            '}' if templates.last() == Some(&0) => {
                templates.pop();
                it.take_template(&mut templates, true);
            }
            '/' if it.begins_pattern() => it.take_pattern(),
            _ if is_word(next) => {
                let length = it.rest.find(|c| !is_word(c)).unwrap_or(it.rest.len());
                it.take(Kind::Word, length);
            }
            _ => {
                match (next, templates.last_mut()) {
                    ('{', Some(open)) => *open += 1,
                    ('}', Some(open)) => *open -= 1,
                    (_, Some(_) | None) => {}
                }
                let long = LONG_SIGNS.into_iter().find(|sign| it.rest.starts_with(sign));
                it.take(Kind::Sign, long.map_or(next.len_utf8(), str::len));
            }
        }
    }
    it.tokens
}

/// The tokens as a script again, with no more between them than has to be.
pub(super) fn written(tokens: &[Token]) -> String {
    let mut out = String::new();
    for Token { gap, text, .. } in tokens {
        let around = out.chars().next_back().zip(text.chars().next());
        let is_needed = around.is_some_and(|(last, next)| match gap {
            Gap::None => false,
            Gap::Line => !GOES_ON_AFTER.contains(last) && !GOES_ON_BEFORE.contains(next),
            Gap::Space => (is_word(last) && is_word(next)) || (last == next && "+-/".contains(next)),
        });
        if is_needed {
            out.push(if *gap == Gap::Line { '\n' } else { ' ' });
        }
        out.push_str(text);
    }
    out.push('\n');
    out
}

impl Reader<'_> {
    /// Passes blanks and comments, and tells what comes then.
    fn skip_gap(&mut self) -> Option<char> {
        loop {
            let next = self.rest.chars().next()?;
            if next.is_whitespace() {
                self.gap = self.gap.max(if next == '\n' { Gap::Line } else { Gap::Space });
                self.rest = &self.rest[next.len_utf8()..];
            } else if self.rest.starts_with("/*") {
                self.gap = self.gap.max(Gap::Space);
                self.rest = self.rest.split_once("*/").map_or("", |(_, after)| after);
            } else if self.rest.starts_with("//") {
                self.rest = self.rest.find('\n').map_or("", |at| &self.rest[at..]);
            } else {
                return Some(next);
            }
        }
    }

    fn take(&mut self, kind: Kind, length: usize) {
        let (text, rest) = self.rest.split_at(length);
        self.rest = rest;
        self.tokens.push(Token {
            gap: std::mem::replace(&mut self.gap, Gap::None),
            kind,
            text: text.to_owned(),
        });
    }

    /// Up to and with the first character behind the first of which `ends` says so; what a backslash stands before is none.
    fn length_until(&self, mut ends: impl FnMut(char) -> bool) -> usize {
        let mut is_escaped = false;
        let end = self.rest.char_indices().skip(1).find_map(|(at, next)| {
            let is_end = !is_escaped && ends(next);
            is_escaped = !is_escaped && next == '\\';
            is_end.then_some(at + next.len_utf8())
        });
        end.unwrap_or(self.rest.len())
    }

    fn take_text(&mut self, quote: char) {
        let length = self.length_until(|next| next == quote);
        self.take(Kind::Text, length);
    }

    /// A template up to its end, or to where an expression begins in it.
    fn take_template(&mut self, templates: &mut Vec<usize>, goes_on: bool) {
        let mut last = ' ';
        let mut is_expression = false;
        let length = self.length_until(|next| {
            is_expression = last == '$' && next == '{';
            last = next;
            next == '`' || is_expression
        });
        if is_expression {
            templates.push(0);
        }
        let kind = match (goes_on, is_expression) {
            (false, false) => Kind::Text,
            (false, true) => Kind::Opens,
            (true, true) => Kind::Between,
            (true, false) => Kind::Closes,
        };
        self.take(kind, length);
    }

    fn begins_pattern(&self) -> bool {
        self.tokens.last().is_none_or(|last| match last.kind {
            Kind::Word => WORDS_BEFORE_PATTERN.contains(&last.text.as_str()),
            Kind::Sign => BEFORE_PATTERN.contains(&last.text[last.text.len() - 1..]),
            Kind::Opens | Kind::Between => true,
            Kind::Text | Kind::Closes => false,
        })
    }

    fn take_pattern(&mut self) {
        let mut is_class = false;
        let length = self.length_until(|next| {
            match next {
                '[' => is_class = true,
                ']' => is_class = false,
                _ => {}
            }
            next == '/' && !is_class
        });
        let flags = self.rest[length..].find(|c| !is_word(c)).unwrap_or(0);
        self.take(Kind::Text, length + flags);
    }
}

/// Whether a name or a number may have it.
pub(super) fn is_word(character: char) -> bool {
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
            assert_eq!(written(&tokens(source)), sent);
        }
    }
}
