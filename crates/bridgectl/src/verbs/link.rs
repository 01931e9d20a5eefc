//! `bridgectl link [--stream S] [--control] [--expires 12h] [--at URL]`

use anyhow::Context as _;
use framebridge_daemon::reach;
use hyper::Method;
use serde_json::json;

use crate::{ask, cli, exit::Exit, names, out::Out, verbs::share::qr_code};

pub(crate) async fn run(asked: cli::Link, out: Out) -> anyhow::Result<Exit> {
    let url = make(asked).await?;
    out.tell(&url, &json!({ "url": url }))?;
    if !out.json {
        qr_code(&url)?;
    }
    Ok(Exit::Ok)
}

/// Makes a link, and says its address.
pub(super) async fn make(asked: cli::Link) -> anyhow::Result<String> {
    if let Some(stream) = &asked.stream {
        names::stream(&ask::status().await?, stream.as_str())?;
    }
    let wanted = json!({
        "stream": asked.stream,
        "scope": if asked.control { "control" } else { "view" },
        "expires_s": asked.expires,
    });
    let made = ask::signaling(Method::POST, "/api/v1/links", Some(wanted)).await?;
    let path = made["path"].as_str().context(ask::MISMATCH)?;
    let base = match asked.at {
        Some(base) => base.trim_end_matches('/').to_owned(),
        None => here(made["base"].as_str().context(ask::MISMATCH)?),
    };
    Ok(format!("{base}{path}"))
}

/// Where signaling listens, by an address that others reach: a listener on all addresses is no address.
fn here(base: &str) -> String {
    let Some((scheme, address)) = base.split_once("://") else {
        return base.to_owned();
    };
    let address = address.parse();
    address.map_or_else(|_name| base.to_owned(), |address| reach::url(scheme, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listener_on_one_address_is_reached_there() {
        assert_eq!(here("https://192.0.2.7:8890"), "https://192.0.2.7:8890");
        assert!(here("http://0.0.0.0:8890").ends_with(":8890"));
    }
}
