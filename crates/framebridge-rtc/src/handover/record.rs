//! What is kept of one viewer, as bytes.

use framebridge_proto::media::Rung;
use zeroize::Zeroizing;

use crate::{
    Keys, ReceiveState, Receives, RepairState, SessionId, TrackState, TransmitState,
    ice::{Credentials, Path},
    srtp::{MasterKey, Profile},
};

/// The version of a record's layout. Another version is passed over.
const LAYOUT: u8 = 5;

/// What is kept of a viewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) session: SessionId,
    pub(crate) stream: String,
    pub(crate) etag: String,
    /// The media section's mid, for answers to ICE restarts.
    pub(crate) mid: Option<String>,
    pub(crate) state: TransmitState,
    /// Which rung it is given.
    pub(crate) rung: Rung,
    /// It wants no better one.
    pub(crate) best: Rung,
}

impl Record {
    /// Its bytes, without what is promised apart.
    pub(super) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let TransmitState {
            local,
            remote,
            controls,
            path,
            keys,
            track,
            receives,
        } = &self.state;
        let mut out = Writer(Zeroizing::new(vec![LAYOUT]));
        out.field(self.session.to_string().as_bytes());
        out.field(self.stream.as_bytes());
        out.field(self.etag.as_bytes());
        out.field(self.mid.as_deref().unwrap_or_default().as_bytes());
        out.field(&[u8::from(self.mid.is_some())]);
        for text in [&local.ufrag, &local.password, &remote.ufrag, &remote.password] {
            out.field(text.as_bytes());
        }
        out.field(&[u8::from(*controls)]);
        out.field(&(path.socket as u64).to_le_bytes());
        out.field(path.source.map(|ip| ip.to_string()).unwrap_or_default().as_bytes());
        out.field(path.remote.to_string().as_bytes());
        out.field(&[match keys.profile {
            Profile::AeadAes128Gcm => 0,
            Profile::Aes128CmSha1 => 1,
        }]);
        for key in [&keys.send, &keys.receive] {
            out.field(&key.key);
            out.field(&key.salt);
        }
        out.field(&[track.payload_type]);
        for word in [track.ssrc, track.timestamp_offset, track.packets, track.octets] {
            out.field(&word.to_le_bytes());
        }
        match &track.repair {
            Some(repair) => {
                out.field(&repair.ssrc.to_le_bytes());
                out.field(&[repair.payload_type]);
            }
            None => (0..2).for_each(|_| out.field(&[])),
        }
        out.field(track.numbering.as_slice());
        out.field(track.playout.as_slice());
        out.field(track.capture_time.as_slice());
        out.field(self.rung.as_str().as_bytes());
        out.field(self.best.as_str().as_bytes());
        let agreed = receives.map(|state| state.receives);
        out.field(agreed.map(|agreed| agreed.payload_type).as_slice());
        out.field(agreed.and_then(|agreed| agreed.repair).as_slice());
        out.field(agreed.and_then(|agreed| agreed.numbering).as_slice());
        let streams = receives.map(|state| [state.media, state.repairs]);
        for stream in streams.unwrap_or_default() {
            match stream {
                Some((ssrc, index)) => out.field(&[&ssrc.to_le_bytes()[..], &index.to_le_bytes()].concat()),
                None => out.field(&[]),
            }
        }
        out.0
    }

    /// What [`encode`](Self::encode) has written; the indices are 0.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&LAYOUT, fields) = bytes.split_first()? else {
            return None;
        };
        let mut fields = Reader(fields);
        let session = fields.text()?.parse().ok()?;
        let (stream, etag, mid) = (
            fields.text()?.to_owned(),
            fields.text()?.to_owned(),
            fields.text()?.to_owned(),
        );
        let mid = (fields.array()? == [1]).then_some(mid);
        let mut credentials = || {
            Some(Credentials {
                ufrag: fields.text()?.to_owned(),
                password: fields.text()?.to_owned(),
            })
        };
        let (local, remote) = (credentials()?, credentials()?);
        let controls = fields.array()? == [1];
        let path = Path {
            socket: usize::try_from(u64::from_le_bytes(fields.array()?)).ok()?,
            source: match fields.text()? {
                "" => None,
                ip => Some(ip.parse().ok()?),
            },
            remote: fields.text()?.parse().ok()?,
        };
        let keys = keys(&mut fields)?;
        let [payload_type] = fields.array()?;
        let mut word = || Some(u32::from_le_bytes(fields.array()?));
        let track = TrackState {
            payload_type,
            ssrc: word()?,
            timestamp_offset: word()?,
            packets: word()?,
            octets: word()?,
            next: 0,
            rtcp_index: 0,
            repair: repair(&mut fields)?,
            numbering: extension(&mut fields)?,
            playout: extension(&mut fields)?,
            capture_time: extension(&mut fields)?,
        };
        let (rung, best) = (fields.text()?.parse().ok()?, fields.text()?.parse().ok()?);
        let receives = receives(&mut fields)?;
        fields.0.is_empty().then_some(Self {
            session,
            stream,
            etag,
            mid,
            state: TransmitState {
                local,
                remote,
                controls,
                path,
                keys,
                track,
                receives,
            },
            rung,
            best,
        })
    }
}

fn keys(fields: &mut Reader<'_>) -> Option<Keys> {
    let profile = match fields.array()? {
        [0] => Profile::AeadAes128Gcm,
        [1] => Profile::Aes128CmSha1,
        _ => return None,
    };
    let mut key = || {
        Some(MasterKey {
            key: fields.array()?,
            salt: fields.array()?,
        })
    };
    Some(Keys {
        profile,
        send: key()?,
        receive: key()?,
    })
}

/// What is sent again, if anything is; its index is promised elsewhere.
fn repair(fields: &mut Reader<'_>) -> Option<Option<RepairState>> {
    match (fields.field()?, fields.field()?) {
        ([], []) => Some(None),
        (ssrc, [payload_type]) => Some(Some(RepairState {
            ssrc: u32::from_le_bytes(ssrc.try_into().ok()?),
            payload_type: *payload_type,
            next: 0,
        })),
        _ => None,
    }
}

/// What a publisher sends, if it is one.
fn receives(fields: &mut Reader<'_>) -> Option<Option<ReceiveState>> {
    let payload_type = extension(fields)?;
    let (repair, numbering) = (extension(fields)?, extension(fields)?);
    let mut stream = || match fields.field()? {
        [] => Some(None),
        bytes => {
            let (ssrc, index) = bytes.split_first_chunk()?;
            Some(Some((
                u32::from_le_bytes(*ssrc),
                u64::from_le_bytes(index.try_into().ok()?),
            )))
        }
    };
    let (media, repairs) = (stream()?, stream()?);
    Some(payload_type.map(|payload_type| ReceiveState {
        receives: Receives {
            payload_type,
            repair,
            numbering,
        },
        media,
        repairs,
    }))
}

fn extension(fields: &mut Reader<'_>) -> Option<Option<u8>> {
    match fields.field()? {
        [] => Some(None),
        [id] => Some(Some(*id)),
        _ => None,
    }
}

/// Fields, each with its length in front.
struct Writer(Zeroizing<Vec<u8>>);

impl Writer {
    /// A field over 65,535 bytes is cut, and the record with it does not fit its place.
    fn field(&mut self, bytes: &[u8]) {
        let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&len.to_le_bytes());
        self.0.extend_from_slice(&bytes[..len.into()]);
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn field(&mut self) -> Option<&'a [u8]> {
        let (len, rest) = self.0.split_first_chunk()?;
        let (field, rest) = rest.split_at_checked(u16::from_le_bytes(*len).into())?;
        self.0 = rest;
        Some(field)
    }

    fn text(&mut self) -> Option<&'a str> {
        str::from_utf8(self.field()?).ok()
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.field()?.try_into().ok()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn record(number: u8) -> Record {
        let credentials = |name: &str| Credentials {
            ufrag: format!("{name}{number}"),
            password: "p".repeat(24),
        };
        let key = MasterKey {
            key: [number; 16],
            salt: [number + 1; 14],
        };
        Record {
            session: SessionId::random(),
            stream: "test".into(),
            etag: "tag".into(),
            mid: Some("0".into()),
            state: TransmitState {
                local: credentials("l"),
                remote: credentials("r"),
                controls: number == 2,
                path: Path {
                    socket: 1,
                    source: Some("::1".parse().unwrap()),
                    remote: "[::1]:9".parse().unwrap(),
                },
                keys: Keys {
                    profile: Profile::Aes128CmSha1,
                    send: key.clone(),
                    receive: key,
                },
                track: TrackState {
                    ssrc: 1,
                    payload_type: 102,
                    next: 70_000,
                    timestamp_offset: 2,
                    packets: 3,
                    octets: 4,
                    rtcp_index: 5,
                    repair: (number != 2).then_some(RepairState {
                        ssrc: 6,
                        payload_type: 103,
                        next: 80_000,
                    }),
                    numbering: (number != 2).then_some(3),
                    playout: (number != 2).then_some(4),
                    capture_time: (number != 2).then_some(5),
                },
                receives: (number == 3).then_some(ReceiveState {
                    receives: Receives {
                        payload_type: 102,
                        repair: Some(103),
                        numbering: None,
                    },
                    media: Some((7, 70_000)),
                    repairs: None,
                }),
            },
            rung: Rung::Half,
            best: Rung::Full,
        }
    }
}
