//! Which node of a studio has which box, as one node knows it.
//!
//! Nodes say what they hold, again and again; nobody keeps a table for all. A box's latest node has it: each claim carries
//! an epoch greater than any its node has heard of for that box, and the node's name where two are equal, so that all
//! nodes come to the same answer in whatever order they hear. What is not said again in time is not believed any more.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

/// Patience of a [`Presence`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// A node that said nothing for longer is gone, and has no box any more.
    pub node: Duration,
    /// A claim that was not repeated for longer is over.
    pub claim: Duration,
}

impl Default for Config {
    /// Three beats of a node; a box's heartbeat is repeated at once, and its own link is given 20 s.
    fn default() -> Self {
        Self {
            node: Duration::from_secs(6),
            claim: Duration::from_secs(25),
        }
    }
}

/// What happened. `N` names a node, `S` a box's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input<N, S> {
    /// A box has come to this node.
    Came {
        /// The box's session.
        session: S,
        /// Now, ms since the Unix epoch: keeps a node that has just been started from counting below the others.
        at_ms: u64,
    },
    /// A box has left this node.
    Went {
        /// The box's session.
        session: S,
    },
    /// Another node is there.
    Beat {
        /// The node.
        node: N,
    },
    /// Another node says that it has a box.
    Held {
        /// The node.
        node: N,
        /// The box's session.
        session: S,
        /// Of the claim.
        epoch: u64,
    },
    /// Another node says that it has a box no more.
    Released {
        /// The node.
        node: N,
        /// The box's session.
        session: S,
    },
    /// What [`Presence::poll_timeout`] announced may be due.
    Timeout,
}

/// What follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output<N, S> {
    /// From here on the box is at that node, wherever it was before.
    Moved {
        /// The box's session.
        session: S,
        /// Where it is.
        node: N,
    },
    /// No node has the box any more that fell silent while it had.
    Lost {
        /// The box's session.
        session: S,
        /// Who had it.
        node: N,
    },
    /// A node has fallen silent.
    Silent {
        /// The node.
        node: N,
    },
}

/// What [`Presence::poll_timeout`] waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A node has been silent for too long.
    NodeOverdue,
    /// A claim was not repeated.
    ClaimOver,
}

#[derive(Debug, Clone, Copy)]
struct Claim<N> {
    node: N,
    epoch: u64,
    /// When it is over; never, for this node's own.
    until: Option<Instant>,
}

/// The machine.
#[derive(Debug)]
pub struct Presence<N, S> {
    config: Config,
    own: N,
    /// Until when each other node is believed to be there.
    nodes: BTreeMap<N, Instant>,
    claims: BTreeMap<S, Claim<N>>,
    outputs: VecDeque<Output<N, S>>,
}

impl<N: Copy + Ord, S: Copy + Ord> Presence<N, S> {
    /// What the node `own` knows at first: nothing.
    pub fn new(config: Config, own: N) -> Self {
        Self {
            config,
            own,
            nodes: BTreeMap::new(),
            claims: BTreeMap::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Takes in what happened.
    pub fn handle(&mut self, input: Input<N, S>, now: Instant) {
        match input {
            Input::Came { session, at_ms } => {
                let known = self.claims.get(&session).map_or(0, |claim| claim.epoch);
                let claim = Claim {
                    node: self.own,
                    epoch: at_ms.max(known.saturating_add(1)),
                    until: None,
                };
                self.claims.insert(session, claim);
            }
            Input::Went { session } => self.release(self.own, session),
            Input::Beat { node } => self.on_beat(node, now),
            Input::Held { node, session, epoch } => {
                self.on_beat(node, now);
                self.on_held(node, session, epoch, now);
            }
            Input::Released { node, session } => {
                self.on_beat(node, now);
                self.release(node, session);
            }
            Input::Timeout => self.on_timeout(now),
        }
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output<N, S>> {
        self.outputs.pop_front()
    }

    /// When [`Input::Timeout`] is due, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        let nodes = self.nodes.values().map(|until| (*until, Reason::NodeOverdue));
        let claims = self
            .claims
            .values()
            .filter_map(|claim| Some((claim.until?, Reason::ClaimOver)));
        nodes.chain(claims).min_by_key(|(due, _)| *due)
    }

    /// Which node has a box, and the epoch of its claim.
    pub fn holder(&self, session: S) -> Option<(N, u64)> {
        self.claims.get(&session).map(|claim| (claim.node, claim.epoch))
    }

    /// The other nodes that are there.
    pub fn others(&self) -> impl Iterator<Item = N> {
        self.nodes.keys().copied()
    }

    fn on_beat(&mut self, node: N, now: Instant) {
        if node != self.own {
            self.nodes.insert(node, now + self.config.node);
        }
    }

    fn on_held(&mut self, node: N, session: S, epoch: u64, now: Instant) {
        if node == self.own {
            return;
        }
        let known = self.claims.get(&session).map(|claim| (claim.epoch, claim.node));
        if known.is_some_and(|known| known > (epoch, node)) {
            return;
        }
        let until = Some(now + self.config.claim);
        self.claims.insert(session, Claim { node, epoch, until });
        if known.map(|(_, before)| before) != Some(node) {
            self.outputs.push_back(Output::Moved { session, node });
        }
    }

    fn release(&mut self, node: N, session: S) {
        if self.claims.get(&session).is_some_and(|claim| claim.node == node) {
            self.claims.remove(&session);
        }
    }

    fn on_timeout(&mut self, now: Instant) {
        let Self {
            nodes, claims, outputs, ..
        } = self;
        let is_there = |until: &Instant| *until > now;
        for (node, _) in nodes.extract_if(.., |_, until| !is_there(until)) {
            outputs.push_back(Output::Silent { node });
        }
        let over = |claim: &Claim<N>| {
            claim
                .until
                .is_some_and(|until| until <= now || !nodes.contains_key(&claim.node))
        };
        for (session, claim) in claims.extract_if(.., |_, claim| over(claim)) {
            let node = claim.node;
            outputs.push_back(Output::Lost { session, node });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOX: u8 = 7;

    fn outputs(presence: &mut Presence<char, u8>) -> Vec<Output<char, u8>> {
        std::iter::from_fn(|| presence.poll_output()).collect()
    }

    fn held(node: char, epoch: u64) -> Input<char, u8> {
        let session = BOX;
        Input::Held { node, session, epoch }
    }

    #[test]
    fn box_that_comes_to_another_node_is_there_from_then_on() {
        let now = Instant::now();
        let mut presence = Presence::new(Config::default(), 'a');
        let came = |at_ms| Input::Came { session: BOX, at_ms };
        presence.handle(came(100), now);
        assert_eq!(presence.holder(BOX), Some(('a', 100)));
        presence.handle(held('b', 99), now);
        assert_eq!(presence.holder(BOX), Some(('a', 100)), "an older claim");
        presence.handle(held('b', 101), now);
        assert_eq!(
            outputs(&mut presence),
            [Output::Moved {
                session: BOX,
                node: 'b'
            }]
        );
        presence.handle(held('b', 101), now);
        presence.handle(Input::Went { session: BOX }, now);
        assert_eq!(presence.holder(BOX), Some(('b', 101)), "what it left here it left late");
        // It comes back, to a node whose clock is behind.
        presence.handle(came(1), now);
        assert_eq!(presence.holder(BOX), Some(('a', 102)));
        assert_eq!(outputs(&mut presence), []);
    }

    #[test]
    fn node_that_falls_silent_has_no_box_any_more() {
        let (now, config) = (Instant::now(), Config::default());
        let mut presence = Presence::new(config, 'a');
        presence.handle(held('b', 1), now);
        outputs(&mut presence);
        let (due, _) = presence.poll_timeout().unwrap();
        assert_eq!(due, now + config.node);
        presence.handle(Input::Beat { node: 'b' }, due);
        presence.handle(Input::Timeout, due);
        assert_eq!(outputs(&mut presence), []);
        let due = due + config.node;
        presence.handle(Input::Timeout, due);
        let lost = Output::Lost {
            session: BOX,
            node: 'b',
        };
        assert_eq!(outputs(&mut presence), [Output::Silent { node: 'b' }, lost]);
        assert_eq!((presence.holder(BOX), presence.others().count()), (None, 0));
    }

    #[test]
    fn claim_that_is_not_repeated_ends_though_its_node_lives() {
        let (mut now, config) = (Instant::now(), Config::default());
        let mut presence = Presence::new(config, 'a');
        presence.handle(held('b', 1), now);
        let end = now + config.claim;
        while now < end {
            now += Duration::from_secs(1);
            presence.handle(Input::Beat { node: 'b' }, now);
            presence.handle(Input::Timeout, now);
        }
        assert_eq!((presence.holder(BOX), presence.others().count()), (None, 1));
        presence.handle(held('b', 1), now);
        presence.handle(
            Input::Released {
                node: 'b',
                session: BOX,
            },
            now,
        );
        assert_eq!(presence.holder(BOX), None);
    }

    proptest! {
        #[test]
        fn all_nodes_agree_in_whatever_order_they_hear(
            claims in prop::collection::btree_set((0_u64..5, 0_u8..4), 1..10),
            seed in any::<u64>(),
        ) {
            let now = Instant::now();
            let heard = |order: &[(u64, u8)]| {
                let mut presence = Presence::new(Config::default(), 255_u8);
                for (epoch, node) in order {
                    presence.handle(Input::Held { node: *node, session: BOX, epoch: *epoch }, now);
                }
                presence.holder(BOX)
            };
            let sorted: Vec<_> = claims.into_iter().collect();
            let mut shuffled = sorted.clone();
            shuffled.sort_by_key(|(epoch, node)| (seed ^ (epoch << 3) ^ u64::from(*node)).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            prop_assert_eq!(heard(&sorted), heard(&shuffled));
        }
    }
}
