// How the streams are, kept current: the server's events, or questions where it has no room for another listener. The tabs of
// one browser share one connection, for a browser has six to a server, and each picture needs some.

import { json, Refused } from "./http.js";

/** How often it is asked where events can't be had. */
const POLL = 3000;
/** So many times; then it is tried again whether events can be had. */
const MOST_POLLS = 20;
/** The server says something at least each 5 s; who is silent for longer is not there. */
const SILENCE = 8000;
/** How long a new tab waits for another's word before it listens itself; not all at once. */
const HELLO = 300;
const SPREAD = 300;

/**
 * @typedef {{name: string, title: string, scope: string, source: string, state: string, condition: string, reason: string | null,
 *   retry_in_ms: number | null, encoder: string, width: number, height: number, fps: number, viewers: number,
 *   still_age_ms: number | null, encoder_load: {state: string, percent: number, shortfall: string | null} | null, capture_to_wire_ms: number | null, quality: import("./quality.js").Quality, control: boolean,
 *   controller: string | null}} Stream
 */

/** What this browser has, and lets a page have. @template T @param {() => T} make @returns {T | null} */
function attempt(make) {
  try {
    return make();
  } catch {
    return null;
  }
}

/** @param {URL} root */
const channel = (root) => attempt(() => new BroadcastChannel(`framebridge:${root.href}`));

export class Feed {
  /**
   * @param {URL} root where the server's own pages begin
   * @param {string | null} only the stream that it is about, where it is about one
   * @param {(feed: Feed) => void} onChange
   */
  constructor(root, only, onChange) {
    /** By name. @type {Map<string, Stream>} */
    this.streams = new Map();
    /** Whether what is known is from before. */
    this.stale = true;
    /** Why it can't be known. @type {Refused | null} */
    this.refused = null;
    this._root = root;
    this._only = only;
    this._single = false;
    this._onChange = onChange;
    this._tab = `${Math.random()}`;
    /** @type {EventSource | null} */
    this._events = null;
    this._polls = false;
    /** When our own events came last, and another tab's. */
    this._eventAt = -Infinity;
    this._ledAt = -Infinity;
    this._heardAt = -Infinity;
    this._channel = channel(root);
    if (this._channel) this._channel.onmessage = ({ data }) => this._onWord(data);
    document.addEventListener("visibilitychange", () => this._onVisibility());
    addEventListener("pagehide", () => this._leave());
    addEventListener("online", () => this.ask());
    setInterval(() => this._look(), 1000);
    this._say({ hello: true });
    this.ask();
    setTimeout(() => this._look(), HELLO + Math.random() * SPREAD);
  }

  /** Asks how things are now. */
  async ask() {
    try {
      let answer = null;
      try {
        answer = this._single ? await json(this._url) : (await json(this._url)).streams;
      } catch (error) {
        // An address of one stream knows nothing of the others.
        const isOne = error instanceof Refused && error.status === 404 && this._only !== null && !this._single;
        if (!isOne) throw error;
        this._single = true;
        answer = await json(this._url);
      }
      this.refused = null;
      this._tell([].concat(answer));
    } catch (error) {
      this.refused = error instanceof Refused ? error : null;
      this._isStale();
    }
  }

  /** The stream that it knows of; empty: all. */
  get _about() {
    return this._single ? this._only || "" : "";
  }

  get _url() {
    const one = this._single ? `/${encodeURIComponent(this._only || "")}` : "";
    return new URL(`api/v1/streams${one}`, this._root);
  }

  /** @param {Stream[]} streams */
  _tell(streams) {
    this.streams = new Map(streams.map((stream) => [stream.name, stream]));
    this._heard();
    this._onChange(this);
  }

  _heard() {
    this._heardAt = performance.now();
    const was = this.stale;
    this.stale = false;
    if (was) this._onChange(this);
  }

  _isStale() {
    this.stale = true;
    this._onChange(this);
  }

  /** Listens where nobody of this browser does, and notices silence. */
  _look() {
    if (document.hidden || this._heardAt === -Infinity) {
      if (!document.hidden && !this._events && !this._polls) this.ask();
      return;
    }
    const now = performance.now();
    if (now - this._heardAt > SILENCE && !this.stale) this._isStale();
    // A connection that has died without a word.
    if (this._events && now - this._eventAt > SILENCE) this._stop();
    if (!this._events && !this._polls && now - this._ledAt > SILENCE) this._listen();
    if (this.stale) this.ask();
  }

  _listen() {
    const all = new URL("api/v1/events", this._root);
    const events = attempt(() => new EventSource(this._single ? `${this._url.href}/events` : all.href));
    if (!events) return this._poll();
    this._events = events;
    this._eventAt = performance.now();
    const told = (/** @type {MessageEvent} */ { data }) => {
      this._eventAt = performance.now();
      const news = JSON.parse(data);
      const streams = news === null ? [] : news.streams || [news];
      this._tell(streams);
      this._say({ streams });
    };
    events.addEventListener("streams", told);
    events.addEventListener("stream", told);
    events.addEventListener("beat", () => {
      this._eventAt = performance.now();
      this._heard();
      this._say({ streams: Array.from(this.streams.values()) });
    });
    events.onerror = () => {
      if (events.readyState !== EventSource.CLOSED) return void this.ask();
      // No room, or no right: it is asked instead.
      this._events = null;
      this._poll();
    };
  }

  _poll() {
    if (this._polls) return;
    this._polls = true;
    let rounds = 0;
    const again = async () => {
      rounds += 1;
      if (!document.hidden) await this.ask();
      // By then there may be room.
      if (rounds < MOST_POLLS) setTimeout(again, POLL);
      else this._polls = false;
    };
    again();
  }

  /** @param {Record<string, unknown>} word */
  _say(word) {
    if (this._channel) this._channel.postMessage(Object.assign({ from: this._tab, about: this._about, leads: this._events !== null }, word));
  }

  /** What another tab says. @param {{from: string, about: string, leads: boolean, hello?: boolean, bye?: boolean, streams?: Stream[]}} word */
  _onWord({ from, about, leads, hello, bye, streams }) {
    if (about !== this._about) return;
    if (hello && this._events && !this.stale) this._say({ streams: Array.from(this.streams.values()) });
    if (bye) {
      this._ledAt = -Infinity;
      setTimeout(() => this._look(), Math.random() * SPREAD);
    }
    if (!leads || bye) return;
    this._ledAt = performance.now();
    // Of two that listen, one is enough.
    if (this._events && from < this._tab) this._stop();
    if (streams && !this._events) this._tell(streams);
  }

  _stop() {
    if (this._events) this._events.close();
    this._events = null;
  }

  _leave() {
    if (!this._events) return;
    this._stop();
    this._say({ bye: true });
  }

  _onVisibility() {
    if (document.hidden) return this._leave();
    this.ask();
    this._look();
  }
}
