// The line by which a desktop is steered: two data channels (docs/protocol.md), apart from the picture's session so that neither
// minds the end of the other. It is made anew by itself for as long as it is wanted.

import { open, Refused } from "./http.js";
import { gathered } from "./whep.js";

/** Milliseconds, all of them. A line that is silent for longer than its answers take, and this, is dead: the server answers each beat at once. */
const SILENCE = 800;
/** How long one may be silent whose answers nobody has timed yet. */
const FIRST = 3000;
const BEAT = 100;
/** A beat that comes so late comes from a page that was held up itself, and has still to read what was said to it. */
const LATE = 400;
/** From an attempt that failed, or a line that never answered, to the next; after one that did it is made at once. */
const RETRY = 300;
/** How long it may take to open. */
const OPENING = 4000;
/** So much unsent on the way of moves, in bytes, is a way that is full: the next move is newer. */
const MOST_UNSENT = 4096;

export class Line {
  /**
   * @param {string} endpoint
   * @param {() => RTCIceServer[]} servers
   * @param {{opened: () => void, said: (what: string, value: any) => void, lost: () => void, refused: (why: string) => void}} owner
   */
  constructor(endpoint, servers, owner) {
    this._endpoint = endpoint;
    this._servers = servers;
    this._owner = owner;
    this._page = Math.random().toString(36).slice(2);
    this._wanted = false;
    /** @type {RTCPeerConnection | null} */
    this._pc = null;
    /** @type {RTCDataChannel[]} */
    this._channels = [];
    this._sequence = 0;
    this._heardAt = 0;
    this._patience = 0;
    this._isAnswered = false;
    this._beatAt = 0;
    setInterval(() => this._beat(), BEAT);
  }

  get isOpen() {
    return this._channels.length > 1 && this._channels.every((channel) => channel.readyState === "open");
  }

  open() {
    if (this._wanted) return;
    this._wanted = true;
    this._connect();
  }

  close() {
    this._wanted = false;
    this._drop();
  }

  /** @param {any} message */
  say(message) {
    if (this.isOpen) this._channels[0].send(JSON.stringify(message));
  }

  /** Says what is done. @param {string} kind @param {any[]} more */
  act(kind, ...more) {
    if (!this.isOpen) return;
    const lane = this._channels[kind === "move" ? 1 : 0];
    if (kind === "move" && lane.bufferedAmount > MOST_UNSENT) return;
    lane.send(JSON.stringify({ [kind]: [this._sequence++, clock(), ...more] }));
  }

  async _connect() {
    const pc = new RTCPeerConnection({ iceServers: this._servers() });
    this._pc = pc;
    this._heardAt = performance.now() + OPENING;
    this._patience = SILENCE;
    this._isAnswered = false;
    const lanes = [{ negotiated: true, id: 0 }, { negotiated: true, id: 1, ordered: false, maxRetransmits: 0 }];
    this._channels = lanes.map((options) => pc.createDataChannel("", options));
    for (const channel of this._channels) {
      channel.onopen = () => this.isOpen && pc === this._pc && this._onOpen();
      channel.onmessage = ({ data }) => pc === this._pc && this._onMessage(data);
    }
    this._channels[0].onclose = () => this._lose(pc);
    try {
      await pc.setLocalDescription(await pc.createOffer());
      await gathered(pc);
      const response = await open(this._endpoint, pc.localDescription?.sdp, OPENING);
      await pc.setRemoteDescription({ type: "answer", sdp: await response.text() });
    } catch (error) {
      // Whoever may not will not be let in a moment later; a server that is just being started will.
      if (!(error instanceof Refused) || error.status >= 500 || error.status === 429) return this._lose(pc);
      if (pc !== this._pc) return;
      this.close();
      this._owner.refused(error.message);
    }
  }

  _onOpen() {
    this._sequence = 0;
    this._heardAt = performance.now();
    this._patience = FIRST;
    this.say({ hello: [1, this._page] });
    this._owner.opened();
  }

  /** @param {string} text */
  _onMessage(text) {
    this._heardAt = performance.now();
    const said = JSON.parse(text);
    if (said.pong >= 0) {
      const patience = SILENCE + clock() - said.pong;
      this._patience += (patience - this._patience) / (this._isAnswered ? 8 : 1);
      this._isAnswered = true;
    }
    if (typeof said === "string") this._owner.said(said, null);
    else for (const what of Object.keys(said)) this._owner.said(what, said[what]);
  }

  _beat() {
    const { _pc: pc } = this;
    if (!pc) return;
    // By the way on which one that is lost holds up no other.
    if (this.isOpen) this._channels[1].send(JSON.stringify({ alive: clock() }));
    const now = performance.now();
    const isLate = now - this._beatAt > LATE;
    this._beatAt = now;
    if ((!isLate && now - this._heardAt > this._patience) || pc.connectionState === "failed") this._lose(pc);
  }

  /** @param {RTCPeerConnection} pc */
  _lose(pc) {
    if (pc !== this._pc) return;
    const wasGood = this.isOpen && this._isAnswered;
    this._drop();
    this._owner.lost();
    setTimeout(() => this._wanted && !this._pc && this._connect(), wasGood ? 0 : RETRY);
  }

  _drop() {
    this._pc?.close();
    this._pc = null;
    this._channels = [];
  }
}

function clock() {
  return Math.round(performance.now());
}
