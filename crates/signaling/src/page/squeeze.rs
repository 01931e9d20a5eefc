//! Files of the page as they are sent: what is there for whoever reads the source stays here.
//!
//! No parser, but rules about lines that our own files keep (a test holds them to it): a comment has its own line, types stand in
//! `/** @type ... */ `, no text goes over the end of a line, and a name that begins with `_` is a private member.

use std::{collections::BTreeMap, fmt::Write as _};

/// The types of files that are squeezed.
pub(super) const SCRIPT: &str = "text/javascript; charset=utf-8";
pub(super) const STYLE: &str = "text/css; charset=utf-8";

/// What may lose the space beside it in a script; `+` and `-` not where they would meet another.
const TIGHT: &str = "=,;:{}()?&|<>[]!*+-";

/// Words that have a shorter one where nothing is written twice: what never changes never does.
const SHORTER: [(&str, &str); 3] = [("const", "let"), ("true", "!0"), ("false", "!1")];

/// A file as it is sent.
pub(super) fn squeeze(kind: &str, text: &str, names: &Names) -> String {
    let mut sent = String::with_capacity(text.len());
    let mut declares = false;
    for line in lines(text) {
        match kind {
            SCRIPT => declares = script(&line, declares, names, &mut sent),
            STYLE => style(&line, &mut sent),
            _ => markup(&line, &mut sent),
        }
    }
    sent
}

/// The lines without comments, indentation and types.
fn lines(text: &str) -> impl Iterator<Item = String> {
    let mut is_comment = false;
    text.lines().map(str::trim).filter_map(move |line| {
        let ends_at = line.find("*/").map(|at| at + 2);
        let begins = line.starts_with("/*") && ends_at.is_none_or(|at| at == line.len());
        if is_comment || begins {
            is_comment = !line.ends_with("*/");
            return None;
        }
        (!line.is_empty() && !line.starts_with("//")).then(|| without_types(line))
    })
}

fn without_types(line: &str) -> String {
    let (mut kept, mut rest) = (String::new(), line);
    while let Some((before, (_, after))) = rest
        .split_once("/** @")
        .and_then(|(before, after)| Some((before, after.split_once("*/ ")?)))
    {
        kept.push_str(before);
        rest = after;
    }
    kept + rest
}

/// A line of a page: what is quoted for no need is not.
fn markup(line: &str, sent: &mut String) {
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("=\"") {
        let Some((value, behind)) = after.split_once('"') else {
            break;
        };
        let is_plain = !value.is_empty()
            && value
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.,".contains(&byte));
        sent.push_str(before);
        if is_plain && behind.starts_with([' ', '>']) {
            sent.push('=');
            sent.push_str(value);
        } else {
            _ = write!(sent, "=\"{value}\"");
        }
        rest = behind;
    }
    sent.push_str(rest);
    // Between elements there is nothing: what stands beside another is placed by the style.
    if !line.ends_with('>') {
        sent.push('\n');
    }
}

fn style(line: &str, sent: &mut String) {
    if sent.ends_with(|last: char| !",;{}:".contains(last)) {
        sent.push(' ');
    }
    // A word needs no quotes there.
    let unquoted = line.split("=\"").collect::<Vec<_>>().join("=").replace("\"]", "]");
    let line = if line.contains("=\"") { unquoted.as_str() } else { line };
    if line.contains(['"', '\'']) {
        sent.push_str(line);
        return;
    }
    let tight = [": ", ", ", "; "]
        .iter()
        .fold(line.to_owned(), |line, pair| line.replace(pair, &pair[..1]));
    let zeros = [":0.", " 0.", "(0.", "-0.", ",0."].into_iter();
    let tight = zeros.fold(tight, |line, zero| line.replace(zero, &zero.replace('0', "")));
    if tight == "}" && sent.ends_with(';') {
        sent.pop();
    }
    sent.push_str(&tight.replace(" {", "{"));
}

/// A script's line. Where all of it is understood, spaces go, and the end of the line behind what can't end a statement.
/// Returns whether it declares something and is whole; `declares`: so was the line before.
fn script(line: &str, declares: bool, names: &Names, sent: &mut String) -> bool {
    let Some(parts) = parts(line) else {
        names.shorten(line, sent);
        sent.push('\n');
        return false;
    };
    let mut whole = String::with_capacity(line.len());
    for (part, is_code) in &parts {
        if *is_code {
            let part = if whole.ends_with('"') { part.trim_start() } else { part };
            let mut code = String::with_capacity(part.len());
            tighten(&shorter(part), &mut code);
            whole.push_str(&bare(&code));
        } else {
            if part.starts_with('"') && whole.ends_with(' ') {
                whole.pop();
            }
            whole.push_str(part);
        }
    }
    // The last statement of a block needs no mark of its end, nor the last of a list.
    if (whole.starts_with('}') && sent.ends_with(';')) || (whole.starts_with(['}', ']', ')']) && sent.ends_with(',')) {
        sent.pop();
    }
    let declared = whole
        .strip_prefix("let")
        .filter(|rest| rest.starts_with([' ', '{', '[']));
    match declared {
        // What is declared in a row is declared at once.
        Some(rest) if declares => {
            sent.pop();
            sent.push(',');
            names.shorten(rest.trim_start(), sent);
        }
        Some(_) | None => names.shorten(&whole, sent),
    }
    // A line that is nothing else is the end of a block, not of an expression.
    let goes_on = whole.ends_with([';', '{', ',', '(', '[']) || whole == "}";
    if !goes_on || line.starts_with("import ") {
        sent.push('\n');
    }
    declared.is_some() && whole.ends_with(';')
}

/// A line in parts that are code or text; `None`: there may be a comment or a pattern in it, or a text within a text.
fn parts(line: &str) -> Option<Vec<(&str, bool)>> {
    let (mut parts, mut start, mut quote, mut depth) = (Vec::new(), 0, None, 0_usize);
    let mut letters = line.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        match (quote, letter) {
            // A division stands apart.
            (None, '/') if !(line[..at].ends_with(' ') && line[at..].starts_with("/ ")) => return None,
            (None, '"' | '\'' | '`') => {
                parts.push((&line[start..at], true));
                (quote, start) = (Some(letter), at);
            }
            (Some(_), '\\') => _ = letters.next(),
            (Some('`'), '$') if letters.peek().is_some_and(|(_, next)| *next == '{') => depth += 1,
            (Some('`'), '}') => depth = depth.saturating_sub(1),
            (Some(open), letter) if letter == open => {
                if depth > 0 {
                    return None;
                }
                let end = at + 1;
                parts.push((&line[start..end], false));
                (quote, start) = (None, end);
            }
            _ => {}
        }
    }
    parts.push((&line[start..], true));
    quote.is_none().then_some(parts)
}

/// Code with [`SHORTER`] words.
fn shorter(code: &str) -> String {
    let is_of_word = |letter: char| letter.is_ascii_alphanumeric() || "_$.".contains(letter);
    SHORTER.iter().fold(code.to_owned(), |code, (long, short)| {
        let mut parts = code.split(long).peekable();
        let mut made = String::with_capacity(code.len());
        while let Some(part) = parts.next() {
            made.push_str(part);
            if let Some(next) = parts.peek() {
                let is_word =
                    !made.ends_with(is_of_word) && !next.starts_with(|letter| is_of_word(letter) || letter == ':');
                made.push_str(if is_word { short } else { long });
            }
        }
        made
    })
}

/// Code in which a function's one parameter stands without brackets.
fn bare(code: &str) -> String {
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '$';
    let mut made = String::with_capacity(code.len());
    let mut parts = code.split(")=>").peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        let opens = part
            .rfind(|letter| !is_of_name(letter))
            .filter(|at| part[*at..].starts_with('('));
        match opens {
            // `async` would be one word with it.
            Some(at) if !is_last && at + 1 < part.len() && !part[..at].ends_with(is_of_name) => {
                made.push_str(&part[..at]);
                made.push_str(&part[at + 1..]);
                made.push_str("=>");
            }
            Some(_) | None => {
                made.push_str(part);
                if !is_last {
                    made.push_str(")=>");
                }
            }
        }
    }
    made
}

/// Code without the spaces that only readers need.
fn tighten(code: &str, to: &mut String) {
    let is_one_of = |letter: Option<char>, of: &str| letter.is_some_and(|letter| of.contains(letter));
    let mut before = None;
    for (at, letter) in code.char_indices() {
        let after = code[at + letter.len_utf8()..].chars().next();
        let would_meet = is_one_of(before, "+-") && is_one_of(after, "+-");
        let is_needed = would_meet || !(is_one_of(before, TIGHT) || is_one_of(after, TIGHT));
        if letter != ' ' || is_needed {
            to.push(letter);
        }
        before = Some(letter);
    }
}

/// Private members by short names, the same in all files.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<String, String>);

impl Names {
    /// Those in `scripts`.
    pub(super) fn of(scripts: impl Iterator<Item = &'static str>) -> Self {
        let mut names = BTreeMap::new();
        for line in scripts.flat_map(lines) {
            pieces(&line, |_, name| {
                if let Some(name) = name {
                    names.insert(name.to_owned(), String::new());
                }
            });
        }
        for (number, short) in names.values_mut().enumerate() {
            *short = letters(number);
        }
        Self(names)
    }

    fn shorten(&self, line: &str, to: &mut String) {
        pieces(line, |before, name| {
            to.push_str(before);
            if let Some(name) = name {
                to.push_str(self.0.get(name).map_or(name, String::as_str));
            }
        });
    }
}

/// A line in pieces: what stands before a private name, and the name; the last has none.
fn pieces<'a>(line: &'a str, mut take: impl FnMut(&'a str, Option<&'a str>)) {
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '$';
    let (mut start, mut look) = (0, 0);
    while let Some(at) = line[look..].find('_').map(|at| look + at) {
        let length = line[at..].find(|letter| !is_of_name(letter)).unwrap_or(line.len() - at);
        look = at + length;
        if length > 1 && !line[..at].ends_with(is_of_name) {
            take(&line[start..at], Some(&line[at..look]));
            start = look;
        }
    }
    take(&line[start..], None);
}

/// `_a` to `_z`, `_aa`, and so on.
fn letters(number: usize) -> String {
    let letter = |number: usize| char::from(b"abcdefghijklmnopqrstuvwxyz"[number % 26]);
    let first = (number / 26).checked_sub(1).map(letter);
    let both = ['_'].into_iter().chain(first).chain([letter(number)]);
    both.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_readers_of_the_source_is_not_sent() {
        let source = "/* Two\n * lines. */\n// One.\n/** @type {A} */\nconst a = /** @type {A} */ (b); // kept\n\n/** @type {C} */ (c).d();\n  f(\"https://x\");\n";
        assert_eq!(
            squeeze(SCRIPT, source, &Names::default()),
            "const a = (b); // kept\n(c).d();f(\"https://x\");"
        );
        let style = "/* Why. */\n.a > b,\na :hover {\n  margin:\n    0 0.5px\n    10.5px;\n}\n";
        assert_eq!(
            squeeze(STYLE, style, &Names::default()),
            ".a > b,a :hover{margin:0 .5px 10.5px}"
        );
        let style = ".a[data-b=\"c-d\"] .e,\n.f::after {\n  content: \"g, h\";\n}\n";
        assert_eq!(
            squeeze(STYLE, style, &Names::default()),
            ".a[data-b=c-d] .e,.f::after{content: \"g, h\"}"
        );
        let page = "<p>\n  <a class=\"b\" d=\"e f\" g=\"\" h=\"i\"/>j=\"k\"\n";
        assert_eq!(
            squeeze("text/html", page, &Names::default()),
            "<p><a class=b d=\"e f\" g=\"\" h=\"i\"/>j=\"k\"\n"
        );
    }

    #[test]
    fn spaces_go_where_they_mean_nothing() {
        for (line, sent) in [
            ("const { a, b } = c ? [d] : e;", "let{a,b}=c?[d]:e;"),
            (
                "if (a === true || b.true) {\n  f();\n}\nconsts();",
                "if(a===!0||b.true){f()}consts();",
            ),
            (
                "f((a) => b, async (c) => d, (e, f) => g, () => h);",
                "f(a=>b,async(c)=>d,(e,f)=>g,()=>h);",
            ),
            (
                "const a = 1;\nlet b;\nconst { c } = d;\nlets();",
                "let a=1,b,{c}=d;lets();",
            ),
            ("f({\n  a,\n});", "f({a});"),
            ("import { a } from \"./a.js\";", "import{a}from\"./a.js\";\n"),
            ("case \"a\": return \"b\" in c;", "case\"a\":return\"b\"in c;"),
            ("return { a: \"b : c\", d };", "return{a:\"b : c\",d};"),
            ("x = a - -b + ++c;", "x=a- -b+ ++c;"),
            ("f(`a ${b ? c : d} : e`)", "f(`a ${b ? c : d} : e`)\n"),
            ("a = b / c;", "a=b / c;"),
            ("t(/ : /)", "t(/ : /)\n"),
            ("n(`a ${b ? `c : d` : e}`);", "n(`a ${b ? `c : d` : e}`);\n"),
            ("for (const x of y) {", "for(let x of y){"),
        ] {
            assert_eq!(squeeze(SCRIPT, line, &Names::default()), sent);
        }
    }

    #[test]
    fn private_names_are_short_and_none_is_anothers() {
        let names = Names::of(["a._one(this._one, b_two, `${c._three}`);\n_p"].into_iter());
        let source = "a._one(this._one, b_two, `${c._three}`, d._four);";
        assert_eq!(
            squeeze(SCRIPT, source, &names),
            "a._a(this._a,b_two,`${c._c}`,d._four);"
        );
        assert_eq!([0, 25, 26, 51, 52].map(letters), ["_a", "_z", "_aa", "_az", "_ba"]);
    }
}
