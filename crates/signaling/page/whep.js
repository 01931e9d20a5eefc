// A WHEP client (draft-ietf-wish-whep, RFC 9725 for ICE): one object per session. It speaks HTTP and WebRTC and decides
// nothing; what to do when is player.js's.

const FRAGMENT = "application/trickle-ice-sdpfrag";

/** A POST may wait 3 s for a source that it has just woken up; everything else is answered at once. */
const JOIN_TIMEOUT = 8000;
const REQUEST_TIMEOUT = 2000;

/** How long an ICE restart waits for candidates before it goes with those there are. */
const GATHERING_TIMEOUT = 300;

/** The server said no: `message` is its reason, `retryAfter` what it asks for in milliseconds, if it does. */
export class Refused extends Error {
  constructor(message, status, retryAfter) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

export class WhepSession {
  #pc;
  #etag = null;
  #answer = null;
  /** Candidates not sent yet. */
  #candidates = [];
  #sending = false;
  /** The restart under way. */
  #restarting = null;
  #closed = false;

  /** The session's URL; what DELETE ends. */
  url = null;

  /**
   * Opens a session.
   * @param {URL} endpoint
   * @param {{onStream: (stream: MediaStream) => void, onTransport: (state: string) => void}} handlers
   * @throws {Refused} the server said no
   * @throws {Error} no answer came, or one that makes no sense
   */
  static async open(endpoint, handlers) {
    const session = new WhepSession(handlers);
    try {
      await session.#open(endpoint);
      return session;
    } catch (error) {
      session.close();
      throw error;
    }
  }

  constructor({ onStream, onTransport }) {
    this.#pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    this.#pc.addTransceiver("video", { direction: "recvonly" });
    this.#pc.ontrack = ({ streams, track }) => onStream(streams[0] ?? new MediaStream([track]));
    this.#pc.onconnectionstatechange = () => onTransport(this.#pc.connectionState);
    this.#pc.onicecandidate = ({ candidate }) => {
      if (candidate?.candidate) this.#candidates.push(candidate.candidate);
      this.#trickle();
    };
  }

  async #open(endpoint) {
    const offer = await this.#pc.createOffer();
    const response = await fetch(endpoint, {
      method: "POST",
      headers: { "Content-Type": "application/sdp" },
      body: offer.sdp,
      signal: AbortSignal.timeout(JOIN_TIMEOUT),
    });
    if (response.status !== 201) throw await refusal(response);
    this.url = new URL(response.headers.get("Location"), response.url);
    this.#etag = response.headers.get("ETag");
    this.#answer = await response.text();
    // Gathering starts with the local description, so the servers have to be known before it.
    this.#pc.setConfiguration({ bundlePolicy: "max-bundle", iceServers: iceServers(response.headers.get("Link")) });
    await this.#pc.setLocalDescription(offer);
    await this.#pc.setRemoteDescription({ type: "answer", sdp: this.#answer });
    this.#trickle();
  }

  /**
   * Restarts ICE in this session: new credentials and candidates both ways, the same keys and media. One that fails is
   * taken back, and the session goes on as it was.
   * @throws {Refused} the server said no
   * @throws {Error} no answer came, or one that makes no sense
   */
  restart() {
    // One at a time: a second is the first.
    this.#restarting ??= this.#tryRestart().finally(() => (this.#restarting = null));
    return this.#restarting;
  }

  async #tryRestart() {
    this.#candidates = [];
    await this.#pc.setLocalDescription(await this.#pc.createOffer({ iceRestart: true }));
    try {
      await this.#restart();
    } catch (error) {
      this.#candidates = [];
      if (this.#pc.signalingState === "have-local-offer") await this.#pc.setLocalDescription({ type: "rollback" });
      throw error;
    }
    this.#trickle();
  }

  async #restart() {
    await this.#gathered();
    const response = await this.#patch("*", this.#candidates.splice(0));
    if (response.status !== 200) throw await refusal(response);
    const answer = withIce(this.#answer, await response.text());
    await this.#pc.setRemoteDescription({ type: "answer", sdp: answer });
    this.#etag = response.headers.get("ETag");
    this.#answer = answer;
  }

  /** What the server knows it by. */
  get id() {
    return this.url.pathname.split("/").pop();
  }

  /** Pictures decoded so far, and their size. */
  async decoded() {
    const stats = await this.#pc.getStats();
    for (const report of stats.values()) {
      if (report.type === "inbound-rtp" && report.kind === "video") {
        return { frames: report.framesDecoded ?? 0, width: report.frameWidth ?? 0, height: report.frameHeight ?? 0 };
      }
    }
    return { frames: 0, width: 0, height: 0 };
  }

  /** Ends the session, also while the page is being left. */
  close() {
    if (this.#closed) return;
    this.#closed = true;
    this.#pc.close();
    // Nobody is left to care for the answer: what is not deleted the server finds by itself.
    if (this.url) fetch(this.url, { method: "DELETE", keepalive: true }).catch(() => {});
  }

  /** Sends the candidates that have come up, in one request at a time. Losing them costs nothing but a path. */
  async #trickle() {
    if (this.#sending || this.#closed || !this.#etag || this.#pc.signalingState !== "stable") return;
    if (this.#candidates.length === 0) return;
    this.#sending = true;
    try {
      await this.#patch(this.#etag, this.#candidates.splice(0));
    } catch (error) {
      console.debug("trickle:", error);
    } finally {
      this.#sending = false;
    }
    this.#trickle();
  }

  #patch(ifMatch, candidates) {
    return fetch(this.url, {
      method: "PATCH",
      headers: { "Content-Type": FRAGMENT, "If-Match": ifMatch },
      body: fragment(this.#pc.localDescription.sdp, candidates),
      signal: AbortSignal.timeout(REQUEST_TIMEOUT),
    });
  }

  #gathered() {
    if (this.#pc.iceGatheringState === "complete") return Promise.resolve();
    return new Promise((resolve) => {
      setTimeout(resolve, GATHERING_TIMEOUT);
      this.#pc.addEventListener("icegatheringstatechange", () => {
        if (this.#pc.iceGatheringState === "complete") resolve();
      });
    });
  }
}

/** Makes an error of a response that is none we wanted. */
async function refusal(response) {
  const retryAfter = Number.parseFloat(response.headers.get("Retry-After"));
  const problem = await response.json().catch(() => ({}));
  return new Refused(
    problem.detail ?? `The server answered ${response.status} ${response.statusText}`.trim(),
    response.status,
    Number.isFinite(retryAfter) ? retryAfter * 1000 : null,
  );
}

/** An SDP fragment (RFC 8840): the first m-section of `sdp`, its credentials and `candidates`. */
function fragment(sdp, candidates) {
  const line = (pattern) => sdp.match(pattern)?.[0].trim();
  const lines = [
    line(/^a=group:BUNDLE.*$/m),
    line(/^m=.*$/m),
    line(/^a=mid:.*$/m),
    line(/^a=ice-ufrag:.*$/m),
    line(/^a=ice-pwd:.*$/m),
    ...candidates.map((candidate) => `a=${candidate}`),
  ];
  return `${lines.filter(Boolean).join("\r\n")}\r\n`;
}

/** `answer` with the ICE credentials and candidates of `fragment` in place of its own. */
function withIce(answer, fragment) {
  const fresh = fragment.split(/\r?\n/).filter((line) => /^a=(ice-ufrag|ice-pwd|candidate|end-of-candidates)/.test(line));
  const kept = answer.split(/\r?\n/).filter((line) => !/^a=(ice-ufrag|ice-pwd|candidate|end-of-candidates)/.test(line));
  const mid = kept.findIndex((line) => line.startsWith("a=mid:"));
  kept.splice(mid + 1, 0, ...fresh);
  return kept.join("\r\n");
}

/** The ICE servers of a `Link` header (RFC 9725, section 4.6). */
function iceServers(link) {
  const entries = link?.matchAll(/<([^>]+)>((?:\s*;\s*[\w-]+=(?:"(?:[^"\\]|\\.)*"|[^",;\s]+))*)/g) ?? [];
  const servers = [];
  for (const [, urls, rest] of entries) {
    const parameters = {};
    for (const [, name, quoted, plain] of rest.matchAll(/([\w-]+)=(?:"((?:[^"\\]|\\.)*)"|([^",;\s]+))/g)) {
      parameters[name] = quoted?.replace(/\\(.)/g, "$1") ?? plain;
    }
    if (parameters.rel !== "ice-server") continue;
    servers.push({ urls, username: parameters.username, credential: parameters.credential });
  }
  return servers;
}
