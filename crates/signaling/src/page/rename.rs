//! Gives names in a script shorter ones that mean the same: to what is local to a file, and to private members (`_name`) the same in
//! all files. Pure.
//!
//! It knows no scopes. A local name is renamed wherever it stands in its file for a variable, all of its variables alike, to one that
//! stands nowhere else in it, so that no two meet that did not before. What a file shares with others, what the language or the
//! browser calls so, and what stands behind a dot or before a colon keeps its name.

use std::collections::{BTreeMap, BTreeSet};

use super::script::{Kind, Token};

/// Words that are no names.
const LANGUAGE: [&str; 44] = [
    "break",
    "case",
    "catch",
    "class",
    "const",
    "continue",
    "default",
    "delete",
    "do",
    "else",
    "export",
    "extends",
    "finally",
    "for",
    "function",
    "if",
    "import",
    "in",
    "instanceof",
    "new",
    "return",
    "super",
    "switch",
    "this",
    "throw",
    "try",
    "typeof",
    "var",
    "void",
    "while",
    "yield",
    "let",
    "static",
    "async",
    "await",
    "of",
    "get",
    "set",
    "from",
    "as",
    "null",
    "undefined",
    "constructor",
    "arguments",
];

/// Names that a browser gives to everybody and that a file may also give to something of its own.
const BROWSER: [&str; 31] = [
    "name",
    "status",
    "event",
    "location",
    "history",
    "document",
    "performance",
    "screen",
    "top",
    "parent",
    "self",
    "origin",
    "length",
    "close",
    "open",
    "stop",
    "focus",
    "blur",
    "print",
    "find",
    "fetch",
    "crypto",
    "navigator",
    "window",
    "frames",
    "closed",
    "caches",
    "external",
    "confirm",
    "alert",
    "scroll",
];

/// What the language has shorter words for.
const SHORTER: [(&str, &str); 3] = [("const", "let"), ("true", "!0"), ("false", "!1")];

/// What private members are called where they are sent.
#[derive(Debug, Default)]
pub(super) struct Members(BTreeMap<String, String>);

impl Members {
    /// Those of all scripts that belong together.
    pub(super) fn of<'a>(scripts: impl Iterator<Item = &'a [Token]>) -> Self {
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        for token in scripts.flatten().filter(|token| token.kind == Kind::Word) {
            *times.entry(&token.text).or_default() += 1;
        }
        let short = short_names().map(|name| format!("_{name}"));
        let mut short = short.filter(|name| !times.contains_key(name.as_str()));
        let mut members: Vec<(&str, usize)> = times
            .iter()
            .filter(|(name, _)| name.starts_with('_') && name.len() > 2)
            .map(|(name, times)| (*name, *times))
            .collect();
        members.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
        let named = members
            .into_iter()
            .map_while(|(name, _)| Some((name.to_owned(), short.next()?)));
        Self(named.collect())
    }
}

/// Renames what can be.
pub(super) fn rename(tokens: &mut [Token], members: &Members) {
    let renamed = Script::of(tokens).shorter(members);
    for (at, text) in renamed {
        tokens[at].text = text;
    }
}

/// A script whose brackets are paired.
struct Script<'a> {
    tokens: &'a [Token],
    /// Of each token that opens something, where that is closed; of one that closes something, where it was opened.
    closed_at: BTreeMap<usize, usize>,
    opened_at: BTreeMap<usize, usize>,
    /// Whether the innermost bracket around each token is a brace.
    is_in_brace: Vec<bool>,
}

impl<'a> Script<'a> {
    fn of(tokens: &'a [Token]) -> Self {
        let (mut closed_at, mut opened_at) = (BTreeMap::new(), BTreeMap::new());
        let mut open: Vec<usize> = Vec::new();
        let mut is_in_brace = Vec::with_capacity(tokens.len());
        for (at, token) in tokens.iter().enumerate() {
            is_in_brace.push(open.last().is_some_and(|open| tokens[*open].text == "{"));
            let is_sign = |signs: &[&str]| token.kind == Kind::Sign && signs.contains(&token.text.as_str());
            let closes = is_sign(&[")", "]", "}"]) || matches!(token.kind, Kind::Between | Kind::Closes);
            if let Some(before) = open.pop_if(|_| closes) {
                closed_at.insert(before, at);
                opened_at.insert(at, before);
            }
            if is_sign(&["(", "[", "{"]) || matches!(token.kind, Kind::Opens | Kind::Between) {
                open.push(at);
            }
        }
        Self {
            tokens,
            closed_at,
            opened_at,
            is_in_brace,
        }
    }

    /// A token's text; empty where there is none, or where it is a text of the script's own.
    fn text(&self, at: usize) -> &'a str {
        let token = self.tokens.get(at);
        let token = token.filter(|token| matches!(token.kind, Kind::Word | Kind::Sign));
        token.map_or("", |token| token.text.as_str())
    }

    fn before(&self, at: usize) -> &'a str {
        at.checked_sub(1).map_or("", |before| self.text(before))
    }

    fn is_name(&self, at: usize) -> bool {
        let is_word = self.tokens.get(at).is_some_and(|token| token.kind == Kind::Word);
        let begins = self.text(at).chars().next();
        is_word && !LANGUAGE.contains(&self.text(at)) && begins.is_some_and(|letter| !letter.is_ascii_digit())
    }

    /// Which tokens become what.
    fn shorter(&self, members: &Members) -> Vec<(usize, String)> {
        let mut renamed = Vec::new();
        for at in 0..self.tokens.len() {
            let text = self.text(at);
            let is_property =
                matches!(self.before(at), "." | "?.") || (self.text(at + 1) == ":" && self.is_in_brace[at]);
            let shorter = SHORTER.iter().find(|(long, _)| *long == text && !is_property);
            let shorter = shorter
                .map(|(_, short)| *short)
                .or(members.0.get(text).map(String::as_str));
            renamed.extend(shorter.map(|short| (at, short.to_owned())));
        }
        let mut stands: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let local = self.local_names();
        for at in (0..self.tokens.len()).filter(|at| local.contains(self.text(*at)) && self.is_variable(*at)) {
            stands.entry(self.text(at)).or_default().push(at);
        }
        let used: BTreeSet<&str> = (0..self.tokens.len()).map(|at| self.text(at)).collect();
        let mut short =
            short_names().filter(|name| !used.contains(name.as_str()) && !LANGUAGE.contains(&name.as_str()));
        let mut names: Vec<(&str, Vec<usize>)> = stands.into_iter().collect();
        names.sort_by_key(|(name, places)| std::cmp::Reverse(name.len() * places.len()));
        for (name, places) in names {
            let Some(short) = short.next() else { break };
            renamed.extend(places.into_iter().map(|at| {
                let text = if self.is_shorthand(at) {
                    format!("{name}:{short}")
                } else {
                    short.clone()
                };
                (at, text)
            }));
        }
        renamed
    }

    /// Whether a name stands for a variable here, and not for a member.
    fn is_variable(&self, at: usize) -> bool {
        let (before, after) = (self.before(at), self.text(at + 1));
        let is_key = after == ":" && self.is_in_brace[at] && matches!(before, "{" | ",");
        let is_method = after == "(" && before != "function" && self.opens_body(at + 1);
        !matches!(before, "." | "?.") && !is_key && !is_method
    }

    /// `{name}` and the like: short for `{name: name}`.
    fn is_shorthand(&self, at: usize) -> bool {
        let is_default = self.text(at + 1) == "=" && self.text(at + 2) != "=";
        let ends = matches!(self.text(at + 1), "}" | ",") || is_default;
        self.is_in_brace[at] && matches!(self.before(at), "{" | ",") && ends
    }

    /// Whether the parenthesis at `at` has parameters, for what it is followed by.
    fn opens_body(&self, at: usize) -> bool {
        self.closed_at.get(&at).is_some_and(|end| self.text(end + 1) == "{")
    }

    /// The names that are declared in this file and are of no concern to others.
    fn local_names(&self) -> BTreeSet<&'a str> {
        let mut local = BTreeSet::new();
        for at in 0..self.tokens.len() {
            match self.text(at) {
                "let" | "const" | "function" => self.declared(at, &mut local),
                "=>" if self.before(at) == ")" => {
                    let end = at - 1;
                    let begin = self.opened_at.get(&end).copied();
                    begin.into_iter().for_each(|begin| self.bound(begin, end, &mut local));
                }
                "=>" => local.extend(at.checked_sub(1).map(|name| self.text(name))),
                "(" if self.opens_body(at) && !matches!(self.before(at), "if" | "for" | "while" | "switch") => {
                    self.bound(at, self.closed_at[&at], &mut local);
                }
                _ => {}
            }
        }
        let shared = self.shared_names();
        local.retain(|name| {
            name.len() > 2 && !shared.contains(name) && !BROWSER.contains(name) && !LANGUAGE.contains(name)
        });
        local
    }

    /// What a declaration that begins at `at` declares.
    fn declared(&self, at: usize, local: &mut BTreeSet<&'a str>) {
        let mut next = at + 1;
        loop {
            match self.closed_at.get(&next) {
                Some(end) => self.bound(next, *end, local),
                None if self.is_name(next) => _ = local.insert(self.text(next)),
                None => {}
            }
            // On to the next of `let a = 1, b = 2`.
            loop {
                next = self
                    .closed_at
                    .get(&next)
                    .map_or(next + 1, |end| end + usize::from(!self.opens_too(*end)));
                match self.text(next) {
                    "," if self.is_name(next + 1) && matches!(self.text(next + 2), "=" | "," | ";") => break,
                    ";" | ")" | "]" | "}" => return,
                    _ if next >= self.tokens.len() => return,
                    _ => {}
                }
            }
            next += 1;
        }
    }

    fn opens_too(&self, at: usize) -> bool {
        self.tokens.get(at).is_some_and(|token| token.kind == Kind::Between)
    }

    /// What is bound between two brackets: parameters, or the names of a pattern.
    fn bound(&self, begin: usize, end: usize, local: &mut BTreeSet<&'a str>) {
        for at in begin + 1..end {
            let begins = matches!(self.before(at), "(" | "," | "..." | "[" | "{" | ":");
            if begins && self.is_name(at) && matches!(self.text(at + 1), "," | ")" | "=" | "]" | "}") {
                local.insert(self.text(at));
            }
        }
    }

    /// What the file has from others, and what it gives them.
    fn shared_names(&self) -> BTreeSet<&'a str> {
        let mut shared = BTreeSet::new();
        for at in 0..self.tokens.len() {
            if !matches!(self.text(at), "import" | "export") {
                continue;
            }
            let words = ["async", "function", "class", "const", "let"];
            let first = (at + 1..self.tokens.len()).find(|next| !words.contains(&self.text(*next)));
            let first = first.unwrap_or(at);
            let end = self.closed_at.get(&first).copied().filter(|_| self.text(first) == "{");
            shared.extend((first..=end.unwrap_or(first)).map(|at| self.text(at)));
        }
        shared
    }
}

/// `a`, `b` and so on, then with two letters.
fn short_names() -> impl Iterator<Item = String> {
    let one = ('a'..='z').chain('A'..='Z').map(String::from);
    let two = ('a'..='z').flat_map(|first| {
        ('a'..='z')
            .chain('0'..='9')
            .map(move |second| format!("{first}{second}"))
    });
    one.chain(two)
}

#[cfg(test)]
mod tests {
    use super::{
        super::script::{tokens, written},
        *,
    };

    fn renamed(source: &str) -> String {
        let mut script = tokens(source);
        let members = Members::of(std::iter::once(script.as_slice()));
        rename(&mut script, &members);
        written(&script)
    }

    #[test]
    fn local_names_are_short_and_all_others_are_kept() {
        for (source, sent) in [
            ("const first = 1, second = first;", "let a=1,b=a;\n"),
            (
                "function twice(value) { return value.value + value; }",
                "function b(a){return a.value+a;}\n",
            ),
            (
                "const {state, reason: why = 1} = told({state, why});",
                "let{state:a,reason:b=1}=told({state:a,why:b});\n",
            ),
            (
                "list.map((entry, {inner}) => entry ? inner : entry);",
                "list.map((a,{inner:b})=>a?b:a);\n",
            ),
            (
                "class Box { fill(what) { this.what = what; fill(what); } }",
                "class Box{fill(a){this.what=a;fill(a);}}\n",
            ),
            (
                "export const shared = 1; import {other} from \"x\"; let own = shared + other;",
                "export let shared=1;import{other}from\"x\";let a=shared+other;\n",
            ),
            (
                "const text = `${first(text)} text ${text}`;",
                "let a=`${first(a)} text ${a}`;\n",
            ),
            (
                "let name = 1; for (const event of name) event.name();",
                "let name=1;for(let event of name)event.name();\n",
            ),
            ("const a = 1, text = a;", "let a=1,b=a;\n"),
            (
                "const map = {true: false, key: true}; f(...map);",
                "let a={true:!1,key:!0};f(...a);\n",
            ),
            (
                "this._open = other._open + this._shut; const _x = 1;",
                "this._a=other._a+this._b;let _x=1;\n",
            ),
        ] {
            assert_eq!(renamed(source), sent);
        }
    }
}
