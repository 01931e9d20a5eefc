// A player in a page without a page's own ways: it says its offer, takes the answer, and says what it saw.
window.player = {
  peer: new RTCPeerConnection(),

  async offer() {
    const { peer } = player;
    for (const kind of ["audio", "video"]) peer.addTransceiver(kind, { direction: "recvonly" });
    const gathered = new Promise((done) => {
      peer.onicecandidate = ({ candidate }) => candidate || done();
    });
    await peer.setLocalDescription();
    await gathered;
    return peer.localDescription.sdp;
  },

  async accept(sdp) {
    // Nothing is decoded that nobody looks at.
    const video = document.createElement("video");
    Object.assign(video, { muted: true, autoplay: true });
    document.body.append(video);
    player.peer.ontrack = ({ track }) => (video.srcObject = new MediaStream([track]));
    await player.peer.setRemoteDescription({ type: "answer", sdp });
  },

  // What it saw, once that is so many pictures.
  async seen(wanted) {
    const stats = [...(await player.peer.getStats()).values()];
    const media = stats.find(({ type, kind }) => type === "inbound-rtp" && kind === "video");
    if (!(media?.framesDecoded >= wanted)) return null;
    const { srtpCipher } = stats.find(({ type }) => type === "transport");
    // Chromium leaves the beginning of the name out, in some versions.
    const profile = srtpCipher.replace(/^(?!SRTP_)/, "SRTP_");
    return { width: media.frameWidth, height: media.frameHeight, profile };
  },
};
