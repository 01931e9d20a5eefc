//! `[log]`: how much is logged, and in which form.

use crate::{near::nearest, reader::Reader};

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// One JSON object per line instead of text.
    pub json: bool,
    /// Levels by module, e.g. `info,framebridge_rtc=debug`.
    pub filter: String,
}

/// From the fewest lines to the most.
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// What our own lines are logged as: the crates. Libraries of others log as well, and are not listed.
const TARGETS: [&str; 17] = [
    "bridge",
    "bridgectl",
    "encoder",
    "framebridge_auth",
    "framebridge_capture",
    "framebridge_config",
    "framebridge_core",
    "framebridge_daemon",
    "framebridge_dial",
    "framebridge_http",
    "framebridge_ipc",
    "framebridge_proto",
    "framebridge_rtc",
    "framebridge_studio_proto",
    "signaling",
    "studio",
    "supervisor",
];

pub(crate) fn read(reader: &mut Reader<'_>) -> Log {
    let log = Log {
        json: reader.flag("log.json", false),
        filter: reader.text("log.filter", "info".to_owned()),
    };
    match check_filter(&log.filter) {
        Err(message) => reader.problem("log.filter", message),
        Ok(Some(doubt)) => reader.warn("log.filter", doubt),
        Ok(None) => {}
    }
    log
}

/// Whether a filter can be read and lets errors through. `Ok(Some(_))`: it can, and a module in it is probably misspelt.
///
/// # Errors
/// It can't be read, or would leave out errors; the text says what to write.
pub fn check_filter(filter: &str) -> Result<Option<String>, String> {
    let (mut has_default, mut doubt) = (false, None);
    for part in filter.split(',').map(str::trim) {
        let (target, level) = match part.split_once('=') {
            Some((target, level)) => (Some(target.trim()), level.trim()),
            None => (None, part),
        };
        let known = LEVELS.contains(&level.to_ascii_lowercase().as_str());
        match target {
            _ if level.eq_ignore_ascii_case("off") => {
                return Err(format!(
                    "`{part}` leaves out errors, too: use `error` for the fewest lines"
                ));
            }
            Some("") => return Err(format!("`{part}` names no module before the `=`")),
            Some(_) | None if !known => {
                let meant = nearest(level, LEVELS).unwrap_or("info");
                let meant = target.map_or_else(|| meant.to_owned(), |target| format!("{target}={meant}"));
                return Err(format!(
                    "`{part}` is no level: use one of {}, alone or as MODULE=LEVEL, e.g. `{meant}`",
                    LEVELS.join(", ")
                ));
            }
            Some(target) => {
                let of_crate = target.split("::").next().unwrap_or_default();
                if !TARGETS.contains(&of_crate)
                    && let Some(near) = nearest(of_crate, TARGETS)
                {
                    doubt = Some(format!("nothing is logged as `{of_crate}`; did you mean `{near}`?"));
                }
            }
            None => has_default = true,
        }
    }
    if !has_default {
        return Err(format!(
            "`{filter}` leaves out the errors of all other modules: begin with a level for them, e.g. `info,{filter}`"
        ));
    }
    Ok(doubt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_that_cant_be_read_or_leave_out_errors_are_refused() {
        for good in [
            "info",
            "ERROR",
            "info,framebridge_rtc=debug",
            "warn, signaling::whep = trace",
            "debug,hyper=error",
        ] {
            assert_eq!(check_filter(good), Ok(None), "{good}");
        }
        for (bad, said) in [
            ("off", "leaves out errors"),
            ("info,signaling=off", "leaves out errors"),
            ("inof", "e.g. `info`"),
            ("verbose", "is no level"),
            ("", "is no level"),
            ("info,", "is no level"),
            ("info,signaling", "is no level"),
            ("info,signaling=debgu", "e.g. `signaling=debug`"),
            ("info,=debug", "names no module"),
            ("framebridge_rtc=debug", "e.g. `info,framebridge_rtc=debug`"),
        ] {
            let error = check_filter(bad).expect_err(bad);
            assert!(error.contains(said), "{bad}: {error}");
        }
        let doubt = check_filter("info,signalling=debug")
            .expect("can be read")
            .expect("a doubt");
        assert!(doubt.contains("`signaling`"), "{doubt}");
    }

    #[test]
    fn every_crate_that_logs_is_known() {
        let folders = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).expect("the crates");
        for folder in folders {
            let name = folder.expect("a crate").file_name().to_string_lossy().replace('-', "_");
            assert!(
                TARGETS.contains(&name.as_str())
                    || ["framebridge_testkit", "framebridge_manual", "framebridge_dial"].contains(&name.as_str()),
                "{name}"
            );
        }
    }
}
