//! A viewer whose rung is chosen as the workers do it, behind links that let bursts through.

use framebridge_core::rung::{Facts, RungChoice};
use framebridge_proto::media::Rung;

use super::*;

const RATES: [u32; Rung::COUNT] = [2_500_000, 625_000, 208_000];
/// A keyframe comes by itself so often, and it takes one of the full rung to go up to it.
const KEYFRAMES_MS: u64 = 10_000;

/// Who chooses, and what has come of it.
struct Server {
    choice: RungChoice,
    in_use: Rung,
    /// When, in ms, and to which rung.
    moves: Vec<(u64, Rung)>,
}

impl Server {
    fn new() -> Self {
        Self {
            choice: RungChoice::new(Rung::Full),
            in_use: Rung::Full,
            moves: Vec::new(),
        }
    }

    fn look(&mut self, world: &mut World) {
        let ms = world.now_us / 1000;
        if !ms.is_multiple_of(50) {
            return;
        }
        let facts = Facts {
            rates: RATES.map(Some),
            in_use: self.in_use,
            sent: RATES[self.in_use.index()],
            best: Rung::Full,
            estimate: world.control.estimate(),
            is_overused: world.control.is_overused(),
            loss: world.control.loss(),
        };
        let aim = self.choice.observe(&facts, world.now());
        world.control.wants(self.choice.wants(&facts));
        if aim > self.in_use || (aim < self.in_use && ms.is_multiple_of(KEYFRAMES_MS)) {
            self.in_use = aim;
            self.moves.push((ms, aim));
            world.rate = RATES[aim.index()].into();
            world.waiting.clear();
            // It begins with a keyframe.
            world.frame_number = 0;
            world.control.on_move();
        }
    }
}

fn bucket(burst: u64, queue_ms: u64) -> Link {
    Link {
        bits_per_second: 1_000_000,
        queue_ms,
        burst,
        ..GOOD
    }
}

#[test]
fn bucket_that_lets_bursts_through_is_found_out_and_the_rung_stays() {
    for burst in [0, 16_000, 32_000, 64_000, 128_000] {
        for queue_ms in [50, 300, 1500] {
            let (mut world, mut server) = (World::new(), Server::new());
            world.run(240, bucket(burst, queue_ms), |world| server.look(world));
            let late: Vec<_> = server.moves.iter().filter(|(ms, _)| *ms > 120_000).collect();
            assert!(
                late.is_empty() && server.in_use == Rung::Half,
                "{burst} bytes, {queue_ms} ms: {:?}",
                server.moves
            );
        }
    }
}

#[test]
fn link_that_is_good_again_behind_a_bucket_is_used_within_twenty_seconds() {
    for burst in [0, 32_000, 128_000] {
        let (mut world, mut server) = (World::new(), Server::new());
        world.run(121, bucket(burst, 300), |world| server.look(world));
        assert_eq!(server.in_use, Rung::Half);
        let from = world.now_us;
        let mut back = None;
        world.run(25, GOOD, |world| {
            server.look(world);
            if server.in_use == Rung::Full {
                back.get_or_insert((world.now_us - from) / 1000);
            }
        });
        assert!(back.is_some_and(|after| after <= 20_000), "{burst} bytes: {back:?}");
    }
}
