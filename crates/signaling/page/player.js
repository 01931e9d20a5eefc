// What the viewer does when: a plain state machine. Events and the time in, actions out; no DOM, no network, no clock.
//
// Its numbers are the system's (docs/architecture.md). Its rule: a session is given up only when the server does not
// vouch for it. While the server says that the source or its encoder is being mended, the session is the shortest way
// back to a picture, so the player stays in it and shows the server's reason.

/** Milliseconds, all of them. */
export const TIMES = Object.freeze({
  /** No new picture for so long: ask the server how the stream and the session are. */
  ask: 750,
  /** Pause between two such questions while the server does not account for the silence, and while it does. */
  askAgain: 500,
  askExcused: 1000,
  /** No new picture for so long: it no longer counts as live, and a keyframe is asked for. */
  keyframe: 1500,
  /** No new picture for so long: restart ICE. */
  restart: 3000,
  /** No new picture for so long: leave the session and start another. */
  reconnect: 6000,
  /** First wait between two attempts; doubles up to the cap. */
  backoff: 1000,
  backoffCap: 10_000,
  /** A server that forgot us has just been started again: come back within so long, not all viewers at once. */
  welcomeBack: 200,
  /** The longest Retry-After that is obeyed as it is. */
  retryAfterCap: 60_000,
});

/** Until the first picture, ICE and DTLS have to be set up too: every patience is so many times longer. */
const FIRST_PICTURE_PATIENCE = 2;

/** What to say to who is not let in, or not any more. */
const LOCKED_OUT = "You are not logged in, or your access has ended";

/**
 * A viewer's life. Phases: `off` (not started, or hidden while nothing plays), `connecting` (POST under way), `session`
 * (a session is open) and `waiting` (for the next attempt).
 */
export class Player {
  #random;
  #phase = "off";
  #visible = true;
  #everLive = false;
  #attempts = 0;
  #retryAt = null;
  #refusal = null;
  #trouble = null;
  #lockedOut = false;
  // Of the session that is open:
  #sawPicture = false;
  #pictureAt = 0;
  #progressAt = 0;
  #stage = 0;
  #askedAt = -Infinity;
  #restartAt = -Infinity;
  #excuse = null;

  /** @param {() => number} random uniform in [0, 1), for jitter. */
  constructor(random) {
    this.#random = random;
  }

  /**
   * Takes one event and tells what is to be done about it, in order.
   *
   * Events: `start`, `stop`, `visible`, `hidden`, `tick`; `opened`, `refused {reason, retryAfter}`, `unreachable {reason}`
   * (the three outcomes of `connect`); `lockedOut` (the server wants to know who asks, and it is nobody it lets in); `picture {pictures}` (the decoder's count has
   * grown, by so many); `transport {state}`; `source {reason, retryIn}`, `gone {reason}` (the outcomes of `ask`; an unanswered one is no event); `restartRefused`
   * (for good), `restartFailed` (not now, as when the server is just being started again).
   *
   * Actions: `connect`, `close`, `ask`, `keyframe`, `restart`.
   * @param {{type: string}} event
   * @param {number} now milliseconds, monotonic
   * @returns {string[]}
   */
  handle(event, now) {
    switch (event.type) {
      case "start":
        return this.#phase === "off" ? this.#connect() : [];
      case "stop":
        return this.#stop();
      case "visible":
        return this.#onVisible(now);
      case "hidden":
        this.#visible = false;
        return [];
      case "lockedOut":
        return this.#onLockedOut();
      case "tick":
        return this.#onTick(now);
      case "opened":
        return this.#onOpened(now);
      case "refused":
        return this.#onRefused(event, now);
      case "unreachable":
        return this.#onUnreachable(event, now);
      default:
        return this.#phase === "session" ? this.#inSession(event, now) : [];
    }
  }

  /**
   * What to show: the state in one word, why, and when the next attempt is made (`null`: now, or none is needed).
   * @param {number} now
   */
  view(now) {
    if (this.#lockedOut) return { state: "unavailable", reason: LOCKED_OUT, retryAt: null, lockedOut: true };
    if (this.#isLive(now)) return { state: "live", reason: null, retryAt: null };
    const excuse = this.#phase === "session" ? this.#excuse : this.#refusal;
    if (excuse) return { state: "unavailable", reason: excuse.reason, retryAt: excuse.retryAt };
    return {
      state: this.#everLive || this.#attempts > 0 ? "reconnecting" : "connecting",
      reason: this.#trouble,
      retryAt: this.#retryAt,
    };
  }

  /**
   * How the connection is, whatever the source: what went wrong with it last, until there is a picture again, and whether
   * one that there was is being made anew.
   * @param {number} now
   */
  webrtc(now) {
    if (this.#isLive(now)) return { error: null, reconnecting: false };
    const underWay = this.#phase !== "session" || this.#stage >= 2 || !this.#sawPicture;
    return { error: this.#trouble, reconnecting: this.#everLive && this.#phase !== "off" && underWay };
  }

  #isLive(now) {
    return this.#phase === "session" && this.#sawPicture && now - this.#pictureAt < TIMES.keyframe;
  }

  #connect() {
    this.#phase = "connecting";
    this.#retryAt = null;
    if (this.#refusal) this.#refusal.retryAt = null;
    return ["connect"];
  }

  #stop() {
    const close = this.#phase === "session" || this.#phase === "connecting";
    this.#phase = "off";
    return close ? ["close"] : [];
  }

  /** Nothing is tried again by itself: whoever watches has to log in first. */
  #onLockedOut() {
    this.#lockedOut = true;
    return this.#stop();
  }

  #onVisible(now) {
    this.#visible = true;
    if (this.#lockedOut) return [];
    if (this.#phase === "off") return this.#connect();
    // A hidden page's decoder may rest: its silence so far means nothing.
    this.#renewPatience(now);
    return [];
  }

  #onTick(now) {
    if (this.#phase === "waiting" && now >= this.#retryAt) {
      if (this.#visible) return this.#connect();
      this.#phase = "off";
    }
    return this.#phase === "session" && this.#visible ? this.#escalate(now) : [];
  }

  #onOpened(now) {
    if (this.#phase !== "connecting") return ["close"];
    this.#phase = "session";
    this.#sawPicture = false;
    this.#excuse = null;
    this.#refusal = null;
    this.#askedAt = -Infinity;
    this.#renewPatience(now);
    return [];
  }

  #onRefused({ reason, retryAfter }, now) {
    if (this.#phase !== "connecting") return [];
    const delay = retryAfter === null ? this.#backoff() : Math.min(retryAfter, TIMES.retryAfterCap);
    this.#wait(now + delay);
    this.#refusal = { reason, retryAt: this.#retryAt };
    return [];
  }

  #onUnreachable({ reason }, now) {
    if (this.#phase !== "connecting") return [];
    this.#refusal = null;
    this.#trouble = reason;
    this.#wait(now + this.#backoff());
    return [];
  }

  #inSession(event, now) {
    switch (event.type) {
      case "picture":
        if (this.#excuse && !this.#isSeries(event, now)) return [];
        this.#sawPicture = this.#everLive = true;
        this.#attempts = 0;
        this.#excuse = this.#trouble = null;
        this.#pictureAt = now;
        this.#renewPatience(now);
        return [];
      case "transport":
        return this.#onTransport(event.state);
      case "source":
        this.#onSource(event, now);
        return [];
      case "gone":
        this.#trouble = event.reason ?? "The server was restarted";
        this.#wait(now + this.#random() * TIMES.welcomeBack);
        return ["close"];
      case "restartRefused":
        return this.#reconnect(now);
      case "restartFailed":
        // Nothing has changed, so it may be tried again.
        this.#stage = 1;
        this.#restartAt = now + TIMES.askAgain;
        return [];
      default:
        throw new Error(`unknown event ${event.type}`);
    }
  }

  #onTransport(state) {
    const lost = state === "failed" || state === "closed";
    if (!lost || this.#stage >= 2) return [];
    this.#stage = 2;
    this.#trouble = "The connection was lost";
    return ["ask", "restart"];
  }

  /** Whether a picture is one of several: an encoder whose source stands still may send its last one once more. */
  #isSeries({ pictures = 1 }, now) {
    const before = this.#excuse.pictureAt;
    this.#excuse.pictureAt = now;
    return pictures > 1 || now - before < TIMES.keyframe;
  }

  #onSource({ reason, retryIn }, now) {
    // The server gives a reason exactly where no picture is to be expected.
    if (reason) {
      const pictureAt = this.#excuse?.pictureAt ?? -Infinity;
      this.#excuse = { reason, retryAt: retryIn === null ? null : now + retryIn, heardAt: now, pictureAt };
    } else if (this.#excuse) {
      this.#excuse = null;
      this.#renewPatience(now);
    }
  }

  #escalate(now) {
    if (this.#excuse && now - this.#excuse.heardAt >= TIMES.reconnect) {
      // Nobody vouches for the session any more.
      this.#excuse = null;
      this.#renewPatience(now);
    }
    const silence = (now - this.#progressAt) / (this.#sawPicture ? 1 : FIRST_PICTURE_PATIENCE);
    const actions = [];
    const pause = this.#excuse ? TIMES.askExcused : TIMES.askAgain;
    if (silence >= TIMES.ask && now - this.#askedAt >= pause) {
      this.#askedAt = now;
      actions.push("ask");
    }
    if (this.#excuse) return actions;
    if (silence >= TIMES.reconnect) {
      this.#trouble = "No picture arrives";
      return this.#reconnect(now);
    }
    if (silence >= TIMES.restart && this.#stage < 2 && now >= this.#restartAt) {
      this.#stage = 2;
      this.#trouble = "The picture stopped";
      actions.push("restart");
    } else if (silence >= TIMES.keyframe && this.#stage < 1) {
      this.#stage = 1;
      actions.push("keyframe");
    }
    return actions;
  }

  #reconnect(now) {
    this.#wait(now + this.#backoff());
    return ["close"];
  }

  #renewPatience(now) {
    this.#progressAt = now;
    this.#stage = 0;
  }

  #wait(until) {
    this.#phase = "waiting";
    this.#retryAt = until;
  }

  #backoff() {
    const full = Math.min(TIMES.backoff * 2 ** this.#attempts, TIMES.backoffCap);
    this.#attempts += 1;
    return full * (0.75 + 0.25 * this.#random());
  }
}
