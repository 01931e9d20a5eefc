// A WHEP client (draft-ietf-wish-whep, RFC 9725 for ICE): one object per session. It speaks HTTP and WebRTC and decides
// nothing; what to do when is player.js's.

import { open, refusal, request } from "./http.js";

const FRAGMENT = "application/trickle-ice-sdpfrag";

/** A POST may wait 3 s for a source that it has just woken up; everything else is answered at once. */
const JOIN_TIMEOUT = 8000;

/** How long one waits for candidates before one goes with those there are. */
const GATHERING_TIMEOUT = 300;

/** How long candidates are collected before they are sent: a server that is gone is not asked for each of them. */
const TRICKLE_PAUSE = 50;

/** @typedef {{onStream: (stream: MediaStream) => void, onTransport: (state: string) => void}} Handlers */

export class WhepSession {
  /**
   * Opens a session.
   * @param {URL} endpoint
   * @param {Handlers} handlers
   * @param {string} [rung] no better one is wanted
   * @throws {import("./http.js").Refused} the server said no
   * @throws {Error} no answer came, or one that makes no sense
   */
  static async open(endpoint, handlers, rung = "full") {
    const session = new WhepSession(handlers);
    try {
      await session._open(endpoint, rung);
      return session;
    } catch (error) {
      session.close();
      throw error;
    }
  }

  /** @param {Handlers} handlers */
  constructor({ onStream, onTransport }) {
    /** The session's URL; what DELETE ends. @type {URL | null} */
    this.url = null;
    /** @type {string | null} */
    this._etag = null;
    this._answer = "";
    /** Candidates not sent yet. @type {string[]} */
    this._candidates = [];
    this._sending = false;
    /** The restart under way. @type {Promise<void> | null} */
    this._restarting = null;
    this._closed = false;
    this._pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    this._pc.addTransceiver("video", { direction: "recvonly" });
    this._pc.ontrack = ({ streams, track }) => onStream(streams[0] ?? new MediaStream([track]));
    this._pc.onconnectionstatechange = this._pc.oniceconnectionstatechange = () => onTransport(this.transport);
    this._pc.onicecandidate = ({ candidate }) => {
      if (!candidate?.candidate) return;
      this._candidates.push(candidate.candidate);
      setTimeout(() => this._trickle(), TRICKLE_PAUSE);
    };
  }

  /** @param {URL} endpoint @param {string} rung */
  async _open(endpoint, rung) {
    const offer = await this._pc.createOffer();
    const response = await open(rung === "full" ? endpoint : `${endpoint}?rung=${rung}`, offer.sdp, JOIN_TIMEOUT);
    // Below our own endpoint, whatever a proxy between makes of its path.
    const id = (response.headers.get("Location") || "").split("/").pop();
    this.url = new URL(`${endpoint.href}/${id}`);
    this._etag = response.headers.get("ETag");
    this._answer = await response.text();
    // Gathering starts with the local description, so the servers have to be known before it.
    this._pc.setConfiguration({ bundlePolicy: "max-bundle", iceServers: iceServers(response.headers.get("Link")) });
    await this._pc.setLocalDescription(offer);
    await this._pc.setRemoteDescription({ type: "answer", sdp: this._answer });
    this._trickle();
  }

  /**
   * Restarts ICE in this session: new credentials and candidates both ways, the same keys and media. One that fails is
   * taken back, and the session goes on as it was.
   * @throws {import("./http.js").Refused} the server said no
   * @throws {Error} no answer came, or one that makes no sense
   */
  restart() {
    // One at a time: a second is the first.
    if (!this._restarting) {
      this._restarting = this._tryRestart().finally(() => {
        this._restarting = null;
      });
    }
    return this._restarting;
  }

  async _tryRestart() {
    this._candidates = [];
    await this._pc.setLocalDescription(await this._pc.createOffer({ iceRestart: true }));
    try {
      await this._restart();
    } catch (error) {
      this._candidates = [];
      if (this._pc.signalingState === "have-local-offer") await this._pc.setLocalDescription({ type: "rollback" });
      throw error;
    }
    this._trickle();
  }

  async _restart() {
    await gathered(this._pc);
    const response = await this._patch("*", this._candidates.splice(0));
    if (response.status !== 200) throw await refusal(response);
    const answer = withIce(this._answer, await response.text());
    await this._pc.setRemoteDescription({ type: "answer", sdp: answer });
    this._etag = response.headers.get("ETag");
    this._answer = answer;
  }

  /** What the server knows it by. */
  get id() {
    return this.url?.pathname.split("/").pop() || "";
  }

  /** What the browser reports of the connection (getStats), its state with it. @returns {Promise<any[]>} */
  async reports() {
    /** @type {any[]} */
    const reports = [];
    (await this._pc.getStats()).forEach((report) => reports.push(report));
    return reports;
  }

  get iceServers() {
    return this._pc.getConfiguration().iceServers || [];
  }

  get transport() {
    // Firefox tells of the whole connection since 113.
    const { connectionState: whole, iceConnectionState: ice } = this._pc;
    return whole || (ice === "completed" ? "connected" : ice);
  }

  /** The server has ended it: there is nothing left to delete. */
  forget() {
    this.url = null;
  }

  /** Ends the session, also while the page is being left. */
  close() {
    if (this._closed) return;
    this._closed = true;
    this._pc.close();
    // Nobody is left to care for the answer: what is not deleted the server finds by itself.
    if (this.url) fetch(String(this.url), { method: "DELETE", keepalive: true }).catch(() => {});
  }

  /** Sends the candidates that have come up, in one request at a time. Losing them costs nothing but a path. */
  async _trickle() {
    if (this._sending || this._closed || !this._etag || this._pc.signalingState !== "stable") return;
    if (this._candidates.length === 0) return;
    this._sending = true;
    try {
      await this._patch(this._etag, this._candidates.splice(0));
    } catch {
      // What is not heard of is as good as lost.
    } finally {
      this._sending = false;
    }
    this._trickle();
  }

  /** @param {string} ifMatch @param {string[]} candidates */
  _patch(ifMatch, candidates) {
    return request(/** @type {URL} */ (this.url), {
      method: "PATCH",
      headers: { "Content-Type": FRAGMENT, "If-Match": ifMatch },
      body: fragment(this._pc.localDescription?.sdp || "", candidates),
    });
  }
}

/** Waits until a connection has all its candidates, or for long enough. @param {RTCPeerConnection} pc */
export async function gathered(pc) {
  if (pc.iceGatheringState === "complete") return;
  await new Promise((resolve) => {
    setTimeout(resolve, GATHERING_TIMEOUT);
    pc.addEventListener("icegatheringstatechange", () => pc.iceGatheringState === "complete" && resolve(null));
  });
}

/**
 * An SDP fragment (RFC 8840): the first m-section of `sdp`, its credentials and `candidates`.
 * @param {string} sdp
 * @param {string[]} candidates
 */
function fragment(sdp, candidates) {
  const line = (/** @type {RegExp} */ pattern) => sdp.match(pattern)?.[0].trim();
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

/**
 * `answer` with the ICE credentials and candidates of `fragment` in place of its own.
 * @param {string} answer
 * @param {string} fragment
 */
function withIce(answer, fragment) {
  const fresh = fragment.split(/\r?\n/).filter((line) => /^a=(ice-ufrag|ice-pwd|candidate|end-of-candidates)/.test(line));
  const kept = answer.split(/\r?\n/).filter((line) => !/^a=(ice-ufrag|ice-pwd|candidate|end-of-candidates)/.test(line));
  const mid = kept.findIndex((line) => line.startsWith("a=mid:"));
  kept.splice(mid + 1, 0, ...fresh);
  return kept.join("\r\n");
}

/**
 * The ICE servers of a `Link` header (RFC 9725, section 4.6).
 * @param {string | null} link
 */
function iceServers(link) {
  /** @type {RTCIceServer[]} */
  const servers = [];
  (link || "").replace(/<([^>]+)>((?:\s*;\s*[\w-]+=(?:"(?:[^"\\]|\\.)*"|[^",;\s]+))*)/g, (_all, urls, rest) => {
    /** @type {Record<string, string>} */
    const parameters = {};
    rest.replace(/([\w-]+)=(?:"((?:[^"\\]|\\.)*)"|([^",;\s]+))/g, (/** @type {string} */ _all, /** @type {string} */ name, /** @type {string | undefined} */ quoted, /** @type {string} */ plain) => {
      parameters[name] = quoted?.replace(/\\(.)/g, "$1") ?? plain;
      return "";
    });
    if (parameters.rel === "ice-server") servers.push({ urls, username: parameters.username, credential: parameters.credential });
    return "";
  });
  return servers;
}
