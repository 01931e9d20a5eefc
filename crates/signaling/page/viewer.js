// One viewer of one stream: wires the state machine (player.js) to the session (whep.js), the API and a <video>.

import { Film, Stills } from "./film.js";
import { json, Refused, request, sending, Unreachable } from "./http.js";
import { Player } from "./player.js";
import { figures, sample } from "./stats.js";
import { WhepSession } from "./whep.js";

/** Span over which the shown frame rate is measured. */
const RATE_WINDOW = 2000;
/** How often it is asked what the link carries, while the picture is smaller for that. */
const RUNG_INTERVAL = 3000;
/** Reconnects that are remembered with their reasons. */
const MOST_RECONNECTS = 20;
/** A film that was refused or broke off is asked for again after so long. */
const FILM_PAUSE = 1000;
/** What there is no coming back from by itself. */
const SENT_AWAY = "Whoever runs this Framebridge has ended your session";
const ADDRESS_ENDED = "This address has ended. Ask whoever sent it to you for a new one";

export class Viewer {
  /**
   * @param {{root: URL, stream: string, video: HTMLVideoElement, onChange: () => void, needsTouch?: (needs: boolean) => void,
   *   mayAsk?: () => boolean, turn?: () => Promise<() => void>, best?: () => string, instead?: () => "film" | "stills"}} options `mayAsk`: whether
   *   a keyframe may be asked for; `turn`: waits until this one may connect, and gives back what ends its turn; `best`: no better
   *   rung is wanted; `instead`: what will do where WebRTC does not get through. A film takes one of the few connections that a
   *   browser has to a server
   */
  constructor({
    root,
    stream,
    video,
    onChange,
    needsTouch = () => {},
    mayAsk = () => false,
    turn = async () => () => {},
    best = () => "full",
    instead = () => "film",
  }) {
    this.player = new Player(Math.random);
    this.video = video;
    /** @type {WhepSession | null} */
    this.session = null;
    this.lastFrameAt = 0;
    /** How often it was connected anew, and why. @type {{at: string, reason: string}[]} */
    this.reconnects = [];
    this._endpoint = new URL(`whep/${encodeURIComponent(stream)}`, root);
    this._api = new URL(`api/v1/streams/${encodeURIComponent(stream)}`, root);
    this._onChange = onChange;
    this._needsTouch = needsTouch;
    this._mayAsk = mayAsk;
    this._turn = turn;
    this._best = best;
    /** What was asked for last. */
    this._asked = "full";
    /** Which rung is given, and why, while that is a lower one. @type {import("./stats.js").Rung | null} */
    this.rung = null;
    this._rungAt = 0;
    this._width = 0;
    /** Tells a session from those before it. */
    this._generation = 0;
    /** Pictures decoded in the sessions before this one, and in this one. */
    this._decodedBefore = 0;
    this._decodedHere = 0;
    /** @type {import("./stats.js").Sample[]} */
    this._samples = [];
    this._counting = false;
    this._instead = instead;
    /** What is played where WebRTC does not get through. @type {Film | Stills | null} */
    this.film = null;
    this._page = drawn();
    /** What the browser lacks, where that is what keeps WebRTC from it. */
    this._lacks = "";
    /** Whether it turned out that it can't play films. */
    this._stillsOnly = false;
    this._filmAt = 0;
    this._filmAgainAt = 0;
    /** What WebRTC brings, once it does. @type {MediaStream | null} */
    this._media = null;
    /** From a picture's arrival to its presentation, a running mean, where the browser tells. @type {number | null} */
    this.toScreenMs = null;
    video.addEventListener("pause", () => this._plays());
    this._watchFrames();
  }

  /** @param {import("./player.js").Event} event */
  send(event) {
    for (const deed of this.player.handle(event, performance.now())) this._do(deed);
    this._onChange();
  }

  /** Those that the session was told of. */
  get iceServers() {
    return this.session?.iceServers || [];
  }

  get view() {
    return this.player.view(performance.now());
  }

  /** Since the page was opened, over all its sessions. */
  get framesDecoded() {
    return this._decodedBefore + this._decodedHere + (this.film ? this.film.frames : 0);
  }

  /** The figures of the last seconds, or `null` where nothing came. */
  get figures() {
    const [first, last] = [this._samples[0], this._samples[this._samples.length - 1]];
    return this._samples.length < 2 ? null : figures(first, last);
  }

  /** @param {import("./player.js").Deed} deed */
  _do(deed) {
    const { session } = this;
    const current = this._generation;
    /** Reports an outcome, unless the session it belongs to is no longer the one that is open. */
    const report = (/** @type {import("./player.js").Event} */ event) => current === this._generation && this.send(event);
    switch (deed) {
      case "connect":
        this._connect();
        break;
      case "close":
        this._close();
        break;
      case "ask":
        if (session) this._ask(session, report);
        break;
      case "keyframe":
        if (this._mayAsk()) request(`${this._api}/keyframe`, { method: "POST" }).catch(() => {});
        break;
      case "restart":
        if (session) this._restart(session, report);
        break;
    }
  }

  async _connect() {
    const current = ++this._generation;
    const isCurrent = () => current === this._generation;
    const done = await this._turn();
    try {
      if (!isCurrent()) return;
      this._asked = this._best();
      /** @type {import("./whep.js").Handlers} */
      const handlers = {
        onStream: (media) => {
          if (!isCurrent()) return;
          this._media = media;
          if (!this.film) this.video.srcObject = media;
        },
        onTransport: (state) => isCurrent() && this.session && this.send({ type: "transport", state }),
      };
      const opened = await WhepSession.open(this._endpoint, handlers, this._asked);
      if (!isCurrent()) return opened.close();
      this.session = opened;
      this._lacks = "";
      this.send({ type: "opened" });
      this.send({ type: "transport", state: opened.transport });
    } catch (error) {
      if (!isCurrent()) return;
      this._lacks = lack(error);
      if (this._lacks) this.send({ type: "blocked" });
      this.send(outcome(error));
    } finally {
      done();
    }
  }

  _close() {
    const reason = this.player.webrtc(performance.now()).error;
    if (reason) this.reconnects = this.reconnects.concat({ at: new Date().toISOString(), reason }).slice(-MOST_RECONNECTS);
    this._generation += 1;
    this._decodedBefore += this._decodedHere;
    this._decodedHere = 0;
    this._samples = [];
    this.rung = null;
    this._width = 0;
    if (this.session) this.session.close();
    this.session = null;
  }

  /** @param {WhepSession} session @param {(event: import("./player.js").Event) => unknown} report */
  async _restart(session, report) {
    try {
      await session.restart();
    } catch (error) {
      // Whatever else was answered, the session is there still.
      const status = error instanceof Refused ? error.status : null;
      if (status === 401) report({ type: "lockedOut" });
      else report({ type: status === 404 ? "restartRefused" : "restartFailed" });
    }
  }

  /** How are the session and the stream? A server that does not answer says nothing. @param {WhepSession} session @param {(event: import("./player.js").Event) => unknown} report */
  async _ask(session, report) {
    try {
      const known = await json(`${this._api}/sessions/${session.id}`);
      if (known.state === "closed") session.forget();
      if (known.sent_away) return report({ type: "ended", reason: SENT_AWAY, action: "again" });
      if (known.state === "closed") return report({ type: "gone", reason: known.webrtc_error });
      const { reason, retry_in_ms: retryIn, state, last_frame_age_ms: frameAge } = await json(this._api);
      report({ type: "source", reason, retryIn, state, frameAge });
      // Where the source accounts for the silence, nothing is amiss with the way.
      if (known.addresses_changed) report({ type: "moved" });
    } catch (error) {
      if (!(error instanceof Refused)) return;
      if (error.code === "unknown_session") {
        session.forget();
        report({ type: "gone", reason: null });
      } else if (error.status === 401 || error.status === 404) report(outcome(error));
    }
  }

  /** Looks how many pictures have come, and lets time pass. */
  async tick() {
    this.send({ type: "tick" });
    this._showFilm();
    const { session } = this;
    if (!session || this._counting) return;
    this._counting = true;
    try {
      const now = sample(await session.reports(), performance.now());
      if (now && session === this.session) {
        this._count(now);
        await this._askRung(session, now);
      }
    } catch {
      // It is being closed.
    } finally {
      this._counting = false;
    }
  }

  /** Asks for no better rung than is wanted by now. */
  settle() {
    const best = this._best();
    if (!this.session || best === this._asked) return;
    this._asked = best;
    request(`${this._api}/sessions/${this.session.id}/rung?best=${best}`, { method: "PUT" }).catch(() => {});
  }

  /** Which rung is given, when the picture has another size; and why, while it is smaller. @param {WhepSession} session @param {import("./stats.js").Sample} now */
  async _askRung(session, now) {
    if (now.width === this._width && (!this.rung || now.at - this._rungAt < RUNG_INTERVAL)) return;
    [this._width, this._rungAt] = [now.width, now.at];
    const known = await json(`${this._api}/sessions/${session.id}`);
    this.rung = known.rung && known.rung !== this._asked ? known : null;
  }

  /** @param {import("./stats.js").Sample} now */
  _count(now) {
    this._samples.push(now);
    while (now.at - this._samples[0].at > RATE_WINDOW) this._samples.shift();
    const pictures = now.frames - this._decodedHere;
    if (pictures <= 0 || !this._plays()) return;
    this._decodedHere = now.frames;
    this.lastFrameAt = Date.now();
    this.send({ type: "picture", pictures });
    this._showFilm();
  }

  /** Tells the server how this viewer fares. @param {number | null} wireToScreenMs */
  report(wireToScreenMs) {
    const { session, figures } = this;
    if (!session || !figures || document.hidden) return;
    const { fps, lossPercent, freezes } = figures;
    const told = { fps, wire_to_screen_ms: wireToScreenMs, loss_percent: lossPercent, freezes };
    // The next one is due soon.
    request(`${this._api}/sessions/${session.id}/report`, sending("POST", told)).catch(() => {});
  }

  /** How the picture comes, where that is not as it should. */
  get way() {
    if (!this.film) return "";
    return this.film instanceof Stills ? "stills by HTTP" : "by HTTP";
  }

  /** Why it does. */
  get whyFilm() {
    return this._lacks ? `this browser has no ${this._lacks}` : "neither UDP nor TCP gets through";
  }

  /** Plays the film, or stills, as long as the player wants it. */
  _showFilm() {
    const { film } = this;
    if (!this.player.wantsFilm) return this._endFilm();
    const isStills = !Film.works || this._stillsOnly || this._instead() === "stills";
    if (film && film instanceof Stills !== isStills) this._endFilm();
    if (this.film) {
      const { at } = this.film;
      if (at && at !== this._filmAt && this._plays()) {
        this.lastFrameAt = Date.now();
        this.send({ type: "film", isStill: isStills });
      }
      this._filmAt = at;
    } else if (isStills || performance.now() >= this._filmAgainAt) {
      this._filmAt = 0;
      this.film = isStills ? new Stills(new URL(`${this._api}/snapshot.jpg`), this.video) : this._newFilm();
    }
  }

  _newFilm() {
    return new Film(new URL(`${this._api}/live.mp4?instead=${this._page}`), this.video, (error) => {
      if (error instanceof Refused && error.code === "sent_away") {
        this._page = drawn();
        return this.send(outcome(error));
      }
      // The browser's own no, as of one that has no H.264 at all.
      this._stillsOnly = error instanceof DOMException && error.name === "NotSupportedError";
      // One that has ended in order has had its time.
      this._filmAgainAt = performance.now() + (error ? FILM_PAUSE : 0);
      this._endFilm();
    });
  }

  _endFilm() {
    if (!this.film) return;
    this._decodedBefore += this.film.frames;
    this.film.close();
    this.film = null;
    this.video.srcObject = this._media;
  }

  /**
   * Whether what is decoded is shown, too. A browser may pause the element by itself, as an iPhone does that leaves full
   * screen: it is told to go on, and where it wants a touch first, so does the page.
   */
  _plays() {
    const { video } = this;
    // The element plays nothing, and need not.
    if (this.film instanceof Stills) return true;
    if (!video.paused || document.hidden || !(video.srcObject || video.src)) return !video.paused || document.hidden;
    video
      .play()
      .then(() => this._needsTouch(false))
      .catch(({ name }) => name === "NotAllowedError" && this._needsTouch(true));
    return false;
  }

  _watchFrames() {
    /** @type {any} */
    const { video } = this;
    video.requestVideoFrameCallback?.((/** @type {number} */ now, /** @type {any} */ { receiveTime, expectedDisplayTime }) => {
      const took = receiveTime ? expectedDisplayTime - receiveTime : null;
      if (took !== null) this.toScreenMs = this.toScreenMs === null ? took : this.toScreenMs * 0.95 + took * 0.05;
      this._watchFrames();
    });
  }

  /** The viewer has touched the page. */
  touched() {
    this._plays();
  }
}

/** Eight random bytes, as text. */
function drawn() {
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => `0${byte.toString(16)}`.slice(-2)).join("");
}

/** What a browser lacks for WebRTC, by what came of an attempt; nothing: that was not it. @param {unknown} error */
function lack(error) {
  // What is neither a no nor silence is its own. Firefox fetches its H.264 only when it has been running for a while.
  if (error instanceof Refused) return ["no_acceptable_codec", "packetization_mode_0"].includes(error.code || "") ? "H.264 for WebRTC so far" : "";
  return error instanceof Unreachable ? "" : "WebRTC that would do";
}

/**
 * What came of an attempt that failed, for the player.
 * @param {unknown} error
 * @returns {import("./player.js").Event}
 */
export function outcome(error) {
  if (error instanceof Unreachable) return { type: "unreachable", reason: error.message };
  if (!(error instanceof Refused)) return { type: "unreachable", reason: `This browser can't play it (${error instanceof Error ? error.message : error})` };
  if (lack(error)) return { type: "unreachable", reason: `This browser has no ${lack(error)}` };
  if (error.status === 401) return { type: "lockedOut" };
  if (error.code === "sent_away") return { type: "ended", reason: SENT_AWAY, action: "again" };
  if (error.code === "unknown_stream") return { type: "ended", reason: "There is no such stream", action: "again" };
  if (error.code === "address_ended") return { type: "ended", reason: ADDRESS_ENDED, action: null };
  return { type: "refused", reason: error.message, retryAfter: error.retryAfter };
}
