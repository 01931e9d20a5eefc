// What the viewer does when: a plain state machine. Events and the time in, actions out; no DOM, no network, no clock.
//
// Its numbers are the system's (docs/architecture.md). Its rules: a session is given up only when the server does not vouch
// for it, for while the source or its encoder is being mended the session is the shortest way back to a picture. And nothing
// is called live but what is newer than the fault before it: an encoder whose source stands still may send its last picture
// once more.

/** Milliseconds, all of them. */
export const TIMES = Object.freeze({
  /** No new picture for so long: ask the server how the stream and the session are. */
  ask: 750,
  /** Pause between two such questions while the server does not account for the silence, and while it does; a slate vouches for itself. */
  askAgain: 500,
  askExcused: 1000,
  askSlate: 3000,
  /** A picture that came although the server said there is none: how soon it may be asked again. */
  askOnPicture: 250,
  /** No new picture for so long: it no longer counts as live, and a keyframe is asked for. */
  keyframe: 1500,
  /** No new picture for so long: restart ICE. */
  restart: 3000,
  /** No new picture for so long: leave the session and start another. */
  reconnect: 6000,
  /** First wait between two attempts; doubles up to the cap. */
  backoff: 1000,
  backoffCap: 10000,
  /** A server that forgot us has just been started again: come back within so long, not all viewers at once. */
  welcomeBack: 200,
  /** The longest Retry-After that is obeyed as it is. */
  retryAfterCap: 60000,
  /** The slowest pace that is learnt: a source that gives a picture more seldom is asked after each time. */
  slowestPace: 15000,
  /** How much older than the server's last frame the shown picture may be and still be that frame's. */
  onTheWay: 400,
  /** A session that plays for less than this before it fails is a fall; so many within the span, and it rests for a while. */
  steady: 10000,
  fallsSpan: 60000,
  park: 30000,
  /** Pictures after a fault have to come for so long, with no longer gap, to be the source's. */
  series: 400,
  seriesGap: 600,
  /** Pictures that keep coming for so long are the source's, however slow, and overrule a server that says there are none. */
  overrule: 3000,
  /** A session that has not connected for so long: the film is shown, if there is one, until one does. */
  film: 2500,
  /** Where there is no room for another film, a still counts as the picture for so long: on a large wall the next is some seconds away. */
  still: 8000,
  /** A page that is hidden for so long ends its session: nothing is sent to who does not look. */
  hidden: 30000,
});

/** Until the first picture, ICE and DTLS have to be set up too: every patience is so many times longer. */
const FIRST_PICTURE_PATIENCE = 2;

/** So many pictures in a row after a fault are none that was sent once more. */
const SERIES = 3;
/** After a fault, a source that comes at less than so much of its rate has to do so for longer. */
const LEAST_RATE = 1 / 3;
/** So many gaps in a row tell a source's pace. */
const PACE_GAPS = 5;
/** So many overrule the server. */
const MANY = 10;
/** So many falls are a loop. */
const FALLS = 5;

/** What to say to who is not let in, or not any more. */
const LOCKED_OUT = "You are not logged in, or your access has ended";
const BLOCKED = "The server answers, but no video gets through: something on the way blocks it";

/**
 * `connect` has the outcomes `opened`, `refused`, `unreachable`; `ask` has `source`, `gone`, and none where it goes
 * unanswered; either may find that it is over (`ended`) or that nobody is let in without a login (`lockedOut`). `source` is
 * also told as it changes, then with `frameAge: null`. `restart` may find `restartRefused` (for good) or `restartFailed` (not
 * now, as when the server is just being started again); `moved`: the server has other addresses than it said. `picture`: the decoder's count has grown, by so many; `film`: the
 * film's has, or there is another still; `blocked`: WebRTC does not get through to another stream of the same server.
 * @typedef {{type: "film", isStill: boolean}
 *   | {type: "blocked" | "start" | "stop" | "visible" | "hidden" | "tick" | "woke" | "online" | "retry" | "opened" | "lockedOut"}
 *   | {type: "refused", reason: string, retryAfter: number | null}
 *   | {type: "unreachable", reason: string}
 *   | {type: "ended", reason: string, action: Action}
 *   | {type: "picture", pictures: number}
 *   | {type: "transport", state: string}
 *   | {type: "source", reason: string | null, retryIn: number | null, state: string, frameAge: number | null}
 *   | {type: "gone", reason: string | null}
 *   | {type: "restartRefused" | "restartFailed" | "moved"}} Event
 */

/** What its viewer can do about it. @typedef {"login" | "again" | null} Action */

/**
 * What to show: the state in one word, why, when the next attempt is made (`null`: now, or none is needed).
 * @typedef {{state: "connecting" | "live" | "slate" | "reconnecting" | "unavailable" | "ended", reason: string | null,
 *   retryAt: number | null, action: Action}} View
 */

/** @typedef {"connect" | "close" | "ask" | "keyframe" | "restart"} Deed */

/** What is known of the session that is open. @param {number} now */
function opened(now) {
  return {
    openedAt: now,
    connected: false,
    sawPicture: false,
    firstAt: 0,
    pictureAt: 0,
    /** When the server said last that there is no newer picture than the one shown. */
    vouchedAt: -Infinity,
    /** Whether what comes after a fault has still to prove that it is newer. */
    inDoubt: false,
    series: { since: now, last: -Infinity, count: 0 },
    stage: 0,
    progressAt: now,
    askedAt: -Infinity,
    restartAt: -Infinity,
    /** Why there is no picture, in the server's words. @type {{reason: string, retryAt: number | null, heardAt: number} | null} */
    excuse: null,
    isSlate: false,
  };
}

/**
 * A viewer's life. Phases: `off` (not started, or hidden), `connecting` (POST under way), `session` (a session is open),
 * `waiting` (for the next attempt) and `ended` (there is none).
 */
export class Player {
  /** @param {() => number} random uniform in [0, 1), for jitter. */
  constructor(random) {
    this._random = random;
    this._phase = "off";
    this._visible = true;
    this._hiddenAt = 0;
    this._everLive = false;
    this._attempts = 0;
    /** @type {number | null} */
    this._retryAt = null;
    /** @type {{reason: string, retryAt: number | null} | null} */
    this._refusal = null;
    /** @type {string | null} */
    this._trouble = null;
    /** @type {{reason: string, action: Action} | null} */
    this._end = null;
    /** Pictures a millisecond, a running mean. */
    this._rate = 0;
    /** The latest times between two pictures. @type {number[]} */
    this._gaps = [];
    /** The shortest of them: one gap alone is no pace. */
    this._pace = 0;
    /** When sessions have failed that had hardly begun. @type {number[]} */
    this._falls = [];
    this._open = opened(0);
    /** Whether sessions open, and do not connect. */
    this._isBlocked = false;
    this._filmUntil = -Infinity;
    /** @type {number | null} */
    this._filmAt = null;
    /** The longest time between two of a film's latest pictures. */
    this._filmGap = 0;
    /** How the source is, for who has no session and watches the film. @type {{reason: string | null, retryAt: number | null, isSlate: boolean} | null} */
    this._told = null;
  }

  /**
   * Takes one event and tells what is to be done about it, in order.
   * @param {Event} event
   * @param {number} now milliseconds, monotonic
   * @returns {Deed[]}
   */
  handle(event, now) {
    switch (event.type) {
      case "start":
        return this._phase === "off" ? this._connect() : [];
      case "stop":
        return this._stop("off");
      case "visible":
        return this._onVisible(now);
      case "hidden":
        this._visible = false;
        this._hiddenAt = now;
        return [];
      case "woke":
      case "online":
        return this._onWoke(now);
      case "retry":
        return this._phase === "waiting" || this._phase === "ended" ? this._connect() : [];
      case "lockedOut":
        return this._onEnded(LOCKED_OUT, "login");
      case "ended":
        return this._onEnded(event.reason, event.action);
      case "tick":
        return this._onTick(now);
      case "opened":
        return this._onOpened(now);
      case "film":
        this._onFilm(event.isStill, now);
        return [];
      case "blocked":
        if (this._phase !== "session" || !this._open.connected) this._isBlocked = true;
        return [];
      case "refused":
        return this._onRefused(event, now);
      case "unreachable":
        return this._onUnreachable(event.reason, now);
      case "source":
        this._told = { reason: event.reason, retryAt: event.retryIn === null ? null : now + event.retryIn, isSlate: event.state === "slate" };
        return this._inSession(event, now);
      default:
        return this._inSession(event, now);
    }
  }

  /**
   * @param {number} now
   * @returns {View}
   */
  view(now) {
    if (this._end) return { state: "ended", reason: this._end.reason, retryAt: null, action: this._end.action };
    const view = (/** @type {View["state"]} */ state, /** @type {string | null} */ reason, /** @type {number | null} */ retryAt) => ({
      state,
      reason,
      retryAt,
      action: null,
    });
    if (this._showsSlate(now)) return view("slate", null, null);
    if (this._isLive(now)) return view("live", null, null);
    if (this._showsFilm(now)) return view(this._told?.isSlate ? "slate" : "live", null, null);
    const told = this.wantsFilm && this._told?.reason ? this._told : this._refusal;
    const excuse = this._phase === "session" ? this._open.excuse : told;
    if (excuse) return view("unavailable", excuse.reason, excuse.retryAt);
    const state = this._everLive || this._attempts > 0 ? "reconnecting" : "connecting";
    return view(state, this._trouble, this._retryAt);
  }

  /**
   * How the connection is, whatever the source: what went wrong with it last, until there is a picture again, and whether
   * one that there was is being made anew.
   * @param {number} now
   */
  webrtc(now) {
    if (this._isLive(now)) return { error: null, reconnecting: false };
    const underWay = this._phase !== "session" || this._open.stage >= 2 || !this._open.sawPicture;
    return { error: this._trouble, reconnecting: this._everLive && this._phase !== "off" && underWay };
  }

  /** Whether the film is to be shown, since WebRTC does not get through. */
  get wantsFilm() {
    return this._isBlocked && this._phase !== "off" && this._phase !== "ended";
  }

  /** @param {number} now */
  _showsFilm(now) {
    const isExcused = this._told?.reason && !this._told.isSlate;
    return this.wantsFilm && !isExcused && now < this._filmUntil;
  }

  /** A film of a slow source is live, too: it is missed after some of its longest gaps. @param {boolean} isStill @param {number} now */
  _onFilm(isStill, now) {
    const gap = this._filmAt === null ? 0 : Math.min(now - this._filmAt, TIMES.slowestPace / 2.5);
    this._filmGap = Math.max(this._filmGap * 0.8, gap);
    this._filmAt = now;
    this._filmUntil = now + (isStill ? TIMES.still : Math.max(TIMES.keyframe, this._filmGap * 2.5));
  }

  /** How long one waits for a picture before it is missed. @param {number} least @param {number} paces */
  _patience(least, paces) {
    return Math.max(least, this._pace * paces);
  }

  /** @param {number} now */
  _isLive(now) {
    if (this._phase !== "session" || !this._open.sawPicture || this._open.inDoubt || this._open.excuse) return false;
    return now - Math.max(this._open.pictureAt, this._open.vouchedAt) < this._patience(TIMES.keyframe, 2.5);
  }

  /** A slate says by itself what is wrong: nothing is put over it. @param {number} now */
  _showsSlate(now) {
    const comes = now - this._open.pictureAt < this._patience(TIMES.restart, 3);
    return this._phase === "session" && this._open.isSlate && this._open.sawPicture && comes;
  }

  /** @returns {Deed[]} */
  _connect() {
    this._phase = "connecting";
    this._end = null;
    this._retryAt = null;
    if (this._refusal) this._refusal.retryAt = null;
    return ["connect"];
  }

  /** @param {"off" | "ended"} phase @returns {Deed[]} */
  _stop(phase) {
    const close = this._phase === "session" || this._phase === "connecting";
    this._isBlocked = false;
    this._phase = phase;
    return close ? ["close"] : [];
  }

  /** Nothing is tried again by itself. @param {string} reason @param {Action} action */
  _onEnded(reason, action) {
    this._end = { reason, action };
    return this._stop("ended");
  }

  /** @param {number} now @returns {Deed[]} */
  _onVisible(now) {
    this._visible = true;
    if (this._phase === "off") return this._connect();
    // A hidden page's decoder may rest: its silence so far means nothing.
    this._renewPatience(now);
    return [];
  }

  /** After a sleep, or back in a network: what was there may be gone, and nobody should have to wait for it. @param {number} now @returns {Deed[]} */
  _onWoke(now) {
    if (this._phase === "waiting") return this._connect();
    if (this._phase !== "session" || this._isLive(now)) return [];
    this._renewPatience(now - TIMES.keyframe);
    this._open.askedAt = now;
    return ["ask"];
  }

  /** @param {number} now @returns {Deed[]} */
  _onTick(now) {
    if (this._phase === "waiting" && this._retryAt !== null && now >= this._retryAt) {
      if (this._visible) return this._connect();
      this._phase = "off";
    }
    if (this._phase !== "session") return [];
    if (this._visible) return this._escalate(now);
    return now - this._hiddenAt >= TIMES.hidden ? this._stop("off") : [];
  }

  /** @param {number} now @returns {Deed[]} */
  _onOpened(now) {
    if (this._phase !== "connecting") return ["close"];
    this._phase = "session";
    this._refusal = null;
    this._open = opened(now);
    return [];
  }

  /** @param {{reason: string, retryAfter: number | null}} event @param {number} now @returns {Deed[]} */
  _onRefused({ reason, retryAfter }, now) {
    if (this._phase !== "connecting") return [];
    // None, or 0, which would be asked for five times a second.
    const delay = retryAfter ? Math.min(retryAfter, TIMES.retryAfterCap) : this._backoff();
    this._wait(now + delay);
    this._refusal = { reason, retryAt: this._retryAt };
    return [];
  }

  /** @param {string} reason @param {number} now @returns {Deed[]} */
  _onUnreachable(reason, now) {
    if (this._phase !== "connecting") return [];
    this._refusal = null;
    this._trouble = reason;
    this._wait(now + this._backoff());
    return [];
  }

  /** @param {Event} event @param {number} now @returns {Deed[]} */
  _inSession(event, now) {
    if (this._phase !== "session") return [];
    switch (event.type) {
      case "picture":
        return this._onPicture(event.pictures, now);
      case "transport":
        return this._onTransport(event.state, now);
      case "source":
        this._onSource(event, now);
        return [];
      case "gone":
        this._trouble = event.reason || "The server was restarted";
        this._wait(now + this._random() * TIMES.welcomeBack);
        if (event.reason) this._onFall(now);
        return ["close"];
      case "moved":
        return this._onMoved(now);
      case "restartRefused":
        return this._reconnect(now);
      case "restartFailed":
        // Nothing has changed, so it may be tried again.
        this._open.stage = 1;
        this._open.restartAt = now + TIMES.askAgain;
        return [];
      default:
        throw new Error(`unknown event ${event.type}`);
    }
  }

  /** Nothing comes from where the server was: it is asked where it is, without waiting any longer. @param {number} now @returns {Deed[]} */
  _onMoved(now) {
    if (this._open.excuse || now < this._open.restartAt) return [];
    this._open.stage = 2;
    this._open.restartAt = now + TIMES.askExcused;
    this._trouble = "The server has another address now";
    return ["restart"];
  }

  /** @param {number} pictures @param {number} now @returns {Deed[]} */
  _onPicture(pictures, now) {
    if (this._isLive(now)) {
      const gap = Math.min(now - this._open.pictureAt, TIMES.slowestPace);
      const rate = pictures / Math.max(gap, 1);
      this._rate = this._rate === 0 ? rate : this._rate * 0.9 + rate * 0.1;
      this._gaps = this._gaps.concat(gap).slice(-PACE_GAPS);
      this._pace = this._gaps.length < PACE_GAPS ? 0 : Math.min(...this._gaps);
    }
    this._doubt(now);
    this._isBlocked = false;
    if (!this._open.sawPicture) this._open.firstAt = now;
    this._open.sawPicture = true;
    this._open.pictureAt = now;
    const isProof = this._isProof(pictures, now);
    if (this._open.excuse && !(isProof && this._open.series.count >= MANY && now - this._open.series.since >= TIMES.overrule)) {
      const ask = !this._open.isSlate && now - this._open.askedAt >= TIMES.askOnPicture;
      if (ask) this._open.askedAt = now;
      return ask ? ["ask"] : [];
    }
    if (this._open.inDoubt && !isProof) return [];
    this._open.inDoubt = false;
    this._everLive = true;
    this._attempts = 0;
    this._open.excuse = this._trouble = null;
    this._renewPatience(now);
    return [];
  }

  /**
   * Whether a picture is one of several that keep coming: one alone may be the last one, sent once more, and a few at once what
   * a decoder had left over when its source fell silent.
   * @param {number} pictures
   * @param {number} now
   */
  _isProof(pictures, now) {
    const series = this._open.series;
    if (now - series.last > this._patience(TIMES.seriesGap, 2)) [series.since, series.count] = [now, 0];
    series.last = now;
    series.count += pictures;
    const span = now - series.since;
    // One whose source stands still may send its last picture again twice a second.
    const isAsBefore = series.count / Math.max(span, 1) >= this._rate * LEAST_RATE;
    return series.count >= SERIES && span >= TIMES.series && (isAsBefore || span >= TIMES.overrule);
  }

  /** What was not live any more has to be newer to be so again. @param {number} now */
  _doubt(now) {
    if (this._open.inDoubt || !this._open.sawPicture || this._isLive(now)) return;
    this._open.inDoubt = true;
    this._open.series = { since: now, last: -Infinity, count: 0 };
  }

  /** @param {string} state @param {number} now @returns {Deed[]} */
  _onTransport(state, now) {
    if (state === "connected") this._open.connected = true;
    const lost = state === "failed" || state === "closed";
    if (!lost || this._open.stage >= 2) return [];
    this._open.stage = 2;
    this._trouble = this._open.connected ? "The connection was lost" : BLOCKED;
    this._open.askedAt = now;
    return ["ask", "restart"];
  }

  /** @param {{reason: string | null, retryIn: number | null, state: string, frameAge: number | null}} event @param {number} now */
  _onSource({ reason, retryIn, state, frameAge }, now) {
    this._open.isSlate = state === "slate";
    // The server gives a reason exactly where no picture is to be expected.
    if (reason || this._open.isSlate) {
      this._open.excuse = { reason: reason || "", retryAt: retryIn === null ? null : now + retryIn, heardAt: now };
      this._doubt(now);
      return;
    }
    if (this._open.excuse) {
      this._open.excuse = null;
      this._open.series = { since: now, last: -Infinity, count: 0 };
      this._renewPatience(now);
    }
    // It has none that is newer than the one shown: that one is how things are, and the session is well.
    const isNewest = this._open.sawPicture && frameAge !== null && frameAge + TIMES.onTheWay >= now - this._open.pictureAt;
    if (isNewest && !this._open.inDoubt && state === "live") {
      this._open.vouchedAt = now;
      this._renewPatience(now);
    }
  }

  /** @param {number} now @returns {Deed[]} */
  _escalate(now) {
    if (this._open.excuse && now - this._open.excuse.heardAt >= TIMES.reconnect) {
      // Nobody vouches for the session any more.
      this._open.excuse = null;
      this._renewPatience(now);
    }
    this._doubt(now);
    if (!this._open.connected && now - this._open.openedAt >= TIMES.film) this._isBlocked = true;
    const silence = (now - this._open.progressAt) / (this._open.sawPicture ? 1 : FIRST_PICTURE_PATIENCE);
    /** @type {Deed[]} */
    const deeds = [];
    const excused = this._open.isSlate ? TIMES.askSlate : TIMES.askExcused;
    const pause = this._open.excuse ? excused : TIMES.askAgain;
    const isDue = this._open.excuse !== null || silence >= this._patience(TIMES.ask, 1.5);
    if (isDue && now - this._open.askedAt >= pause) {
      this._open.askedAt = now;
      deeds.push("ask");
    }
    if (this._open.excuse) return deeds;
    if (silence >= this._patience(TIMES.reconnect, 4)) {
      this._trouble = this._open.sawPicture || this._open.connected ? "No picture arrives" : BLOCKED;
      return this._reconnect(now);
    }
    if (silence >= this._patience(TIMES.restart, 3) && this._open.stage < 2 && now >= this._open.restartAt) {
      this._open.stage = 2;
      this._trouble = this._open.sawPicture || this._open.connected ? "The picture stopped" : "No picture has come yet";
      deeds.push("restart");
    } else if (silence >= this._patience(TIMES.keyframe, 2.5) && this._open.stage < 1) {
      this._open.stage = 1;
      deeds.push("keyframe");
    }
    return deeds;
  }

  /** @param {number} now @returns {Deed[]} */
  _reconnect(now) {
    this._wait(now + this._backoff());
    this._onFall(now);
    return ["close"];
  }

  /** A session has failed. One after the other that does so early is a loop, and rests. @param {number} now */
  _onFall(now) {
    if (this._open.sawPicture && now - this._open.firstAt >= TIMES.steady) return;
    this._falls = this._falls.filter((at) => now - at < TIMES.fallsSpan).concat(now);
    if (this._falls.length < FALLS) return;
    this._falls = [];
    this._wait(now + TIMES.park);
    const why = this._trouble ? `: ${this._trouble.charAt(0).toLowerCase()}${this._trouble.slice(1)}` : "";
    this._refusal = { reason: `It has failed ${FALLS} times within a minute${why}`, retryAt: this._retryAt };
  }

  /** @param {number} now */
  _renewPatience(now) {
    this._open.progressAt = now;
    this._open.stage = 0;
  }

  /** @param {number} until */
  _wait(until) {
    this._phase = "waiting";
    this._retryAt = until;
  }

  _backoff() {
    const full = Math.min(TIMES.backoff * 2 ** this._attempts, TIMES.backoffCap);
    this._attempts += 1;
    return full * (0.75 + 0.25 * this._random());
  }
}
