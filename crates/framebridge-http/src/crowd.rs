//! Counts open connections, and chooses which one to close when there are too many.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use tokio::task::AbortHandle;

use crate::{places::Client, watched::Activity};

/// Connections served at once. A page holds one or two.
const MAX_CONNECTIONS: usize = 2048;

/// Descriptors that are for other things than connections: sockets between the processes, media, files.
const OTHER_DESCRIPTORS: u64 = 256;

/// With fewer descriptors it is not worth serving anything.
const MIN_CONNECTIONS: usize = 64;

/// One in so many is kept for peers on this machine: the supervisor's probe has to get through whatever others do.
const LOCAL_SHARE: usize = 8;

/// Connections of one address: a hundred viewers behind one NAT, with two each, are fine; one stranger has a seventh of all.
pub const MAX_PER_ADDRESS: usize = 256;

/// How many there may be where a process may have so many descriptors; `None`: any number.
pub(crate) fn most_connections(descriptors: Option<u64>) -> usize {
    let left = descriptors.map_or(u64::MAX, |descriptors| descriptors.saturating_sub(OTHER_DESCRIPTORS));
    usize::try_from(left)
        .unwrap_or(usize::MAX)
        .clamp(MIN_CONNECTIONS, MAX_CONNECTIONS)
}

/// All connections, by whose they are.
#[derive(Debug)]
pub(crate) struct Crowd {
    all: usize,
    each: usize,
    count: usize,
    next: u64,
    members: BTreeMap<Option<IpAddr>, BTreeMap<u64, Member>>,
}

#[derive(Debug)]
struct Member {
    activity: Arc<Activity>,
    /// Once it is served.
    task: Option<AbortHandle>,
}

/// A connection's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seat {
    whose: Option<IpAddr>,
    number: u64,
}

impl Crowd {
    /// `all` connections, `each` of one address. Peers on this machine may have all of them, and an eighth of them only they.
    pub(crate) fn new(all: usize, each: usize) -> Self {
        Self {
            all,
            each,
            count: 0,
            next: 0,
            members: BTreeMap::new(),
        }
    }

    /// Lets a connection in, if there is a place or another one goes for it: of one address that has too many the most
    /// dispensable, else of whoever has far more than it.
    pub(crate) fn admit(&mut self, client: Client, activity: Arc<Activity>) -> Option<Seat> {
        let Client(whose) = client;
        let mine = self.members.get(&whose).map_or(0, BTreeMap::len);
        let is_local = whose.is_none();
        let room = if is_local {
            self.all
        } else {
            self.all - self.all / LOCAL_SHARE
        };
        if !is_local && mine >= self.each {
            self.dismiss(whose);
        } else if self.count >= room {
            let (most, heaviest) = self
                .members
                .iter()
                .map(|(whose, members)| (members.len(), *whose))
                .max()?;
            if most <= mine + 1 {
                return None;
            }
            self.dismiss(heaviest);
        }
        let number = self.next;
        self.next += 1;
        self.count += 1;
        let member = Member { activity, task: None };
        self.members.entry(whose).or_default().insert(number, member);
        Some(Seat { whose, number })
    }

    /// Says by which task a connection is served.
    pub(crate) fn serve(&mut self, seat: Seat, task: AbortHandle) {
        let member = self
            .members
            .get_mut(&seat.whose)
            .and_then(|all| all.get_mut(&seat.number));
        // One that is not there has ended already.
        if let Some(member) = member {
            member.task = Some(task);
        }
    }

    /// A connection has ended.
    pub(crate) fn leave(&mut self, seat: Seat) {
        let Some(members) = self.members.get_mut(&seat.whose) else {
            return;
        };
        if members.remove(&seat.number).is_some() {
            self.count -= 1;
        }
        if members.is_empty() {
            self.members.remove(&seat.whose);
        }
    }

    /// The most dispensable connection of one address ends.
    fn dismiss(&mut self, whose: Option<IpAddr>) {
        let Some(members) = self.members.get(&whose) else {
            return;
        };
        let dispensable = members.iter().min_by_key(|(_, member)| member.activity.worth());
        let Some((&number, member)) = dispensable else { return };
        if let Some(task) = &member.task {
            task.abort();
        }
        self.leave(Seat { whose, number });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRANGER: Client = Client(Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1))));
    const OTHER: Client = Client(Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2))));
    const HERE: Client = Client(None);

    fn admitted(crowd: &mut Crowd, client: Client, times: usize) -> Vec<Seat> {
        (0..times)
            .filter_map(|_| crowd.admit(client, Activity::new()))
            .collect()
    }

    fn has(crowd: &Crowd, client: Client) -> usize {
        crowd.members.get(&client.0).map_or(0, BTreeMap::len)
    }

    #[test]
    fn there_are_fewer_connections_than_descriptors() {
        for (descriptors, most) in [
            (None, 2048),
            (Some(65_536), 2048),
            (Some(2_304), 2048),
            (Some(1_024), 768),
            (Some(300), 64),
            (Some(0), 64),
        ] {
            assert_eq!(most_connections(descriptors), most, "{descriptors:?}");
        }
    }

    #[test]
    fn the_newest_of_an_address_that_has_too_many_gets_in_and_others_lose_nothing() {
        let mut crowd = Crowd::new(80, 10);
        admitted(&mut crowd, OTHER, 3);
        let seats = admitted(&mut crowd, STRANGER, 25);
        assert_eq!(seats.len(), 25);
        assert_eq!((has(&crowd, STRANGER), has(&crowd, OTHER), crowd.count), (10, 3, 13));
        assert!(crowd.members[&STRANGER.0].contains_key(&seats[24].number));
        assert!(!crowd.members[&STRANGER.0].contains_key(&seats[14].number));
        for seat in seats {
            crowd.leave(seat);
        }
        assert_eq!((has(&crowd, STRANGER), crowd.count), (0, 3));
    }

    #[test]
    fn a_connection_that_has_taken_an_answer_outlives_those_that_have_taken_none() {
        let mut crowd = Crowd::new(80, 10);
        let answered = Activity::new();
        let seat = crowd.admit(STRANGER, Arc::clone(&answered)).unwrap();
        answered.note();
        admitted(&mut crowd, STRANGER, 100);
        assert!(crowd.members[&STRANGER.0].contains_key(&seat.number));
    }

    #[test]
    fn this_machine_gets_in_whatever_others_have_taken_and_newcomers_while_one_has_far_more() {
        let mut crowd = Crowd::new(80, 70);
        assert_eq!(admitted(&mut crowd, STRANGER, 70).len(), 70);
        assert_eq!(admitted(&mut crowd, OTHER, 60).len(), 35);
        // Both are left with a half of what is not kept for this machine.
        assert_eq!((has(&crowd, STRANGER), has(&crowd, OTHER)), (35, 35));
        assert_eq!(admitted(&mut crowd, HERE, 10).len(), 10);
        assert_eq!((has(&crowd, STRANGER), has(&crowd, OTHER)), (35, 35));
        assert_eq!(crowd.count, 80);
    }

    #[test]
    fn a_full_house_of_small_parties_admits_nobody() {
        let mut crowd = Crowd::new(8, 4);
        for last in 1..=7 {
            let client = Client(Some(IpAddr::from([192, 0, 2, last])));
            assert!(crowd.admit(client, Activity::new()).is_some());
        }
        assert_eq!(
            crowd.admit(Client(Some(IpAddr::from([192, 0, 2, 9]))), Activity::new()),
            None
        );
        assert!(crowd.admit(HERE, Activity::new()).is_some());
    }
}
