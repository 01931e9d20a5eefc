//! Stores shared addresses.

use framebridge_daemon::unix_ms;
use framebridge_proto::StreamName;
use framebridge_studio_proto::{Access, PublicId};
use rusqlite::{OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};

use super::{Store, StoreError, id, odd, signed, unsigned};

/// Shared addresses of one box that may be good at once.
pub(crate) const MOST_SHARES: u32 = 256;

/// Addresses of one box that have ended and are kept all the same, so that no node takes one for new. Past it the first to end are
/// forgotten: a box may share and take back as often as it likes.
const MOST_ENDED: u32 = 1024;

/// What is kept of a share's address: a hash of its last part, by which it is found and which opens nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ShareHash(String);

impl ShareHash {
    /// Of an address whose last part is `id`: 128 random bits, so that a plain hash tells nothing of them.
    pub(crate) fn of(id: PublicId) -> Self {
        Self(framebridge_auth::hash(&id.to_string()).to_hex())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A shared address. It ended when its time was up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ShareRow {
    pub(crate) hash: ShareHash,
    pub(crate) session: PublicId,
    pub(crate) access: Access,
    pub(crate) expires_ms: Option<u64>,
}

impl Store {
    /// Keeps a new share; false if too many are good already.
    pub(crate) async fn add_share(&self, share: ShareRow) -> Result<bool, StoreError> {
        self.aside("add a share", move |db| {
            db.execute(
                "DELETE FROM shares WHERE hash IN (SELECT hash FROM shares WHERE session = ?1 AND expires_ms <= ?2
                 ORDER BY expires_ms DESC LIMIT -1 OFFSET ?3)",
                params![share.session.to_string(), signed(unix_ms()), MOST_ENDED],
            )?;
            let added = db.execute(
                "INSERT INTO shares (hash, session, stream, control, expires_ms) SELECT ?1, ?2, ?3, ?4, ?5
                 WHERE (SELECT count(*) FROM shares WHERE session = ?2 AND (expires_ms IS NULL OR expires_ms > ?6)) < ?7",
                params![
                    share.hash.as_str(),
                    share.session.to_string(),
                    share.access.stream.map(String::from),
                    share.access.control,
                    share.expires_ms.map(signed),
                    signed(unix_ms()),
                    MOST_SHARES
                ],
            )?;
            Ok(added > 0)
        })
        .await
    }

    /// The share with this id, unless it has ended.
    pub(crate) async fn share(&self, id: PublicId) -> Result<Option<ShareRow>, StoreError> {
        self.aside("find a share", move |db| {
            db.query_row(
                "SELECT hash, session, stream, control, expires_ms FROM shares
                 WHERE hash = ?1 AND (expires_ms IS NULL OR expires_ms > ?2)",
                params![ShareHash::of(id).as_str(), signed(unix_ms())],
                share_row,
            )
            .optional()
        })
        .await
    }

    /// Ends one share of a session, or all of them; how many that were.
    pub(crate) async fn end_shares(&self, session: PublicId, share: Option<PublicId>) -> Result<u32, StoreError> {
        let ended = self
            .aside("end a share", move |db| {
                // Not forgotten yet, so that no node of the studio takes it for one that it has missed.
                db.execute(
                    "UPDATE shares SET expires_ms = ?3 WHERE session = ?1 AND (?2 IS NULL OR hash = ?2)
                     AND (expires_ms IS NULL OR expires_ms > ?3)",
                    params![
                        session.to_string(),
                        share.map(|id| ShareHash::of(id).0),
                        signed(unix_ms())
                    ],
                )
            })
            .await?;
        Ok(u32::try_from(ended).unwrap_or(u32::MAX))
    }
}

pub(super) fn share_row(row: &Row<'_>) -> rusqlite::Result<ShareRow> {
    let stream: Option<String> = row.get(2)?;
    let stream = stream
        .map(|name| name.parse::<StreamName>().map_err(|_| odd(2, &name)))
        .transpose()?;
    Ok(ShareRow {
        hash: ShareHash(row.get(0)?),
        session: id(row, 1)?,
        access: Access {
            stream,
            control: row.get(3)?,
            share: None,
        },
        expires_ms: row.get::<_, Option<i64>>(4)?.map(unsigned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn shares_end_when_they_are_told_to_or_time_is_up() {
        let dir = tempfile::tempdir().unwrap();
        let (store, session) = Store::with_a_box(dir.path()).await;
        let share = |id, expires_ms| ShareRow {
            hash: ShareHash::of(PublicId::from_bits(id)),
            session,
            access: Access {
                stream: Some("test".parse().unwrap()),
                control: true,
                share: None,
            },
            expires_ms,
        };
        for row in [
            share(2, None),
            share(3, Some(unix_ms() + 60_000)),
            share(4, Some(unix_ms() - 1)),
        ] {
            assert!(store.add_share(row).await.unwrap());
        }
        let found = async |id| store.share(PublicId::from_bits(id)).await.unwrap();
        assert_eq!(found(2).await.unwrap().access, share(2, None).access);
        assert!(found(3).await.is_some() && found(4).await.is_none() && found(5).await.is_none());
        assert_eq!(
            store.end_shares(session, Some(PublicId::from_bits(2))).await.unwrap(),
            1
        );
        assert!(found(2).await.is_none() && found(3).await.is_some());
        assert_eq!(store.end_shares(session, None).await.unwrap(), 1);
        for at in 0..=u128::from(MOST_SHARES) {
            let added = store.add_share(share(100 + at, None)).await.unwrap();
            assert_eq!(added, at < u128::from(MOST_SHARES));
        }
        store.end_shares(session, None).await.unwrap();
        for more in 0..2 * u128::from(MOST_ENDED) {
            let ended = share(10_000 + more, Some(unix_ms() - 1));
            assert!(store.add_share(ended).await.unwrap());
        }
        let kept = store.records().await.unwrap().len();
        assert!(kept <= 3 + usize::try_from(MOST_ENDED).unwrap(), "{kept} are kept");
    }
}
