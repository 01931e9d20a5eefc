//! The manual page and the completions of a program that people type, made from its command line.
//!
//! They are kept in a folder `manual` beside the program's source, because who builds a package wants files and not a program that
//! writes them. A test of the program calls [`stale`], so that they are always those of its command line. Nothing that ships
//! links this.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use clap::Command;
use clap_complete::{Shell, generate};
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};

/// Set to anything: files that are not current are written anew.
const WRITE: &str = "FRAMEBRIDGE_WRITE_MANUAL";

/// A program's file by its name, and its text.
type File = (String, String);

/// The files in `folder` that are not those of `command`, called `name`; with `$FRAMEBRIDGE_WRITE_MANUAL` they are written, and
/// none is left.
///
/// # Errors
/// The folder can't be written.
pub fn stale(command: &Command, name: &'static str, folder: &Path) -> io::Result<Vec<PathBuf>> {
    let command = command.clone().name(name).bin_name(name).display_name(name);
    let mut files = completions(&command, name);
    files.push((format!("{name}.1"), page(command, name)?));
    let mut stale = Vec::new();
    for (file, text) in files {
        let path = folder.join(file);
        if fs::read_to_string(&path).is_ok_and(|kept| kept == text) {
            continue;
        }
        if env::var_os(WRITE).is_none() {
            stale.push(path);
        } else {
            fs::create_dir_all(folder)?;
            fs::write(&path, text)?;
        }
    }
    Ok(stale)
}

/// Named as the shells look for them.
fn completions(command: &Command, name: &'static str) -> Vec<File> {
    let shells = [
        (Shell::Bash, format!("{name}.bash")),
        (Shell::Zsh, format!("_{name}")),
        (Shell::Fish, format!("{name}.fish")),
    ];
    let made = shells.map(|(shell, file)| {
        let mut text = Vec::new();
        generate(shell, &mut command.clone(), name, &mut text);
        (file, lines(&text))
    });
    made.into()
}

/// One page for a program and all its verbs: who looks for one has it with the others around.
fn page(command: Command, name: &str) -> io::Result<String> {
    let extra = command.get_after_help().map(ToString::to_string);
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let verbs: Vec<Command> = leaves(&command);
    let mut text = Vec::new();
    // Without a date: a page is as old as its package.
    let man = Man::new(command)
        .title(name.to_uppercase())
        .source("Framebridge")
        .manual("Framebridge");
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if !verbs.is_empty() {
        Roff::default().control("SH", ["COMMANDS"]).to_writer(&mut text)?;
    }
    for verb in verbs {
        text.extend(about(verb)?.into_bytes());
    }
    let mut end = Roff::default();
    for line in extra.iter().flat_map(|extra| extra.lines()) {
        end.control("PP", []).text([roman(line)]);
    }
    end.control("SH", ["SEE ALSO"]).text([roman(
        "/usr/share/doc/framebridge, https://github.com/framebridge/framebridge",
    )]);
    end.to_writer(&mut text)?;
    Ok(lines(&text))
}

/// The verbs that do something, each with its whole name.
fn leaves(command: &Command) -> Vec<Command> {
    let shown = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    shown
        .flat_map(|verb| {
            if verb.has_subcommands() {
                leaves(verb)
            } else {
                vec![verb.clone()]
            }
        })
        .collect()
}

/// A verb's part of the page: its synopsis as a heading, what it does, its options without those that all have.
fn about(verb: Command) -> io::Result<String> {
    let common: Vec<_> = verb
        .get_arguments()
        .filter(|argument| argument.is_global_set())
        .map(|argument| argument.get_id().clone())
        .collect();
    let common = common.into_iter().chain(["help".into()]);
    let verb = common.fold(verb, |verb, id| verb.mut_arg(id, |argument| argument.hide(true)));
    let man = Man::new(verb);
    let (mut head, mut rest) = (Vec::new(), Vec::new());
    man.render_synopsis_section(&mut head)?;
    man.render_description_section(&mut rest)?;
    man.render_options_section(&mut rest)?;
    let synopsis: Vec<String> = own(&head).map(str::to_owned).collect();
    let text: Vec<String> = own(&rest).map(str::to_owned).collect();
    Ok(format!(
        ".SS\n{}\n{}\n",
        synopsis.join("\n").trim_end(),
        text.join("\n")
    ))
}

/// The lines of a section, without its heading and what the writer puts before everything.
fn own(text: &[u8]) -> impl Iterator<Item = &str> {
    let text = std::str::from_utf8(text).unwrap_or_default();
    let is_ours = |line: &&str| !line.starts_with(".SH ") && !line.starts_with(".ie ") && !line.starts_with(".el ");
    text.lines().filter(is_ours)
}

/// Without blanks at the ends of lines, which editors remove.
fn lines(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    fn program() -> Command {
        let verb = Command::new("new")
            .about("Make one")
            .arg(Arg::new("name").long("name").help("What to call it"));
        let group = Command::new("token").about("All about tokens").subcommand(verb);
        Command::new("thing")
            .about("Does things")
            .after_help("Codes: 0 done")
            .subcommand(group)
    }

    #[test]
    fn page_has_each_verb_by_its_whole_name_with_its_options() {
        let page = page(program().name("thing").bin_name("thing"), "thing").unwrap();
        for part in [
            ".TH THING 1",
            "thing \\- Does things",
            "thing token new",
            "Make one",
            "What to call it",
            "Codes: 0 done",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(
            !page.contains("Print help (see") && page.matches(".SH NAME").count() == 1,
            "{page}"
        );
    }

    #[test]
    fn what_is_not_there_is_stale() {
        let stale = stale(&program(), "thing", Path::new("/nonexistent")).unwrap();
        let names: Vec<_> = stale.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        assert_eq!(names, ["thing.bash", "_thing", "thing.fish", "thing.1"]);
    }
}
