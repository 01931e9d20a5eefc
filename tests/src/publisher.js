// A publisher in a page (WHIP): paints columns of colours, and a corner that moves, and sends that.
window.publisher = {
  colours: ["#ff0000", "#00ff00", "#0000ff", "#ffff00", "#336699"],

  paint() {
    const canvas = Object.assign(document.createElement("canvas"), { width: 640, height: 360 });
    const context = canvas.getContext("2d");
    let turn = 0;
    publisher.painting = setInterval(() => {
      publisher.colours.forEach((colour, column) => {
        context.fillStyle = colour;
        context.fillRect(column * 128, 0, 128, 360);
      });
      context.fillStyle = turn++ % 2 ? "#ffffff" : "#000000";
      context.fillRect(0, 0, 32, 32);
    }, 40);
    return canvas.captureStream(25);
  },

  // Publishes to `path`, with sound as a browser has it; the answer's status, or that of a refusal.
  async start(path, token) {
    const peer = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    const sound = new AudioContext().createMediaStreamDestination().stream;
    peer.addTransceiver(sound.getAudioTracks()[0], { direction: "sendonly" });
    peer.addTransceiver(publisher.paint().getVideoTracks()[0], { direction: "sendonly" });
    await peer.setLocalDescription();
    const headers = { "content-type": "application/sdp" };
    if (token) headers.authorization = `Bearer ${token}`;
    const answer = await fetch(path, { method: "POST", headers, body: peer.localDescription.sdp });
    if (answer.status !== 201) {
      peer.close();
      return answer.status;
    }
    Object.assign(publisher, { peer, headers, session: answer.headers.get("location") });
    await peer.setRemoteDescription({ type: "answer", sdp: await answer.text() });
    return answer.status;
  },

  state: () => publisher.peer?.connectionState,

  // What it sends, in RTCOutboundRtpStreamStats's words.
  async sent() {
    const stats = [...(await publisher.peer.getStats()).values()];
    const video = stats.find(({ type, kind }) => type === "outbound-rtp" && kind === "video");
    const pair = stats.find(({ type, nominated }) => type === "candidate-pair" && nominated);
    return { ...video, estimate: pair?.availableOutgoingBitrate };
  },

  // Begins ICE anew, as on another network; the answer's status.
  async restart() {
    const offer = await publisher.peer.createOffer({ iceRestart: true });
    await publisher.peer.setLocalDescription(offer);
    const lines = publisher.peer.localDescription.sdp.split("\r\n");
    const wanted = /^a=(ice-ufrag|ice-pwd|candidate|mid):|^m=/;
    const body = lines.filter((line) => wanted.test(line)).join("\r\n") + "\r\n";
    const headers = { ...publisher.headers, "content-type": "application/trickle-ice-sdpfrag", "if-match": "*" };
    const answer = await fetch(publisher.session, { method: "PATCH", headers, body });
    if (answer.status !== 200) return answer.status;
    const told = await answer.text();
    const value = (key) => told.match(new RegExp(`a=${key}:(\\S+)`))[1];
    const before = publisher.peer.remoteDescription.sdp;
    const sdp = before
      .replace(/a=ice-ufrag:\S+/g, `a=ice-ufrag:${value("ice-ufrag")}`)
      .replace(/a=ice-pwd:\S+/g, `a=ice-pwd:${value("ice-pwd")}`);
    await publisher.peer.setRemoteDescription({ type: "answer", sdp });
    return answer.status;
  },

  // Says good-bye; the answer's status.
  async stop() {
    const { status } = await fetch(publisher.session, { method: "DELETE", headers: publisher.headers });
    clearInterval(publisher.painting);
    publisher.peer.close();
    return status;
  },
};
