//! `instructions`: what a packet takes by count, which does not depend on the machine's mood.

use std::{hint::black_box, process::Command};

use anyhow::Context as _;
use framebridge_rtc::{
    hot_path::{LinkFollower, PacketWriter, Packetised},
    srtp::Profile,
};
use serde_json::{Map, Value, json};

use super::{fanout::per, server::FPS};
use crate::Pictures;

/// The stream whose pictures are walked through: 9 packets each.
const BITRATE: u64 = 2_500_000;
/// Pictures of the shorter walk. The longer one has twice as many; what they differ by is free of start and end.
const ROUNDS: u64 = 200;

/// The steps of a packet's way that are counted.
const STEPS: [&str; 4] = ["packetise", "encrypt_gcm", "encrypt_sha1", "feedback"];

/// Has valgrind count instructions of this program itself on a short and a long [`walk`].
pub(super) fn run() -> anyhow::Result<Value> {
    let mut result = Map::new();
    result.insert("bench".to_owned(), json!("instructions"));
    for step in STEPS {
        let (short, long) = (count(step, ROUNDS)?, count(step, 2 * ROUNDS)?);
        let of_a_round = if step == "feedback" {
            LinkFollower::PACKETS
        } else {
            PacketWriter::new(Packetised::of(&picture()), Profile::AeadAes128Gcm).packets()
        };
        let packets = of_a_round * ROUNDS;
        let instructions = per(long.saturating_sub(short).into(), packets);
        result.insert(format!("{step}_instructions_per_packet"), json!(instructions));
    }
    Ok(Value::Object(result))
}

/// Takes one step `rounds` times.
pub(super) fn walk(step: &str, rounds: u64) -> anyhow::Result<()> {
    let picture = picture();
    let profile = match step {
        "packetise" => {
            for _ in 0..rounds {
                black_box(Packetised::of(black_box(&picture)));
            }
            return Ok(());
        }
        "feedback" => {
            let mut follower = LinkFollower::default();
            for _ in 0..rounds {
                black_box(follower.hear());
            }
            return Ok(());
        }
        "encrypt_gcm" => Profile::AeadAes128Gcm,
        "encrypt_sha1" => Profile::Aes128CmSha1,
        other => anyhow::bail!("there is no step `{other}`"),
    };
    let mut writer = PacketWriter::new(Packetised::of(&picture), profile);
    for _ in 0..rounds {
        black_box(writer.write());
    }
    Ok(())
}

fn picture() -> Vec<u8> {
    let mut pictures = Pictures::new(BITRATE, FPS);
    pictures.next(true, 0);
    pictures.next(false, 0).payload.to_vec()
}

/// Instructions of a walk, start and end of the program included.
fn count(step: &str, rounds: u64) -> anyhow::Result<u64> {
    #[expect(clippy::disallowed_methods, reason = "valgrind runs what it counts")]
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["walk", step, &rounds.to_string()])
        .output()
        .context("can't start valgrind: install the package of that name")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let count = said
        .lines()
        .find_map(|line| line.split_once("Collected :"))
        .and_then(|(_, count)| count.trim().parse().ok());
    count.with_context(|| format!("valgrind counted nothing: {said}"))
}
