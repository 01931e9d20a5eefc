//! A record as a picture: a row for each process, a column for each measure, each with its own scale from zero.

use std::fmt::{self, Write as _};

use crate::soak::{growth::Point, measure::Measure, record::Record};

const COLUMNS: [Measure; 4] = [Measure::Memory, Measure::Descriptors, Measure::Threads, Measure::Cpu];
/// What belongs to no process, in a row of its own.
const LAST_ROW: [Measure; 3] = [Measure::LatencyMiddle, Measure::LatencyTail, Measure::Disk];

const WIDTH: u32 = 1080;
const LEFT: u32 = 130;
const PANEL: u32 = 220;
const GAP: u32 = 16;
const HEIGHT: u32 = 72;
const ROW: u32 = 96;
const TOP: u32 = 56;

const STYLE: &str = "text{font:11px sans-serif;fill:#333}.title{font-weight:bold}.small{fill:#777}\
    .panel{fill:#f6f7f9}.fault{stroke:#d33;stroke-opacity:.28}.line{fill:none;stroke:#1f5fa8;stroke-width:1.4}";

/// Draws it.
pub fn svg(record: &Record) -> String {
    let mut picture = String::new();
    // Writing to a string does not fail.
    _ = draw(&mut picture, record);
    picture
}

fn draw(out: &mut String, record: &Record) -> fmt::Result {
    let is_process = |subject: &&str| !record.lives(subject, Measure::Memory).is_empty();
    let subjects = record.subjects();
    let processes: Vec<&str> = subjects.iter().copied().filter(is_process).collect();
    let rows = u32::try_from(processes.len()).unwrap_or(0) + 1;
    let height = TOP + rows * ROW + 28;
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\">\n\
         <style>{STYLE}</style><rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>"
    )?;
    let length = record.length_h();
    let faults = record.events.iter().filter(|event| event.is_fault).count();
    writeln!(
        out,
        "<text x=\"12\" y=\"22\" class=\"title\">cargo xtask soak: {}, {faults} faults (red lines)</text>",
        span(length)
    )?;
    for (measure, column) in COLUMNS.into_iter().zip(0..) {
        let x = LEFT + column * (PANEL + GAP);
        writeln!(
            out,
            "<text x=\"{x}\" y=\"{}\" class=\"title\">{}</text>",
            TOP - 8,
            measure.title()
        )?;
    }
    for (subject, row) in processes.iter().zip(0..) {
        let y = TOP + row * ROW;
        writeln!(
            out,
            "<text x=\"12\" y=\"{}\" class=\"title\">{}</text>",
            y + 14,
            escaped(subject)
        )?;
        for (measure, column) in COLUMNS.into_iter().zip(0..) {
            let at = (LEFT + column * (PANEL + GAP), y);
            panel(out, record, &record.lives(subject, measure), measure, at)?;
        }
    }
    let y = TOP + (rows - 1) * ROW + 20;
    for (measure, column) in LAST_ROW.into_iter().zip(0..) {
        let lives = subjects
            .iter()
            .flat_map(|subject| record.lives(subject, measure))
            .collect::<Vec<_>>();
        let x = LEFT + column * (PANEL + GAP);
        panel(out, record, &lives, measure, (x, y))?;
        writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" class=\"title\">{}</text>",
            x,
            y - 6,
            measure.title()
        )?;
    }
    writeln!(out, "</svg>")
}

/// One measure's lives in a box, each a line of its own.
fn panel(out: &mut String, record: &Record, lives: &[Vec<Point>], measure: Measure, (x, y): (u32, u32)) -> fmt::Result {
    writeln!(
        out,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{PANEL}\" height=\"{HEIGHT}\" class=\"panel\"/>"
    )?;
    let length = record.length_h().max(f64::MIN_POSITIVE);
    let across = |at_h: f64| f64::from(x) + at_h / length * f64::from(PANEL);
    for event in record.events.iter().filter(|event| event.is_fault) {
        let at = across(event.at_h);
        writeln!(
            out,
            "<line x1=\"{at:.1}\" y1=\"{y}\" x2=\"{at:.1}\" y2=\"{}\" class=\"fault\"/>",
            y + HEIGHT
        )?;
    }
    let values = lives.iter().flatten().map(|point| measure.shown(point.value));
    let most = values.fold(0.0, f64::max);
    // Room above, for what the line must not cross.
    let top = if most > 0.0 { most * 1.35 } else { 1.0 };
    for life in lives {
        let mut line = String::new();
        for point in life {
            let up = f64::from(y + HEIGHT) - measure.shown(point.value) / top * f64::from(HEIGHT);
            write!(line, "{:.1},{up:.1} ", across(point.at_h))?;
        }
        writeln!(out, "<polyline points=\"{}\" class=\"line\"/>", line.trim_end())?;
    }
    let (right, below) = (x + PANEL - 2, y + HEIGHT + 11);
    writeln!(
        out,
        "<text x=\"{right}\" y=\"{}\" text-anchor=\"end\" class=\"small\">{most:.1}</text>",
        y + 11
    )?;
    writeln!(out, "<text x=\"{x}\" y=\"{below}\" class=\"small\">0</text>")?;
    writeln!(
        out,
        "<text x=\"{right}\" y=\"{below}\" text-anchor=\"end\" class=\"small\">{length:.1} h</text>"
    )
}

fn span(hours: f64) -> String {
    if hours < 1.0 {
        format!("{:.0} min", hours * 60.0)
    } else {
        format!("{hours:.1} h")
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::record::{Event, Plan, Taken, Watched};

    #[test]
    fn each_life_is_a_line_and_each_fault_crosses_every_panel() {
        let taken = |at_h: f64, life, value| Taken {
            at_h,
            subject: "a<b".into(),
            life,
            values: vec![(Measure::Memory, value)],
        };
        let record = Record {
            plan: Plan {
                began_unix_ms: 0,
                hours: 1.0,
                warm_up_h: 0.0,
                seed: 1,
            },
            taken: vec![taken(0.0, 1, 1024.0), taken(0.5, 1, 2048.0), taken(1.0, 2, 1024.0)],
            events: vec![Event {
                at_h: 0.5,
                what: "killed".into(),
                is_fault: true,
                failed: None,
            }],
            watched: Watched::default(),
            is_whole: true,
        };
        let picture = svg(&record);
        assert_eq!(picture.matches("<polyline").count(), 2, "{picture}");
        assert_eq!(
            picture.matches("class=\"fault\"").count(),
            COLUMNS.len() + LAST_ROW.len()
        );
        assert!(picture.contains("a&lt;b") && picture.contains(">2.0<"), "{picture}");
    }
}
