//! Lanes and the other end, which is `rtc-sctp` as well, on a net that loses packets, in virtual time. Browsers are the other end
//! in the end-to-end tests.

#![expect(clippy::panic, reason = "a contained panic is what is tested")]

use std::time::Duration;

use rtc_sctp::{ClientConfig, ReliabilityType};

use super::*;

/// The end that begins.
struct Client {
    endpoint: Endpoint,
    handle: AssociationHandle,
    association: Association,
    is_open: bool,
    heard: Vec<String>,
}

struct World {
    lanes: Lanes,
    client: Client,
    now: Instant,
    /// One packet in so many is lost, pseudo-randomly; 0: none.
    loss: u64,
    dice: u64,
    heard: Vec<(Lane, Vec<u8>)>,
}

impl World {
    fn new(seed: u64, loss: u64) -> Self {
        let now = Instant::now();
        let config = Arc::new(EndpointConfig::new());
        let mut endpoint = Endpoint::new(PEER, TransportProtocol::UDP, config, None);
        let (handle, association) = endpoint.connect(now, ClientConfig::default(), PEER).unwrap();
        let client = Client {
            endpoint,
            handle,
            association,
            is_open: false,
            heard: Vec::new(),
        };
        Self {
            lanes: Lanes::new(Containment::default()),
            client,
            now,
            loss,
            dice: seed,
            heard: Vec::new(),
        }
    }

    fn arrives(&mut self) -> bool {
        self.dice = self
            .dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.loss == 0 || !(self.dice >> 33).is_multiple_of(self.loss)
    }

    /// Lets time pass until nothing is under way, or `until` says that it is enough.
    fn run(&mut self, span: Duration, until: impl Fn(&Self) -> bool) {
        let end = self.now + span;
        while self.now < end && !until(self) {
            self.now += Duration::from_millis(10);
            self.client.association.handle_timeout(self.now);
            self.lanes.handle_timeout(self.now).unwrap();
            while self.exchange() {}
        }
    }

    /// Delivers what both want sent; false: nothing was.
    fn exchange(&mut self) -> bool {
        let (mut to_us, mut to_them) = (Vec::new(), Vec::new());
        while let Some(transmit) = self.client.association.poll_transmit(self.now) {
            if let Payload::RawEncode(packets) = transmit.message {
                to_us.extend(packets);
            }
        }
        to_them.extend(std::iter::from_fn(|| self.lanes.poll_transmit()));
        let is_busy = !to_us.is_empty() || !to_them.is_empty();
        for packet in to_us {
            if self.arrives() {
                self.lanes.handle(&packet, self.now).unwrap();
            }
        }
        for packet in to_them {
            if !self.arrives() {
                continue;
            }
            let event = self.client.endpoint.handle(self.now, PEER, None, packet);
            if let Some((_, DatagramEvent::AssociationEvent(event))) = event {
                self.client.association.handle_event(event);
            }
        }
        self.heard.extend(std::iter::from_fn(|| self.lanes.poll_message()));
        self.client.hear();
        is_busy
    }

    fn open(&mut self) {
        self.run(Duration::from_secs(60), |world| {
            world.client.is_open && world.lanes.is_open()
        });
        assert!(self.client.is_open && self.lanes.is_open());
        assert_eq!(self.client.handle.0, 0);
    }
}

impl Client {
    fn hear(&mut self) {
        while let Some(event) = self.association.poll() {
            match event {
                Event::Connected => {
                    for lane in Lane::ALL {
                        let mut stream = self
                            .association
                            .open_stream(lane.id(), PayloadProtocolIdentifier::String)
                            .unwrap();
                        if lane == Lane::Lossy {
                            stream.set_reliability_params(true, ReliabilityType::Rexmit, 0).unwrap();
                        }
                    }
                    self.is_open = true;
                }
                Event::Stream(StreamEvent::Readable { id }) => {
                    let mut stream = self.association.stream(id).unwrap();
                    while let Some(chunks) = stream.read_sctp().unwrap() {
                        let text = chunks.to_payload(1 << 20).unwrap();
                        self.heard.push(String::from_utf8(text.to_vec()).unwrap());
                    }
                }
                // The enum may grow.
                Event::HandshakeFailed { .. }
                | Event::AssociationLost { .. }
                | Event::Stream(_)
                | Event::DatagramReceived
                | _ => {}
            }
        }
        while self.association.poll_endpoint_event().is_some() {}
    }

    fn say(&mut self, lane: Lane, text: &str, now: Instant) {
        let mut stream = self.association.stream(lane.id()).unwrap();
        stream.write(now, text.as_bytes()).unwrap();
    }
}

fn texts(heard: &[(Lane, Vec<u8>)], of: Lane) -> Vec<String> {
    let of = heard.iter().filter(|(lane, _)| *lane == of);
    of.map(|(_, text)| String::from_utf8(text.clone()).unwrap()).collect()
}

#[test]
fn reliable_lane_brings_everything_in_order_whatever_is_lost() {
    for (seed, loss) in [(1, 0), (2, 20), (3, 5)] {
        let mut world = World::new(seed, loss);
        world.open();
        let long = "x".repeat(64 << 10);
        for number in 0..200 {
            world.client.say(Lane::Reliable, &number.to_string(), world.now);
            world.client.say(Lane::Lossy, &number.to_string(), world.now);
            world.run(Duration::from_millis(10), |_| false);
        }
        world.client.say(Lane::Reliable, &long, world.now);
        world.lanes.send(Lane::Reliable, &long, world.now).unwrap();
        world.lanes.send(Lane::Reliable, "after it", world.now).unwrap();
        world.run(Duration::from_secs(120), |world| {
            texts(&world.heard, Lane::Reliable).len() == 201 && world.client.heard.len() == 2
        });
        let expected: Vec<String> = (0..200)
            .map(|number| number.to_string())
            .chain([long.clone()])
            .collect();
        assert!(texts(&world.heard, Lane::Reliable) == expected, "seed {seed}");
        assert!(world.client.heard == [long, "after it".to_owned()], "seed {seed}");
        let lossy = texts(&world.heard, Lane::Lossy).len();
        assert!(lossy <= 200 && lossy > 100, "seed {seed}: {lossy}");
    }
}

#[test]
fn what_is_said_before_anybody_hears_is_lost_and_ends_nothing() {
    let mut world = World::new(1, 0);
    world.lanes.send(Lane::Reliable, "too early", world.now).unwrap();
    world.run(Duration::from_millis(10), |_| false);
    world
        .lanes
        .send(Lane::Reliable, "still too early, or just in time", world.now)
        .unwrap();
    world.open();
    world.lanes.send(Lane::Reliable, "heard", world.now).unwrap();
    world.run(Duration::from_secs(5), |world| !world.client.heard.is_empty());
    assert_eq!(world.client.heard.last().map(String::as_str), Some("heard"));
}

#[test]
fn what_is_too_much_ends_the_lanes_and_nothing_else() {
    let mut world = World::new(1, 0);
    world.open();
    let piece = "x".repeat(100 << 10);
    let mut sent = 0;
    while world.lanes.send(Lane::Reliable, &piece, world.now).is_ok() {
        sent += 1;
        assert!(sent < 10, "who takes nothing is given up");
    }
    let mut world = World::new(1, 0);
    world.open();
    world.client.association.abort().unwrap();
    let ended = (0..10).find_map(|_| {
        let transmit = world.client.association.poll_transmit(world.now)?;
        let Payload::RawEncode(packets) = transmit.message else {
            return None;
        };
        packets
            .iter()
            .find_map(|packet| world.lanes.handle(packet, world.now).err())
    });
    assert!(matches!(ended, Some(LanesError::Closed)), "{ended:?}");
}

#[test]
fn packets_from_nowhere_break_nothing() {
    let mut world = World::new(1, 0);
    world.open();
    let mut dice = 7_u64;
    for round in 0..2000_usize {
        let mut packet: Vec<u8> = (0..20 + round % 60)
            .map(|_| {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                u8::try_from(dice >> 56).unwrap()
            })
            .collect();
        // Half of them are what the gate lets through.
        if round % 2 == 0 {
            packet[12] = [0, 3, 4, 6, 7, 9, 10, 192][round / 2 % 8];
            let length = u16::try_from(packet.len() - 12).unwrap();
            packet[14..16].copy_from_slice(&length.to_be_bytes());
        }
        drop(world.lanes.handle(&packet, world.now));
    }
    world.client.say(Lane::Reliable, "still there", world.now);
    world.run(Duration::from_secs(5), |world| !world.heard.is_empty());
    assert_eq!(texts(&world.heard, Lane::Reliable), ["still there"]);
}

#[test]
fn panic_below_ends_what_it_was_about() {
    let done = Containment::default().run(|| 7);
    assert_eq!(done, Some(7));
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let done = Containment::default().run(|| -> u8 { panic!("below") });
    std::panic::set_hook(before);
    assert_eq!(done, None);
}
