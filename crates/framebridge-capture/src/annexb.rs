//! Takes an encoded picture apart: H.264 Annex B, ITU-T H.264 section 7.3.1 and annex B.

/// `nal_unit_type` of a coded slice of an IDR picture.
const IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;

/// NAL unit types in `payload`, in order.
pub fn nal_types(payload: &[u8]) -> impl Iterator<Item = u8> {
    payload
        .windows(4)
        .filter(|bytes| bytes[..3] == [0, 0, 1])
        .map(|bytes| bytes[3] & 0x1f)
}

/// Whether a decoder can start at this picture, which FFmpeg's key flag alone does not say.
///
/// Looks at no more than the NAL units before the first slice, so that it costs nothing on large pictures.
pub(crate) fn is_idr(payload: &[u8]) -> bool {
    nal_types(payload).find(|kind| (1..=IDR).contains(kind)) == Some(IDR)
}

/// Whether SPS and PPS come before the IDR slice, as viewers that join here need.
pub(crate) fn is_self_contained(payload: &[u8]) -> bool {
    let mut heads = nal_types(payload).take_while(|kind| !(1..=IDR).contains(kind));
    is_idr(payload) && heads.any(|kind| kind == SPS) && heads.any(|kind| kind == PPS)
}

/// What comes before the first slice: SPS and PPS, and what else there is.
pub(crate) fn heads(payload: &[u8]) -> &[u8] {
    let slice = payload
        .windows(4)
        .position(|bytes| bytes[..3] == [0, 0, 1] && (1..=IDR).contains(&(bytes[3] & 0x1f)));
    &payload[..slice.unwrap_or(payload.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idr_is_told_by_its_first_slice() {
        let idr = [0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 2, 0, 0, 1, 0x65, 3];
        assert_eq!(nal_types(&idr).collect::<Vec<_>>(), [7, 8, 5]);
        assert!(is_idr(&idr) && is_self_contained(&idr));
        assert_eq!(heads(&idr), &idr[..12]);
        assert!(!is_idr(&[0, 0, 0, 1, 0x41, 9, 0, 0, 1, 0x65]));
        assert!(is_idr(&[0, 0, 1, 0x65, 9]) && !is_self_contained(&[0, 0, 1, 0x65, 9]));
        assert!(!is_idr(&[]));
    }
}
