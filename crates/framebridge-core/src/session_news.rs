//! What a WHEP session's viewer is told of its stream, and when (draft-ietf-wish-whep, "Server-Sent Events extension").
//!
//! | event | told |
//! | --- | --- |
//! | `active` | at first, while pictures come; then whenever they come again |
//! | `inactive` | when they come no more; never at first, but to who was told `active` over a connection before |
//! | `viewercount` | at first, and whenever it is another one |
//! | `reconnect` | once each time that the session can't be gone on with as it is |

use std::fmt;

/// What there is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Pictures come.
    Active,
    /// None come any more.
    Inactive,
    /// The viewer is to begin a new session.
    Reconnect,
    /// How many watch.
    ViewerCount,
}

impl Kind {
    /// In the draft's order.
    pub const ALL: [Self; 4] = [Self::Active, Self::Inactive, Self::Reconnect, Self::ViewerCount];

    /// As the draft writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Reconnect => "reconnect",
            Self::ViewerCount => "viewercount",
        }
    }

    fn bit(self) -> u8 {
        match self {
            Self::Active => 0b0001,
            Self::Inactive => 0b0010,
            Self::Reconnect => 0b0100,
            Self::ViewerCount => 0b1000,
        }
    }
}

/// The events that somebody wants, at least one; written as their names in the draft's order, with `-` between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    /// Every event.
    pub const ALL: Self = Self(0b1111);

    /// Those that are called so; names of none of ours are left out. `None`: nothing is left.
    pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let named = |name| Kind::ALL.into_iter().find(|kind| kind.as_str() == name);
        let bits = names
            .into_iter()
            .filter_map(named)
            .fold(0, |bits, kind| bits | kind.bit());
        (bits != 0).then_some(Self(bits))
    }

    /// What is written so, if it is.
    pub fn parse(text: &str) -> Option<Self> {
        // One name for each: what is ended by one must not go on by another.
        Self::named(text.split('-')).filter(|kinds| kinds.to_string() == text)
    }

    /// Which of all that there can be this is: below 16.
    pub fn number(self) -> u8 {
        self.0
    }

    fn has(self, kind: Kind) -> bool {
        self.0 & kind.bit() != 0
    }
}

impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wanted = Kind::ALL.into_iter().filter(|kind| self.has(*kind));
        for (at, kind) in wanted.enumerate() {
            let between = if at == 0 { "" } else { "-" };
            write!(f, "{between}{}", kind.as_str())?;
        }
        Ok(())
    }
}

/// What is seen at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Pictures come from the source.
    pub is_active: bool,
    /// How many watch.
    pub viewers: u32,
    /// The session can't be gone on with as it is: nothing of its viewer is heard, its address is gone, or it is being ended by us.
    pub is_broken: bool,
}

/// One thing to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// See [`Kind::Active`].
    Active,
    /// See [`Kind::Inactive`].
    Inactive,
    /// See [`Kind::Reconnect`].
    Reconnect,
    /// See [`Kind::ViewerCount`].
    ViewerCount(u32),
}

impl News {
    fn kind(self) -> Kind {
        match self {
            Self::Active => Kind::Active,
            Self::Inactive => Kind::Inactive,
            Self::Reconnect => Kind::Reconnect,
            Self::ViewerCount(_) => Kind::ViewerCount,
        }
    }
}

/// What one who listens knows, and is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionNews {
    wanted: Kinds,
    /// `None`: nothing was told yet.
    active: Option<bool>,
    viewers: Option<u32>,
    broken: bool,
    /// At most one of each state, count and call to reconnect.
    pending: Vec<News>,
}

impl SessionNews {
    /// For who wants these, and knows by a connection before whether the stream was `active`.
    pub fn new(wanted: Kinds, active: Option<bool>) -> Self {
        Self {
            wanted,
            active,
            viewers: None,
            broken: false,
            pending: Vec::new(),
        }
    }

    /// What is seen now. Whatever is not [taken](Self::poll_output) before the next is told as it is then.
    pub fn handle(&mut self, seen: Seen) {
        self.pending.clear();
        if self.active != Some(seen.is_active) && (seen.is_active || self.active.is_some()) {
            self.pending
                .push(if seen.is_active { News::Active } else { News::Inactive });
        }
        if self.viewers != Some(seen.viewers) {
            self.pending.push(News::ViewerCount(seen.viewers));
        }
        if seen.is_broken && !self.broken {
            self.pending.push(News::Reconnect);
        }
        self.broken &= seen.is_broken;
        // The first is taken first.
        self.pending.reverse();
    }

    /// The next thing to tell.
    pub fn poll_output(&mut self) -> Option<News> {
        while let Some(news) = self.pending.pop() {
            match news {
                News::Active => self.active = Some(true),
                News::Inactive => self.active = Some(false),
                News::Reconnect => self.broken = true,
                News::ViewerCount(viewers) => self.viewers = Some(viewers),
            }
            if self.wanted.has(news.kind()) {
                return Some(news);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(news: &mut SessionNews, is_active: bool, viewers: u32, is_broken: bool) -> Vec<News> {
        news.handle(Seen {
            is_active,
            viewers,
            is_broken,
        });
        std::iter::from_fn(|| news.poll_output()).collect()
    }

    #[test]
    fn each_change_is_told_once_and_no_inactive_at_first() {
        let mut news = SessionNews::new(Kinds::ALL, None);
        assert_eq!(told(&mut news, false, 1, false), [News::ViewerCount(1)]);
        assert_eq!(told(&mut news, true, 1, false), [News::Active]);
        assert!(told(&mut news, true, 1, false).is_empty());
        assert_eq!(told(&mut news, false, 2, false), [News::Inactive, News::ViewerCount(2)]);
        assert_eq!(told(&mut news, true, 2, true), [News::Active, News::Reconnect]);
        assert!(told(&mut news, true, 2, true).is_empty());
        assert!(told(&mut news, true, 2, false).is_empty());
        assert_eq!(told(&mut news, true, 2, true), [News::Reconnect], "it broke again");
    }

    #[test]
    fn who_comes_back_is_told_what_has_changed_meanwhile() {
        let mut back = SessionNews::new(Kinds::ALL, Some(true));
        assert_eq!(told(&mut back, false, 1, false), [News::Inactive, News::ViewerCount(1)]);
        let mut back = SessionNews::new(Kinds::ALL, Some(true));
        assert_eq!(told(&mut back, true, 1, false), [News::ViewerCount(1)]);
    }

    #[test]
    fn only_what_is_wanted_is_told() {
        let wanted = Kinds::named(["inactive", "layers"]).unwrap();
        let mut news = SessionNews::new(wanted, None);
        assert!(told(&mut news, true, 1, false).is_empty());
        assert_eq!(told(&mut news, false, 2, true), [News::Inactive]);
    }

    #[test]
    fn what_was_not_taken_is_told_as_it_is_then() {
        let mut news = SessionNews::new(Kinds::ALL, None);
        news.handle(Seen {
            is_active: true,
            viewers: 1,
            is_broken: true,
        });
        assert_eq!(told(&mut news, false, 3, false), [News::ViewerCount(3)]);
    }

    #[test]
    fn each_choice_has_one_name() {
        for number in 1..16 {
            let kinds = Kinds(number);
            assert_eq!(Kinds::parse(&kinds.to_string()), Some(kinds));
        }
        assert_eq!(Kinds::ALL.to_string(), "active-inactive-reconnect-viewercount");
        for bad in ["", "-", "inactive-active", "active-active", "active-layers", "Active"] {
            assert_eq!(Kinds::parse(bad), None, "{bad}");
        }
        assert_eq!(Kinds::named(["layers"]), None);
    }
}
