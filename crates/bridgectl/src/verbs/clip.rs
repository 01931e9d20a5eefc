//! `bridgectl clip STREAM --last 10s|--next 10s -o FILE`

use std::time::Duration;

use anyhow::bail;
use framebridge_proto::encoder::{ClipSpan, EncoderAnswer, EncoderRequest};
use serde_json::json;

use crate::{ask, cli, exit::Exit, out::Out};

/// A clip ends with a picture and begins with one: it may lack a little of what was asked for, and a tenth is more than that.
const SLACK: Duration = Duration::from_millis(250);
const SLACK_SHARE: u32 = 10;

pub(crate) async fn run(asked: &cli::Clip, out: Out) -> anyhow::Result<Exit> {
    let span = asked.span();
    let answer = ask::encoder(&asked.stream, EncoderRequest::Clip(span)).await?;
    let EncoderAnswer::Clip {
        mp4,
        duration_ms,
        age_ms,
    } = answer
    else {
        bail!(ask::MISMATCH)
    };
    let (lasts, age) = (Duration::from_millis(duration_ms), Duration::from_millis(age_ms));
    let lacks = shortfall(span, lasts);
    let about = format!(
        "{}: {} bytes, {:.2} s, ended {:.1} s ago{}",
        asked.output.name(),
        mp4.len(),
        lasts.as_secs_f64(),
        age.as_secs_f64(),
        lacks.map_or_else(String::new, |why| format!("; {why}"))
    );
    let value = json!({
        "file": asked.output.name(),
        "bytes": mp4.len(),
        "duration_ms": duration_ms,
        "age_ms": age_ms,
        "short": lacks.is_some(),
    });
    asked.output.write(&mp4, out, &about, &value)?;
    Ok(if lacks.is_some() && !asked.allow_short {
        Exit::Failure
    } else {
        Exit::Ok
    })
}

/// Why a clip lasts less than was asked for, if it does.
fn shortfall(span: ClipSpan, lasts: Duration) -> Option<&'static str> {
    let (ms, why) = match span {
        ClipSpan::Last { ms } => (
            ms,
            "that is less than asked for: a stream is kept for as long as `pre_roll_ms` says, and without viewers only with `keep` = always",
        ),
        ClipSpan::Next { ms } => (ms, "that is less than asked for: the source gave no more pictures"),
    };
    let wanted = Duration::from_millis(ms.into());
    (lasts + SLACK + wanted / SLACK_SHARE < wanted).then_some(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clip_is_short_where_more_than_a_picture_or_two_is_missing() {
        let last = |ms, lasts| shortfall(ClipSpan::Last { ms }, Duration::from_millis(lasts)).is_some();
        assert!(last(5_000, 200) && last(1_000, 500) && last(15_000, 13_000));
        assert!(!last(5_000, 6_100) && !last(5_000, 4_900) && !last(1_000, 700));
        let next = shortfall(ClipSpan::Next { ms: 10_000 }, Duration::from_secs(3));
        assert!(next.is_some_and(|why| why.contains("gave no more")));
    }
}
