//! What a viewer's RTCP says.

use rtc_rtcp::{
    packet,
    payload_feedbacks::{
        full_intra_request::FullIntraRequest, picture_loss_indication::PictureLossIndication,
        receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate,
    },
    receiver_report::ReceiverReport,
    reception_report::ReceptionReport,
    sender_report::SenderReport,
    transport_feedbacks::transport_layer_nack::TransportLayerNack,
};

/// Numbers one NACK may name; what lacks more needs a keyframe anyway.
const MAX_NACK: usize = 256;

/// One thing a viewer told us about its reception.
#[derive(Debug, Clone, PartialEq)]
pub enum Feedback {
    /// Its decoder needs an IDR (PLI or FIR).
    KeyframeRequest,
    /// These sequence numbers did not come.
    Missing(Vec<u16>),
    /// A reception report about our stream.
    Report {
        /// Part of the packets lost since the report before, in 1/256.
        fraction_lost: u8,
        /// Packets lost since the start.
        total_lost: u32,
    },
    /// It believes it can take so many bits per second (REMB).
    Estimate(f32),
}

/// Reads a compound packet, as far as it is about `ssrc`. What can't be read is left out.
pub(crate) fn parse(mut compound: &[u8], ssrc: u32) -> Vec<Feedback> {
    let mut feedback = Vec::new();
    for packet in packet::unmarshal(&mut compound).unwrap_or_default() {
        let packet = packet.as_any();
        if let Some(report) = packet.downcast_ref::<ReceiverReport>() {
            feedback.extend(reports(&report.reports, ssrc));
        } else if let Some(report) = packet.downcast_ref::<SenderReport>() {
            feedback.extend(reports(&report.reports, ssrc));
        } else if let Some(nack) = packet.downcast_ref::<TransportLayerNack>() {
            let missing = nack
                .nacks
                .iter()
                .flat_map(|pair| pair.into_iter())
                .take(MAX_NACK)
                .collect();
            feedback.push(Feedback::Missing(missing));
        } else if packet.is::<PictureLossIndication>() || packet.is::<FullIntraRequest>() {
            feedback.push(Feedback::KeyframeRequest);
        } else if let Some(estimate) = packet.downcast_ref::<ReceiverEstimatedMaximumBitrate>() {
            feedback.push(Feedback::Estimate(estimate.bitrate));
        }
    }
    feedback
}

fn reports(reports: &[ReceptionReport], ssrc: u32) -> impl Iterator<Item = Feedback> {
    reports
        .iter()
        .filter(move |report| report.ssrc == ssrc)
        .map(|report| Feedback::Report {
            fraction_lost: report.fraction_lost,
            total_lost: report.total_lost,
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_compound_packet_is_read_in_full() {
        let compound = [
            &[0x81, 201, 0, 7, 0, 0, 0, 1, 0, 0, 0, 7, 64, 0, 0, 5][..],
            &[0; 16],
            &[0x81, 205, 0, 3, 0, 0, 0, 1, 0, 0, 0, 7, 0, 10, 0, 0b101],
            &[0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 7],
        ]
        .concat();
        assert_eq!(
            parse(&compound, 7),
            [
                Feedback::Report {
                    fraction_lost: 64,
                    total_lost: 5
                },
                Feedback::Missing(vec![10, 11, 13]),
                Feedback::KeyframeRequest,
            ]
        );
        assert!(
            !parse(&compound, 8)
                .iter()
                .any(|feedback| matches!(feedback, Feedback::Report { .. }))
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 200u8..208) {
            let mut bytes = bytes;
            parse(&bytes, 1);
            if bytes.len() >= 4 {
                bytes[0] = bytes[0] & 0x3f | 0x80;
                bytes[1] = kind;
                let words = u16::try_from(bytes.len() / 4 - 1).unwrap();
                bytes[2..4].copy_from_slice(&words.to_be_bytes());
                parse(&bytes, 1);
            }
        }
    }
}
