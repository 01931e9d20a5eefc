//! Verbs of the command line, which work beside a running studio.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use crate::{
    auth,
    cli::{Token, Verb},
    store::{Kind, Store},
};

/// Carries a verb out, and says on stderr why if it can't.
pub(crate) fn run(Verb::Token(verb): &Verb) -> ExitCode {
    match token(verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A closed stderr leaves nobody to tell.
            _ = writeln!(io::stderr(), "studio: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn token(verb: &Token) -> anyhow::Result<()> {
    let mut out = io::stdout();
    match verb {
        Token::New { name, data, operator } => {
            let kind = if *operator { Kind::Operator } else { Kind::Box };
            let token = auth::make();
            Store::open(data)?.add_token(name, kind, &auth::hash(&token))?;
            writeln!(out, "{token}")?;
        }
        Token::List { data } => {
            for token in Store::open(data)?.tokens()? {
                let state = if token.revoked { "  (revoked)" } else { "" };
                writeln!(out, "{:8}  {}{state}", token.kind.as_str(), token.name)?;
            }
        }
        Token::Revoke { name, data } => {
            let found = Store::open(data)?.revoke_token(name)?;
            anyhow::ensure!(found, "there is no token `{name}`");
            writeln!(out, "{name} is revoked")?;
        }
    }
    Ok(())
}
