// Runs in the page under test before its own scripts: keeps what a test wants to know and the page need not tell.
window.probe = {
  // Every WHEP session this page has opened, by its Location.
  sessions: [],

  // From the POST of the first session to its first picture.
  firstFrame: () => probe.sessions[0]?.shown - probe.sessions[0]?.posted,

  video: () => document.querySelector("video"),

  // What a console would show in red, of the page's own doing.
  errors: [],

  // Every connection this page has made, the latest last.
  peers: [],

  // What the latest connection has received, in RTCInboundRtpStreamStats's words.
  async inbound() {
    const stats = await probe.peers.at(-1).getStats();
    return [...stats.values()].find(({ type, kind }) => type === "inbound-rtp" && kind === "video");
  },

  // By which protocol the latest connection's media comes.
  async protocol() {
    const stats = await probe.peers.at(-1).getStats();
    const transport = [...stats.values()].find(({ type }) => type === "transport");
    const pair = stats.get(transport?.selectedCandidatePairId);
    return stats.get(pair?.localCandidateId)?.protocol;
  },

  decoded: () => probe.video()?.getVideoPlaybackQuality().totalVideoFrames ?? 0,

  // The middle of each cell of the stamp, as a string of 0 and 1.
  cells(columns, rows, cellsPerWidth) {
    const video = probe.video();
    const edge = video.videoWidth / cellsPerWidth;
    const canvas = new OffscreenCanvas(Math.ceil(columns * edge), Math.ceil(rows * edge));
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(video, 0, 0);
    const { data, width } = context.getImageData(0, 0, canvas.width, canvas.height);
    let cells = "";
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const at = 4 * (Math.floor((row + 0.5) * edge) * width + Math.floor((column + 0.5) * edge));
        cells += data[at] + data[at + 1] + data[at + 2] >= 3 * 128 ? "1" : "0";
      }
    }
    return cells;
  },

  // The whole picture shrunk to a few pixels: enough to see whether it moves.
  thumbnail() {
    const canvas = new OffscreenCanvas(16, 9);
    const context = canvas.getContext("2d");
    context.drawImage(probe.video(), 0, 0, 16, 9);
    return Array.from(context.getImageData(0, 0, 16, 9).data).join();
  },

  // Frames decoded per second over a time.
  async rate(seconds) {
    const [frames, start] = [probe.decoded(), performance.now()];
    await new Promise((done) => setTimeout(done, seconds * 1000));
    return ((probe.decoded() - frames) * 1000) / (performance.now() - start);
  },

  // From now on notes of each picture when it is presented and what its stamp's cells say, for whoever takes it.
  record: [],
  recordStamps(...layout) {
    let followed = null;
    const look = () => {
      if (probe.record.length < 10_000) probe.record.push([Date.now(), probe.cells(...layout)]);
      probe.video()?.requestVideoFrameCallback(look);
    };
    setInterval(() => {
      // Another element has taken its place.
      if (probe.video() !== followed) (followed = probe.video())?.requestVideoFrameCallback(look);
    }, 100);
  },

  // For each of the next frames: the time at which it is presented, its stamp's cells, and how long before that it had
  // come in whole and been decoded. Ends early when none comes for a second.
  frames: (count, ...layout) =>
    new Promise((done) => {
      const seen = [];
      const end = () => done(seen);
      let patience = setTimeout(end, 1000);
      const look = (now, frame) => {
        clearTimeout(patience);
        seen.push({
          at: Date.now(),
          cells: probe.cells(...layout),
          decode: (frame.processingDuration ?? 0) * 1000,
          since_received: frame.receiveTime ? now - frame.receiveTime : 0,
        });
        if (seen.length === count) return end();
        patience = setTimeout(end, 1000);
        probe.video().requestVideoFrameCallback(look);
      };
      probe.video()?.requestVideoFrameCallback(look);
    }),
};

window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...configuration) {
    super(...configuration);
    probe.peers.push(this);
  }
};

const fetchAsItIs = window.fetch;
window.fetch = async (resource, options) => {
  const posted = performance.now();
  const response = await fetchAsItIs(resource, options);
  const location = response.headers.get("location");
  if (options?.method === "POST" && response.status === 201 && location) {
    const session = { location: new URL(location, response.url).pathname, posted };
    probe.sessions.push(session);
    probe.video()?.requestVideoFrameCallback((now) => (session.shown = now));
  }
  return response;
};

addEventListener("error", ({ message }) => message && probe.errors.push(message));
addEventListener("unhandledrejection", ({ reason }) => probe.errors.push(`unhandled: ${reason}`));
addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => probe.errors.push(`${violatedDirective}: ${blockedURI}`));
const errorAsItIs = console.error;
console.error = (...words) => {
  probe.errors.push(words.join(" "));
  errorAsItIs(...words);
};
