use super::*;

const FRAME: Duration = Duration::from_millis(40);

const SPS_HD: Sps = Sps {
    profile_level_id: [100, 0, 40],
    chroma: 1,
    depth: 8,
    whole_frames: true,
    width: 1920,
    height: 1080,
    aspect: (1, 1),
    reordered: Some(0),
};

const ANY: Wish = Wish {
    allowed: true,
    demanded: false,
    longest_edge: None,
    fps: None,
    bitrate: None,
    quality_set: false,
};

/// A camera: so far apart, a keyframe each so many, so many bytes each.
struct Camera {
    sps: Sps,
    step: Duration,
    group: u32,
    bytes: usize,
    at: Duration,
    number: u32,
}

fn camera() -> Camera {
    Camera {
        sps: SPS_HD,
        step: FRAME,
        group: 100,
        bytes: 20_000,
        at: Duration::from_secs(100),
        number: 0,
    }
}

impl Camera {
    fn next(&mut self, machine: &mut AsItComes) -> Way {
        let keyframe = self.number.is_multiple_of(self.group);
        self.number += 1;
        self.at += self.step;
        machine.observe(&Seen {
            sps: Some(&self.sps),
            keyframe,
            bidirectional: false,
            at: self.at,
            bytes: self.bytes,
        })
    }

    fn run(&mut self, machine: &mut AsItComes, pictures: u32) -> Vec<Way> {
        (0..pictures).map(|_| self.next(machine)).collect()
    }
}

fn opened(wish: Wish) -> AsItComes {
    let mut machine = AsItComes::new(wish);
    machine.opened(None);
    machine
}

#[test]
fn what_players_show_is_sent_on_from_its_first_keyframe_on() {
    let (mut machine, mut camera) = (opened(ANY), camera());
    camera.number = 98;
    let ways = camera.run(&mut machine, 400);
    assert_eq!(ways[..3], [Way::Encode, Way::Encode, Way::Copy]);
    assert!(ways[2..].iter().all(|way| *way == Way::Copy));
    assert_eq!(machine.obstacle(), None);
}

#[test]
fn what_players_do_not_show_is_encoded_and_said() {
    let change = |edit: fn(&mut Sps)| {
        let mut sps = SPS_HD;
        edit(&mut sps);
        sps
    };
    for (sps, obstacle, words) in [
        (
            change(|sps| sps.depth = 10),
            Obstacle::Depth(10),
            "it has 10 bits a colour",
        ),
        (
            change(|sps| sps.chroma = 2),
            Obstacle::Chroma,
            "its colours are not 4:2:0",
        ),
        (
            change(|sps| sps.profile_level_id[0] = 88),
            Obstacle::Profile(88),
            "browsers don't play its profile (H.264 profile 88)",
        ),
        (
            change(|sps| sps.whole_frames = false),
            Obstacle::Fields,
            "it has fields",
        ),
        (
            change(|sps| sps.reordered = Some(2)),
            Obstacle::Reordered,
            "it has B-frames",
        ),
        (
            change(|sps| sps.aspect = (4, 3)),
            Obstacle::NotSquare,
            "its pixels are not square",
        ),
        (
            change(|sps| sps.width = 5120),
            Obstacle::TooLarge,
            "it is larger than 4096 pixels",
        ),
    ] {
        let (mut machine, mut camera) = (opened(ANY), camera());
        camera.sps = sps;
        assert_eq!(camera.next(&mut machine), Way::Encode, "{obstacle:?}");
        assert_eq!(machine.obstacle().as_ref(), Some(&obstacle));
        assert_eq!(obstacle.to_string(), words);
    }
    let mut machine = opened(ANY);
    machine.opened(Some(Obstacle::Codec("hevc".to_owned())));
    assert!(!machine.is_possible());
    assert_eq!(machine.obstacle().unwrap().to_string(), "it is hevc, not H.264");
}

#[test]
fn b_frames_are_found_by_slices_and_by_times_that_go_back() {
    let unsaid = Sps {
        reordered: None,
        ..SPS_HD
    };
    let seen = |sps, keyframe, bidirectional, at| Seen {
        sps: Some(sps),
        keyframe,
        bidirectional,
        at: Duration::from_millis(at),
        bytes: 100,
    };
    let mut machine = opened(ANY);
    assert_eq!(machine.observe(&seen(&unsaid, true, false, 0)), Way::Copy);
    assert_eq!(machine.observe(&seen(&unsaid, false, true, 40)), Way::Encode);
    assert_eq!(machine.obstacle(), Some(Obstacle::Reordered));
    assert_eq!(
        machine.observe(&seen(&unsaid, true, false, 80)),
        Way::Encode,
        "once is enough"
    );

    let mut machine = opened(ANY);
    machine.observe(&seen(&unsaid, true, false, 0));
    assert_eq!(machine.observe(&seen(&unsaid, false, false, 120)), Way::Copy);
    assert_eq!(machine.observe(&seen(&unsaid, false, false, 40)), Way::Encode);

    let mut machine = opened(ANY);
    machine.observe(&seen(&SPS_HD, true, false, 0));
    assert_eq!(
        machine.observe(&seen(&SPS_HD, false, true, 40)),
        Way::Copy,
        "it says that none is shown later than it comes"
    );
}

#[test]
fn groups_are_ten_seconds_long_at_most() {
    let (mut machine, mut camera) = (opened(ANY), camera());
    camera.group = 250;
    assert!(camera.run(&mut machine, 1000).iter().all(|way| *way == Way::Copy));
    let (mut machine, mut camera) = (opened(ANY), self::camera());
    camera.group = 1000;
    let ways = camera.run(&mut machine, 1000);
    assert!((255..=270).contains(&ways.iter().filter(|way| **way == Way::Copy).count()));
    assert_eq!(machine.obstacle(), Some(Obstacle::LongGroups));
}

#[test]
fn a_pause_and_a_jump_of_the_clock_are_nothing_against_a_source() {
    let (mut machine, mut camera) = (opened(ANY), camera());
    for jump in [8, 40, -30, 12] {
        camera.run(&mut machine, 150);
        let seconds = Duration::from_secs(if jump < 0 { 30 } else { u64::try_from(jump).unwrap() });
        camera.at = if jump < 0 {
            camera.at - seconds
        } else {
            camera.at + seconds
        };
    }
    assert!(camera.run(&mut machine, 300).iter().all(|way| *way == Way::Copy));
}

#[test]
fn groups_that_weigh_too_much_are_not_kept() {
    let (mut machine, mut camera) = (opened(Wish { demanded: true, ..ANY }), camera());
    camera.bytes = HEAVIEST_GROUP / 90;
    assert!(camera.run(&mut machine, 99).contains(&Way::Encode));
    assert_eq!(machine.obstacle(), Some(Obstacle::HeavyGroups));
}

#[test]
fn what_was_asked_for_is_kept_to_and_what_was_not_is_not() {
    for (wish, obstacle) in [
        (
            Wish {
                longest_edge: Some(1280),
                ..ANY
            },
            Some(Obstacle::Smaller(1280, 1920)),
        ),
        (
            Wish {
                longest_edge: Some(1920),
                ..ANY
            },
            None,
        ),
        (Wish { fps: Some(15), ..ANY }, Some(Obstacle::Thinner(15, 25))),
        (Wish { fps: Some(24), ..ANY }, None),
        (
            Wish {
                bitrate: Some(2_500_000),
                ..ANY
            },
            Some(Obstacle::Lighter(2_500_000, 4_000_000)),
        ),
        (
            Wish {
                bitrate: Some(3_600_000),
                ..ANY
            },
            None,
        ),
    ] {
        let (mut machine, mut camera) = (opened(wish), camera());
        camera.run(&mut machine, 301);
        assert_eq!(machine.obstacle(), obstacle, "{wish:?}");
    }
    for (demanded, expected) in [(false, Some(Obstacle::Heavy(24_000_000))), (true, None)] {
        let (mut machine, mut camera) = (opened(Wish { demanded, ..ANY }), camera());
        (camera.bytes, camera.group) = (120_000, 50);
        camera.run(&mut machine, 301);
        assert_eq!(machine.obstacle(), expected);
    }
}

#[test]
fn a_quality_that_is_set_means_encoding_until_it_is_set_back() {
    let (mut machine, mut camera) = (opened(ANY), camera());
    camera.run(&mut machine, 10);
    machine.wish(Wish {
        quality_set: true,
        ..ANY
    });
    assert_eq!(camera.next(&mut machine), Way::Encode);
    assert_eq!(machine.obstacle(), Some(Obstacle::QualitySet));
    assert!(camera.run(&mut machine, 200).iter().all(|way| *way == Way::Encode));
    machine.wish(ANY);
    let ways = camera.run(&mut machine, 100);
    let first = ways.iter().position(|way| *way == Way::Copy).unwrap();
    assert!(
        ways[first..].iter().all(|way| *way == Way::Copy) && first > 0,
        "from a keyframe on"
    );
}

#[test]
fn a_camera_that_becomes_slow_is_encoded_and_sent_on_again_when_it_is_quick() {
    let (mut machine, mut camera) = (opened(ANY), camera());
    camera.group = 5;
    camera.run(&mut machine, 100);
    camera.step = Duration::from_secs(1);
    assert_eq!(
        camera.run(&mut machine, 3),
        [Way::Copy; 3],
        "a pause or two are nothing"
    );
    assert_eq!(camera.next(&mut machine), Way::Encode);
    assert_eq!(machine.obstacle(), Some(Obstacle::Slow));
    camera.run(&mut machine, 20);
    camera.step = FRAME;
    assert!(camera.run(&mut machine, 49).iter().all(|way| *way == Way::Encode));
    assert!(camera.run(&mut machine, 10).contains(&Way::Copy));
}

#[test]
fn what_may_not_be_sent_on_never_is_and_no_reason_is_told() {
    let (mut machine, mut camera) = (opened(Wish::default()), camera());
    assert!(camera.run(&mut machine, 200).iter().all(|way| *way == Way::Encode));
    assert_eq!(machine.obstacle(), None);
}

#[test]
fn what_is_told_changes_only_with_the_stream() {
    let (mut machine, mut camera) = (opened(ANY), camera());
    let first = {
        camera.run(&mut machine, 1);
        machine.tell(&SPS_HD, Some(24.9))
    };
    assert_eq!((first.fps, first.bitrate, first.size), (25, 0, (1920, 1080)));
    camera.run(&mut machine, 200);
    let second = machine.tell(&SPS_HD, None);
    assert_eq!((second.fps, second.bitrate), (25, 4_000_000));
    camera.bytes = 22_000;
    camera.run(&mut machine, 200);
    assert_eq!(machine.tell(&SPS_HD, None), second, "a tenth more is no news");
    assert_eq!(format_name(second.profile_level_id), "H.264 High, level 4.0");
}

#[test]
fn short_film_that_claims_a_thousand_pictures_a_second_is_encoded_and_its_weight_is_known() {
    let looped = |wish: Wish, step, seconds| {
        let (mut machine, mut camera) = (opened(wish), camera());
        (camera.step, camera.bytes) = (step, 2_000);
        let pictures = Duration::from_secs(seconds).as_nanos() / step.as_nanos();
        for _ in 0..pictures.div_ceil(100) {
            machine.rewound();
            camera.at = Duration::from_secs(100);
            camera.run(&mut machine, 100);
        }
        machine
    };
    let fast = Duration::from_millis(1);
    assert_eq!(looped(ANY, fast, 3).obstacle(), Some(Obstacle::TooFast(1000)));
    let demanded = Wish { demanded: true, ..ANY };
    assert_eq!(looped(demanded, fast, 3).obstacle(), None, "who demands it gets it");
    let asked = Wish { fps: Some(30), ..ANY };
    assert_eq!(looped(asked, fast, 3).obstacle(), Some(Obstacle::Thinner(30, 1000)));
    // A hundred pictures of 40 ms: none of its rounds is as long as what is looked at.
    let mut film = looped(ANY, FRAME, 20);
    assert_eq!(film.obstacle(), None);
    let told = film.tell(&SPS_HD, None);
    assert_eq!((told.fps, told.bitrate / 1000), (25, 2_000 * 8 * 25 / 1000));
}

#[test]
fn rate_by_a_sources_own_word_is_judged_as_one_that_was_seen() {
    for (interval, obstacle) in [
        (10_000_000, Some(Obstacle::Slow)),
        (40_000, None),
        (16_667, None),
        (1_000, Some(Obstacle::TooFast(1000))),
    ] {
        assert_eq!(by_its_word(Duration::from_micros(interval)), obstacle);
    }
}
