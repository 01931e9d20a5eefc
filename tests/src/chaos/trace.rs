//! What one viewer saw, and what a fault cost it. Pure: times are milliseconds since the Unix epoch.

/// So long without a new picture is a freeze: six pictures, which anybody sees.
pub const FREEZE_MS: u64 = 200;

/// Ticks of RTP's clock for video per millisecond.
pub const MEDIA_CLOCK_KHZ: u64 = 90;

/// Pictures per second that every stream of the drill has.
pub const FPS: u64 = 30;

const TICKS_PER_FRAME: u64 = 1_000 * MEDIA_CLOCK_KHZ / FPS;

/// A new picture, or several at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// When.
    pub at: u64,
    /// Sessions opened so far.
    pub sessions: u64,
    /// Pictures so far.
    pub frames: u64,
    /// What the stream's own clock says, in ticks.
    pub media: u64,
}

/// What a fault cost one viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// From the fault to the end of the last freeze; 0 where there was none. `None`: it lasts.
    pub back: Option<u64>,
    /// The longest freeze.
    pub freeze: u64,
    /// Pictures that never came.
    pub frames_lost: u64,
    /// Sessions that had to be opened anew.
    pub sessions_lost: u64,
}

/// The cost to a viewer who has seen `trace`, of what happened at `from`, as it shows at `until`.
pub fn cost(trace: &[Seen], from: u64, until: u64) -> Cost {
    let concerned = &trace[last_before(trace, from)..];
    let times = || concerned.iter().map(|seen| seen.at).chain([until]);
    // A freeze that began before the fault counts from the fault on.
    let freezes = || {
        times().zip(times().skip(1)).filter_map(move |(last, next)| {
            let length = next.checked_sub(last.max(from))?;
            (next.saturating_sub(last) >= FREEZE_MS).then_some((next, length))
        })
    };
    let lasts = concerned
        .last()
        .is_none_or(|last| until.saturating_sub(last.at) >= FREEZE_MS);
    let end = freezes().map(|(end, _)| end - from).max().unwrap_or(0);
    let growth = |count: fn(&Seen) -> u64| match concerned {
        // The stream's clock may have been stepped back.
        [first, .., last] => count(last).saturating_sub(count(first)),
        [_] | [] => 0,
    };
    let due = (growth(|seen| seen.media) + TICKS_PER_FRAME / 2) / TICKS_PER_FRAME;
    Cost {
        back: (!lasts).then_some(end),
        freeze: freezes().map(|(_, length)| length).max().unwrap_or(0),
        frames_lost: due.saturating_sub(growth(|seen| seen.frames)),
        sessions_lost: growth(|seen| seen.sessions),
    }
}

/// The last thing seen before `time`, or the first of all.
fn last_before(trace: &[Seen], time: u64) -> usize {
    trace.partition_point(|seen| seen.at < time).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 30 pictures a second at these times, all in one session.
    fn seen(times: impl IntoIterator<Item = u64>) -> Vec<Seen> {
        let counted = times.into_iter().zip(1..);
        counted
            .map(|(at, frames)| Seen {
                at,
                sessions: 1,
                frames,
                media: at * MEDIA_CLOCK_KHZ,
            })
            .collect()
    }

    fn every_33ms(from: u64, until: u64) -> impl Iterator<Item = u64> {
        (from..until).step_by(33)
    }

    #[test]
    fn steady_picture_costs_nothing() {
        let trace = seen(every_33ms(0, 10_000));
        let cost = cost(&trace, 5_000, 9_990);
        assert_eq!((cost.back, cost.freeze, cost.sessions_lost), (Some(0), 0, 0));
        assert!(cost.frames_lost <= 1, "{cost:?}");
    }

    #[test]
    fn gap_counts_from_the_fault_to_the_first_new_picture() {
        // Pictures that were under way still come for 100 ms.
        let trace = seen(every_33ms(0, 5_100).chain(every_33ms(5_700, 8_000)));
        let cost = cost(&trace, 5_000, 8_000);
        assert_eq!(cost.back, Some(700));
        assert!((600..=650).contains(&cost.freeze), "{cost:?}");
        assert!((17..=20).contains(&cost.frames_lost), "{cost:?}");
    }

    #[test]
    fn picture_that_stays_away_is_not_back() {
        let trace = seen(every_33ms(0, 5_000));
        let cost = cost(&trace, 5_000, 9_000);
        assert_eq!((cost.back, cost.freeze), (None, 4_000));
    }

    #[test]
    fn freeze_before_the_fault_is_not_its_cost() {
        let trace = seen(every_33ms(0, 2_000).chain(every_33ms(4_000, 8_000)));
        assert_eq!(cost(&trace, 5_000, 7_990).freeze, 0);
    }
}
