//! Circles between the modules of a crate, found by reading its text.
//!
//! A module stands for its whole folder, and is compared with its siblings only: that a parent and its child know each
//! other is how a folder works. Tests do not count. What is read is each path that begins with `crate::` or `super::`;
//! one that names what a module passes on (`pub use`) leads to where that is defined.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

/// The names from a crate's root to a module.
type ModulePath = Vec<String>;

/// Modules that can be walked in a circle.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Circle {
    package: String,
    parent: ModulePath,
    members: Vec<String>,
}

/// What was read of one module.
#[derive(Debug, Default)]
struct Module {
    /// What it uses of its own crate, from the root.
    uses: Vec<ModulePath>,
    /// Names that it has from elsewhere in its crate, and where they come from.
    imports: BTreeMap<String, ModulePath>,
}

/// The modules of one crate.
#[derive(Debug, Default)]
struct Modules(BTreeMap<ModulePath, Module>);

/// The circles among the modules of each crate below `crates`, one sentence each.
pub(super) fn circles(crates: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(crates)? {
        let package = entry?.path();
        let mut modules = Modules::default();
        if package.join("src").is_dir() {
            modules.read(&package.join("src"), &ModulePath::new())?;
        }
        let name = package.file_name().unwrap_or_default().to_string_lossy();
        found.extend(modules.circles(&name));
    }
    found.sort();
    Ok(found.iter().map(Circle::sentence).collect())
}

impl Circle {
    fn sentence(&self) -> String {
        let parent = self.parent.iter().map(|name| format!("{name}::")).collect::<String>();
        format!(
            "{}: {parent}{{{}}} use each other in a circle",
            self.package,
            self.members.join(", ")
        )
    }
}

impl Modules {
    /// Reads the modules in `folder`, which is that of the module `at`.
    fn read(&mut self, folder: &Path, at: &ModulePath) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let is_own = ["lib", "main", "mod"].contains(&name.as_str());
            // Binaries of their own, and tests.
            if ["bin", "tests"].contains(&name.as_str()) {
                continue;
            }
            let module = if is_own { at.clone() } else { child(at, &name) };
            if path.is_dir() {
                self.read(&path, &module)?;
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                self.add(module, &fs::read_to_string(&path)?);
            }
        }
        Ok(())
    }

    fn add(&mut self, module: ModulePath, text: &str) {
        let code = without_tests(&without_text(text));
        let read = self.0.entry(module.clone()).or_default();
        for (path, name) in paths(&code) {
            let Some(path) = absolute(&path, &module) else {
                continue;
            };
            if let Some(name) = name {
                read.imports.insert(name, path.clone());
            }
            read.uses.push(path);
        }
    }

    /// The module that a path from the root leads to.
    fn resolve(&self, path: &[String]) -> ModulePath {
        let mut path = path.to_vec();
        // As often as a name is passed on, and not for ever.
        for _ in 0..8 {
            let len = (0..=path.len()).rev().find(|len| self.0.contains_key(&path[..*len]));
            let (module, rest) = path.split_at(len.unwrap_or(0));
            let imports = self.0.get(module).map(|module| &module.imports);
            match rest.first().and_then(|name| imports?.get(name)) {
                Some(from) => path = from.iter().chain(&rest[1..]).cloned().collect(),
                None => return module.to_vec(),
            }
        }
        path
    }

    /// For each module with children: which child uses which.
    fn arrows(&self) -> BTreeMap<ModulePath, BTreeMap<&str, BTreeSet<String>>> {
        let mut arrows = BTreeMap::<ModulePath, BTreeMap<&str, BTreeSet<String>>>::new();
        for (from, module) in &self.0 {
            for to in module.uses.iter().map(|path| self.resolve(path)) {
                let common = from.iter().zip(&to).take_while(|(one, other)| one == other).count();
                if let (Some(one), Some(other)) = (from.get(common), to.get(common)) {
                    let siblings = arrows.entry(from[..common].to_vec()).or_default();
                    siblings.entry(one).or_default().insert(other.clone());
                }
            }
        }
        arrows
    }

    /// Each group of siblings that can be walked in a circle.
    fn circles(&self, package: &str) -> BTreeSet<Circle> {
        let mut found = BTreeSet::new();
        for (parent, siblings) in self.arrows() {
            let reached = |from: &str| {
                let mut seen = BTreeSet::new();
                let mut next = vec![from];
                while let Some(module) = next.pop() {
                    for to in siblings.get(module).into_iter().flatten() {
                        if seen.insert(to.as_str()) {
                            next.push(to);
                        }
                    }
                }
                seen
            };
            for from in siblings.keys() {
                let members: Vec<String> = reached(from)
                    .into_iter()
                    .filter(|to| reached(to).contains(from))
                    .map(str::to_owned)
                    .collect();
                if !members.is_empty() {
                    let (package, parent) = (package.to_owned(), parent.clone());
                    found.insert(Circle {
                        package,
                        parent,
                        members,
                    });
                }
            }
        }
        found
    }
}

fn child(parent: &ModulePath, name: &str) -> ModulePath {
    let mut path = parent.clone();
    path.push(name.to_owned());
    path
}

/// A path as it is written in `module`, from the crate's root; `None` if it leads out of the crate.
fn absolute(path: &[String], module: &ModulePath) -> Option<ModulePath> {
    let supers = path.iter().take_while(|name| *name == "super").count();
    let (start, rest) = match path.first()?.as_str() {
        "crate" => (&[][..], &path[1..]),
        "super" => (&module[..module.len().checked_sub(supers)?], &path[supers..]),
        // A child's, as in `mod messages; pub use messages::Input;`.
        _ => (&module[..], path),
    };
    Some(start.iter().chain(rest).cloned().collect())
}

/// The text without comments and without what is in strings.
fn without_text(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['/', '"', 'r', '\'']) {
        let (before, from) = rest.split_at(at);
        code.push_str(before);
        let raw = from.trim_start_matches('r').trim_start_matches('#').starts_with('"')
            && (from.starts_with("r\"") || from.starts_with("r#"))
            && !before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let len = if from.starts_with("//") {
            from.find('\n').unwrap_or(from.len())
        } else if raw {
            let hashes = from[1..].chars().take_while(|c| *c == '#').count();
            let end = format!("\"{}", "#".repeat(hashes));
            let body = 2 + hashes;
            from[body..].find(&end).map_or(from.len(), |len| body + len + end.len())
        } else if from.starts_with('"') {
            string_len(from)
        } else if from.starts_with('\'') && from.chars().nth(2) == Some('\'') && !from.starts_with("'\\") {
            from.char_indices().nth(3).map_or(from.len(), |(at, _)| at)
        } else if let Some(escaped) = from.strip_prefix("'\\") {
            // The character after the backslash may be the quote itself.
            let skipped = escaped.chars().next().map_or(0, char::len_utf8);
            escaped[skipped..]
                .find('\'')
                .map_or(from.len(), |len| 2 + skipped + len + 1)
        } else {
            let len = from.chars().next().map_or(1, char::len_utf8);
            code.push_str(&from[..len]);
            len
        };
        rest = &from[len..];
    }
    code + rest
}

/// The bytes of the string that `text` begins with, with its quotes.
fn string_len(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The code without modules that are for tests only.
fn without_tests(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        let (before, from) = rest.split_at(at);
        kept.push_str(before);
        let end = from.find([';', '{']).unwrap_or(from.len());
        let len = if from[end..].starts_with('{') {
            block_len(&from[end..]) + end
        } else {
            end
        };
        rest = &from[len..];
    }
    kept + rest
}

/// The bytes of the block that `code` begins with, with its braces.
fn block_len(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth <= 1 => return at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// The paths in `code` that may lead to a module of its crate; with the name that a `use` gives to what it leads to.
fn paths(code: &str) -> Vec<(ModulePath, Option<String>)> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find(|c: char| c.is_alphabetic() || c == '_') {
        let boundary = rest[..at].ends_with(['$', '\'', ':', '.']) || rest[..at].ends_with("r#");
        let word = word(&rest[at..]);
        let after = &rest[at + word.len()..];
        rest = after;
        if boundary {
            continue;
        }
        match word {
            "use" => {
                let (tree, after) = after.split_once(';').unwrap_or((after, ""));
                rest = after;
                expand(tree.trim(), &ModulePath::new(), &mut found);
            }
            "crate" | "super" => {
                let mut path = vec![word.to_owned()];
                while let Some(next) = rest.strip_prefix("::") {
                    let name = self::word(next);
                    if name.is_empty() {
                        break;
                    }
                    path.push(name.to_owned());
                    rest = &next[name.len()..];
                }
                found.push((path, None));
            }
            _ => {}
        }
    }
    found
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

/// Adds every path of a `use` tree.
fn expand(tree: &str, before: &ModulePath, found: &mut Vec<(ModulePath, Option<String>)>) {
    let (path, name) = tree
        .split_once(" as ")
        .map_or((tree, None), |(path, name)| (path, Some(name.trim())));
    if let Some((path, list)) = tree.split_once('{') {
        let mut at = before.clone();
        at.extend(
            path.split("::")
                .map(str::trim)
                .filter(|name| !name.is_empty())
                .map(str::to_owned),
        );
        let list = list.strip_suffix('}').unwrap_or(list);
        let (mut depth, mut start) = (0_usize, 0);
        for (end, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                ',' if depth == 0 => {
                    expand(list[start..end].trim(), &at, found);
                    start = end + 1;
                }
                _ => {}
            }
        }
        return expand(list[start..].trim(), &at, found);
    }
    let mut whole = before.clone();
    whole.extend(
        path.split("::")
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty() && name != "self" && name != "*"),
    );
    // A module's own name, as in `use crate::page::{self}`, is no name that it passes on under another.
    let name = name
        .or(whole.last().map(String::as_str))
        .filter(|name| *name != "_")
        .map(str::to_owned);
    if !tree.is_empty() && whole.len() > 1 {
        found.push((whole, name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The circles among these files of a crate, each with its path from the root.
    fn circles_of(files: &[(&str, &str)]) -> Vec<String> {
        let mut modules = Modules::default();
        for (path, text) in files {
            let path = path.split("::").filter(|name| !name.is_empty());
            modules.add(path.map(str::to_owned).collect(), text);
        }
        let bare = |sentence: String| {
            sentence
                .replace("test: ", "")
                .replace(" use each other in a circle", "")
        };
        let circles = modules.circles("test");
        circles.iter().map(|circle| bare(circle.sentence())).collect()
    }

    #[test]
    fn arrows_in_one_direction_are_no_circle() {
        let files = [
            ("", "mod app; mod link;"),
            ("app", "use crate::link::{self, Link};\nfn f() { crate::link::go(); }"),
            ("link", "use std::io; use framebridge_proto::Role;"),
        ];
        assert_eq!(circles_of(&files), [""; 0]);
    }

    #[test]
    fn two_that_use_each_other_are_named_however_they_write_it() {
        let ways = [
            "use crate::app::Event;",
            "use crate::{app::{Event, Order as Asked}, other};",
            "use super::app::Event;",
            "fn f(event: &crate::app::Event) {}",
            "pub(crate) use crate::app::Event;",
        ];
        for way in ways {
            let files = [
                ("", ""),
                ("app", "use crate::link::Link;"),
                ("link", way),
                ("other", ""),
            ];
            assert_eq!(circles_of(&files), ["{app, link}"], "{way}");
        }
    }

    #[test]
    fn what_is_passed_on_leads_to_where_it_is_defined() {
        let files = [
            ("", "mod process; mod stall;\npub use process::{Input, Process};"),
            (
                "process",
                "mod messages; pub use messages::Input; use crate::stall::Stall;",
            ),
            ("process::messages", ""),
            ("stall", "use crate::Input;"),
        ];
        assert_eq!(circles_of(&files), ["{process, stall}"]);
    }

    #[test]
    fn a_longer_way_round_is_a_circle_too() {
        let files = [
            ("", ""),
            ("a", "use crate::b::B;"),
            ("b", "use crate::c::deep::C;"),
            ("c", "mod deep;"),
            ("c::deep", "use crate::a::A;"),
        ];
        assert_eq!(circles_of(&files), ["{a, b, c}"]);
    }

    #[test]
    fn siblings_in_a_folder_are_looked_at_and_a_child_may_know_its_parent() {
        let knows_parent = [
            ("a", "mod b; use b::B;"),
            ("a::b", "use super::A;"),
            ("a::c", "use super::b::B;"),
        ];
        assert_eq!(circles_of(&knows_parent), [""; 0]);
        let circle = [("a", ""), ("a::b", "use super::c::C;"), ("a::c", "use crate::a::b::B;")];
        assert_eq!(circles_of(&circle), ["a::{b, c}"]);
    }

    #[test]
    fn comments_strings_and_tests_are_no_arrows() {
        let text = "// use crate::app::Event;\n/// [`Event`](crate::app::Event)\n\
            const A: &str = \"crate::app::A \\\" crate::app\"; const B: &str = r#\"\"crate::app::B\"#; const C: char = '\"';\n\
            fn life<'a>(text: &'a str) -> char { '\\'' }\n\
            #[cfg(test)]\nmod tests { use crate::app::Event; fn f() { {} } }\n\
            #[cfg(test)]\nmod more;\n";
        let files = [("", ""), ("app", "use crate::link::Link;"), ("link", text)];
        assert_eq!(circles_of(&files), [""; 0]);
        let after = format!("{text}use crate::app::Event;");
        assert_eq!(
            circles_of(&[("", ""), ("app", "use crate::link::Link;"), ("link", &after)]),
            ["{app, link}"]
        );
    }
}
