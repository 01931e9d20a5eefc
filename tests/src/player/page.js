// A player in a page without a page's own ways: it says its offer, takes the answer, and says what it saw.
window.player = {
  // The offer, with all its candidates, of a new connection with these sections in this order: "audio", "video" (of any
  // codec), "vp8" or "data".
  async offer(kinds = ["audio", "video"], bundlePolicy = "balanced") {
    player.peer?.close();
    const peer = (player.peer = new RTCPeerConnection({ bundlePolicy }));
    for (const kind of kinds) await player.add(kind);
    await peer.setLocalDescription();
    await new Promise((done) => {
      const look = () => peer.iceGatheringState === "complete" && done();
      peer.onicegatheringstatechange = look;
      look();
    });
    return peer.localDescription.sdp;
  },

  async add(kind) {
    const { peer } = player;
    if (kind === "data") {
      peer.createDataChannel("data");
      // Otherwise its section would come last, whatever is added after it.
      return peer.setLocalDescription();
    }
    const transceiver = peer.addTransceiver(kind === "vp8" ? "video" : kind, { direction: "recvonly" });
    if (kind === "vp8") {
      const { codecs } = RTCRtpReceiver.getCapabilities("video");
      transceiver.setCodecPreferences(codecs.filter(({ mimeType }) => mimeType === "video/VP8"));
    }
  },

  async accept(sdp) {
    // Nothing is decoded that nobody looks at.
    document.querySelector("video")?.remove();
    const video = document.createElement("video");
    Object.assign(video, { muted: true, autoplay: true });
    document.body.append(video);
    player.peer.ontrack = ({ track }) => (video.srcObject = new MediaStream([track]));
    await player.peer.setRemoteDescription({ type: "answer", sdp });
  },

  // What it saw, once that is so many pictures.
  async seen(wanted) {
    const stats = [...(await player.peer.getStats()).values()];
    const played = ({ type, kind, framesDecoded }) => type === "inbound-rtp" && kind === "video" && framesDecoded >= wanted;
    const media = stats.find(played);
    if (!media) return null;
    const { srtpCipher } = stats.find(({ type, srtpCipher }) => type === "transport" && srtpCipher);
    // Chromium leaves the beginning of the name out, in some versions.
    const profile = srtpCipher.replace(/^(?!SRTP_)/, "SRTP_");
    return { width: media.frameWidth, height: media.frameHeight, profile };
  },
};
