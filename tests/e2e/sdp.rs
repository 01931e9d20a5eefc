//! Offers, as a viewer would make them, and as none should.

/// A viewer's offer to receive one video, its codec given as `rtpmap` and `fmtp` values.
fn offer_of(rtpmap: &str, fmtp: &str) -> String {
    let fingerprint = ["AB"; 32].join(":");
    [
        "v=0",
        "o=- 4611731400430051336 2 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0",
        "m=video 9 UDP/TLS/RTP/SAVPF 102",
        "c=IN IP4 0.0.0.0",
        "a=rtcp:9 IN IP4 0.0.0.0",
        "a=ice-ufrag:wxyz",
        "a=ice-pwd:0123456789abcdefghijklmn",
        "a=ice-options:trickle",
        &format!("a=fingerprint:sha-256 {fingerprint}"),
        "a=setup:actpass",
        "a=mid:0",
        "a=recvonly",
        "a=rtcp-mux",
        &format!("a=rtpmap:102 {rtpmap}"),
        "a=rtcp-fb:102 nack",
        "a=rtcp-fb:102 nack pli",
        &format!("a=fmtp:102 {fmtp}"),
        "",
    ]
    .join("\r\n")
}

/// An offer that is accepted; nobody answers at its other end.
pub(crate) fn offer() -> String {
    offer_of(
        "H264/90000",
        "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
    )
}

/// An offer without H.264.
pub(crate) fn offer_without_h264() -> String {
    offer_of("VP8/90000", "max-fr=60")
}
