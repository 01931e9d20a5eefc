//! Principals: who asks, and what they may.

use std::{collections::BTreeSet, fmt, str::FromStr};

use framebridge_proto::StreamName;
use serde::{Deserialize, Serialize};

use crate::{
    UnixTime,
    token::{TokenId, TokenName},
};

/// What may be done; [`includes`](Self::includes) says which of them open others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Watch: pages, WHEP, how a stream is, its latest picture.
    View,
    /// Change how a stream is encoded, and see what has been: quality, keyframes, clips.
    Control,
    /// See and steer the whole box: status, metrics, who watches.
    Admin,
    /// Send a stream its pictures, and nothing else: an encoder's token is in a settings file, where many may read it.
    Publish,
}

/// Which streams a principal may see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Streams {
    /// All there are.
    All,
    /// These.
    Only(BTreeSet<StreamName>),
}

/// How a principal was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Somebody at this machine, or one of its own processes.
    Local,
    /// Nobody in particular: no token is asked for.
    Anyone,
    /// The holder of a token, or of a cookie that was got for it.
    Token {
        /// Which.
        id: TokenId,
        /// What its maker called it.
        name: TokenName,
    },
    /// The holder of an identity provider's JWT, or of a cookie that was got for it.
    Jwt {
        /// Who that is to the provider: the claim `sub`.
        subject: String,
    },
    /// Who opened a one-time link.
    Link {
        /// Which.
        id: String,
    },
    /// The holder of an address that was shared at a studio.
    Share,
    /// A receiver elsewhere, that an operator has the stream sent on to. It asks for nothing.
    Push {
        /// What the operator calls it.
        name: String,
    },
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// What the request carried: a token, a cookie, a share, or nothing.
    pub origin: Origin,
    /// The most that it may do, with what that scope includes.
    pub scope: Scope,
    /// The streams that the scope holds for.
    pub streams: Streams,
    /// When it ends; `None`: not by itself.
    pub expires: Option<UnixTime>,
}

/// Why a principal may not do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// Its scope is less than this one.
    Scope(Scope),
    /// It is not to know that there is such a stream.
    Stream,
}

/// A scope's name that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no scope: use view, control, publish or admin")]
pub struct InvalidScope(String);

impl Principal {
    /// Somebody at this machine, who may do everything.
    pub fn local() -> Self {
        Self {
            origin: Origin::Local,
            scope: Scope::Admin,
            streams: Streams::All,
            expires: None,
        }
    }

    /// Whoever asks without a token, where that opens `scope`.
    pub fn anyone(scope: Scope) -> Self {
        Self {
            origin: Origin::Anyone,
            scope,
            streams: Streams::All,
            expires: None,
        }
    }

    /// Who opened the one-time link `id`.
    pub fn of_link(id: String, scope: Scope, streams: Streams, expires: UnixTime) -> Self {
        Self {
            origin: Origin::Link { id },
            scope,
            streams,
            expires: Some(expires),
        }
    }

    /// The holder of an address that was shared at a studio.
    pub fn of_share(scope: Scope, streams: Streams) -> Self {
        Self {
            origin: Origin::Share,
            scope,
            streams,
            expires: None,
        }
    }

    /// The receiver `name`, that an operator has `stream` sent on to.
    pub fn of_push(name: String, stream: StreamName) -> Self {
        Self {
            origin: Origin::Push { name },
            scope: Scope::View,
            streams: Streams::only([stream]),
            expires: None,
        }
    }

    /// Whether it may do what takes `scope`, with `stream` where it is about one.
    ///
    /// # Errors
    /// It may not. A stream that it may not see comes first: what it may do there is nothing to it.
    pub fn may(&self, scope: Scope, stream: Option<&StreamName>) -> Result<(), Denied> {
        if stream.is_some_and(|stream| !self.streams.has(stream)) {
            Err(Denied::Stream)
        } else if !self.scope.includes(scope) || (scope == Scope::Publish && self.is_nobody()) {
            Err(Denied::Scope(scope))
        } else if scope == Scope::Admin && self.streams != Streams::All {
            // What takes `admin` shows all streams.
            Err(Denied::Scope(scope))
        } else {
            Ok(())
        }
    }

    /// Whether nobody knows who that is. What others are shown is not for nobody to say, however open the rest is.
    fn is_nobody(&self) -> bool {
        matches!(self.origin, Origin::Anyone | Origin::Share | Origin::Push { .. })
    }

    /// Whether it is told where sources are, and what is wrong with them in the words of what found it.
    pub fn is_operator(&self) -> bool {
        match self.origin {
            Origin::Local => true,
            Origin::Anyone | Origin::Share | Origin::Push { .. } => false,
            Origin::Token { .. } | Origin::Jwt { .. } | Origin::Link { .. } => self.may(Scope::Admin, None).is_ok(),
        }
    }

    /// Whether both are the same to whom a session belongs.
    pub fn is_same(&self, other: &Self) -> bool {
        match (&self.origin, &other.origin) {
            (Origin::Share, Origin::Share) => self.streams == other.streams && self.scope == other.scope,
            (ours, theirs) => ours == theirs,
        }
    }

    /// Whether it has ended by itself.
    pub fn has_expired(&self, now: UnixTime) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Local => f.write_str("local"),
            Origin::Anyone => f.write_str("anyone"),
            Origin::Token { name, .. } => write!(f, "token {name}"),
            Origin::Jwt { subject } => write!(f, "jwt {subject}"),
            Origin::Link { id } => write!(f, "link {id}"),
            Origin::Share => write!(f, "share ({})", self.scope),
            Origin::Push { name } => write!(f, "push {name}"),
        }
    }
}

impl Streams {
    /// These, or all if none is named.
    pub fn only(streams: impl IntoIterator<Item = StreamName>) -> Self {
        let named: BTreeSet<StreamName> = streams.into_iter().collect();
        if named.is_empty() { Self::All } else { Self::Only(named) }
    }

    /// Whether `stream` is one of them.
    pub fn has(&self, stream: &StreamName) -> bool {
        match self {
            Self::All => true,
            Self::Only(named) => named.contains(stream),
        }
    }
}

impl Scope {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::View, Self::Control, Self::Publish, Self::Admin];

    /// Whether who has this scope may do what takes `other`: `control` includes `view`, `admin` all, and `publish` nothing else.
    pub fn includes(self, other: Self) -> bool {
        match self {
            Self::View | Self::Publish => self == other,
            Self::Control => matches!(other, Self::View | Self::Control),
            Self::Admin => true,
        }
    }

    /// The one of several that opens the most. Who is named `publish` beside another gets the other: a principal has one, and
    /// whoever also watches is not kept from that.
    pub fn most(scopes: impl IntoIterator<Item = Self>) -> Option<Self> {
        let breadth = |scope: &Self| match scope {
            Self::Publish => 0,
            Self::View => 1,
            Self::Control => 2,
            Self::Admin => 3,
        };
        scopes.into_iter().max_by_key(breadth)
    }

    /// `view`, `control`, `publish` or `admin`, as files and commands spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Control => "control",
            Self::Admin => "admin",
            Self::Publish => "publish",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| InvalidScope(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream(name: &str) -> StreamName {
        name.parse().expect("a good name")
    }

    fn holder(scope: Scope, streams: &[&str]) -> Principal {
        Principal {
            scope,
            streams: Streams::only(streams.iter().map(|name| stream(name))),
            ..Principal::anyone(scope)
        }
    }

    proptest! {
        #[test]
        fn scope_opens_itself_and_what_is_less(has in 0_usize..4, wants in 0_usize..4) {
            let (has, wants) = (Scope::ALL[has], Scope::ALL[wants]);
            let known = Principal { origin: Origin::Local, ..holder(has, &[]) };
            // In the order of `ALL`, `publish` stands by itself.
            let is_open = has == wants
                || has == Scope::Admin
                || (has == Scope::Control && wants == Scope::View);
            prop_assert_eq!(known.may(wants, None), if is_open { Ok(()) } else { Err(Denied::Scope(wants)) });
        }

        #[test]
        fn stream_that_is_not_named_stays_unknown_whatever_the_scope(has in 0_usize..4, wants in 0_usize..4) {
            let holder = holder(Scope::ALL[has], &["door"]);
            prop_assert_eq!(holder.may(Scope::ALL[wants], Some(&stream("yard"))), Err(Denied::Stream));
        }
    }

    #[test]
    fn admin_of_some_streams_does_not_see_the_whole_box() {
        let some = holder(Scope::Admin, &["door"]);
        assert_eq!(some.may(Scope::Control, Some(&stream("door"))), Ok(()));
        assert_eq!(some.may(Scope::Admin, None), Err(Denied::Scope(Scope::Admin)));
        assert!(!some.is_operator());
    }

    #[test]
    fn nobody_in_particular_publishes_however_open_the_rest_is() {
        for nobody in [
            Principal::anyone(Scope::Admin),
            Principal::of_share(Scope::Admin, Streams::All),
        ] {
            assert_eq!(nobody.may(Scope::Publish, None), Err(Denied::Scope(Scope::Publish)));
        }
        assert_eq!(Principal::local().may(Scope::Publish, None), Ok(()));
    }

    #[test]
    fn words_of_operators_are_for_operators() {
        assert!(Principal::local().is_operator());
        assert!(!Principal::anyone(Scope::Admin).is_operator());
    }

    #[test]
    fn scopes_are_read_as_they_are_written() {
        for scope in Scope::ALL {
            assert_eq!(scope.to_string().parse(), Ok(scope));
        }
        assert!("root".parse::<Scope>().is_err());
    }
}
