// Steering the desktop that a page shows: pointer, wheel, keys, touch and clipboard of whoever sits before it.

import { copy } from "./controls.js";
import { $, sentence, setText } from "./format.js";
import { Keys } from "./keysyms.js";
import { Line } from "./line.js";

/** The way out, by where the key is: with Control and Alt. */
const WAY_OUT = "KeyO";
/** So much of a wheel, in pixels, is a notch; and so much of a finger's way. */
const NOTCH = 100;
const FINGER_NOTCH = 24;
/** A finger that stays for so long is the right button; one that goes further than so many pixels drags. */
const LONG = 600;
const STILL = 10;
/** How long something that happened is told. */
const NOTE = 6000;
/** Letters: 64 KiB of the widest. */
const MOST_PASTED = 20000;
const CONTROL = 0xffe3;
const RETURN = 0xff0d;
const BACKSPACE = 0xff08;

/**
 * Where a point of the window is in the picture: 0 to 65,535 each way.
 * @param {{clientX: number, clientY: number}} point
 * @param {{left: number, top: number, width: number, height: number}} box
 * @param {{videoWidth: number, videoHeight: number}} picture
 * @param {boolean} fills whether the picture fills its box, and does not just fit
 * @returns {[number, number]}
 */
export function place({ clientX, clientY }, { left, top, width, height }, { videoWidth, videoHeight }, fills) {
  const ratios = [width / (videoWidth || 1), height / (videoHeight || 1)];
  const scale = fills ? Math.max(...ratios) : Math.min(...ratios);
  const along = (/** @type {number} */ at, /** @type {number} */ room, /** @type {number} */ length) =>
    Math.round(Math.min(1, Math.max(0, (at - (room - length) / 2) / length)) * 65535);
  return [along(clientX - left, width, videoWidth * scale), along(clientY - top, height, videoHeight * scale)];
}

export class Desk {
  /**
   * @param {{stage: HTMLElement, picture: HTMLVideoElement, endpoint: string, servers: () => RTCIceServer[], tell: (text: string) => void}} options
   */
  constructor({ stage, picture, endpoint, servers, tell }) {
    this._picture = picture;
    this._tell = tell;
    this._line = new Line(endpoint, servers, this);
    this._keys = new Keys();
    this._isMac = /Mac|iP/.test(navigator.platform);
    /** `off`, `asking`, `on`, or `again`: it was on, and the line is being made anew. */
    this.state = "off";
    /** What is said above the picture, and for a while in place of it. */
    this._words = this._note = "";
    this._noted = 0;
    this._wheel = [0, 0];
    /** Buttons that are down. @type {Set<number>} */
    this._buttons = new Set();
    /** @type {[number, number]} */
    this._at = [0, 0];
    /** Fingers, by their ids. @type {Map<number, any>} */
    this._fingers = new Map();
    /** @type {any} */
    this._touch = null;
    const typing = $("typing");
    const on = (/** @type {EventTarget} */ target, /** @type {string} */ types, /** @type {(event: any) => void} */ then) =>
      types.split(" ").forEach((type) => target.addEventListener(type, (event) => (this.state === "on" || this.state === "again") && then(event), { capture: true, passive: false }));
    on(stage, "pointerdown pointermove pointerup pointercancel wheel dblclick contextmenu", (event) => {
      if (event.target !== picture) return;
      event.preventDefault();
      event.stopPropagation();
      if (event.type === "wheel") this._onWheel(event);
      else if (!event.type.startsWith("pointer")) return;
      else if (event.pointerType === "touch") this._onTouch(event);
      else this._onPointer(event);
    });
    on(window, "keydown keyup", (event) => this._onKey(event));
    on(window, "blur", () => this.release());
    on(window, "pagehide", () => this.stop());
    on(document, "visibilitychange", () => this.release());
    on(typing, "input compositionend", (event) => this._onInput(event));
    on(typing, "paste", (event) => this._onPaste(event));
    $("stop").addEventListener("click", () => this.stop());
    $("yield").addEventListener("click", () => this._line.say({ answer: true }));
    $("keep").addEventListener("click", () => this._line.say({ answer: false }));
    $("take").addEventListener("click", () => this._take());
  }

  toggle() {
    if (this.state !== "off") return this.stop();
    this._set("asking", "Asking for the desktop …");
    this._line.open();
  }

  stop() {
    this.release();
    this._line.say("give");
    this._end("");
  }

  /** @param {string} why */
  _end(why) {
    this._line.close();
    this._set("off", "");
    if (why) this._tell(why);
  }

  /** Lets go of all that is held. */
  release() {
    for (const [symbol, down] of this._keys.release()) this._act("key", symbol, down);
    for (const button of this._buttons) this._act("button", button, false, ...this._at);
    this._buttons.clear();
  }

  /** @param {string} kind @param {any[]} more */
  _act(kind, ...more) {
    this._line.act(kind, ...more);
  }

  /** The line's. */
  opened() {
    this._line.say("ask");
  }

  lost() {
    this._forget();
    if (this.state === "on") this._set("again", "One moment …");
  }

  /** @param {string} why */
  refused(why) {
    this._end(why);
  }

  /** What was held was let go over there. */
  _forget() {
    this._keys.release();
    this._buttons.clear();
  }

  /** @param {string} what @param {any} value */
  said(what, value) {
    if (what === "state") this._onState(value);
    else if (what === "clipboard") this._onCopied(value);
    else if (what === "refused") this._end("Who steers the desktop wants to keep it for now.");
    else if (what === "ended") this._end(value);
    else if (what === "released" || what === "failed") {
      if (what === "released") this._forget();
      this._say(sentence(value));
    }
  }

  /** @param {{you: boolean, controller: string | null, asker: string | null}} told */
  _onState({ you, controller, asker }) {
    if (asker) this._say("");
    const mine = asker ? `${asker} asks for the desktop.` : "You steer. Ctrl+Alt+O ends it.";
    this._set(you ? "on" : "asking", you ? mine : `Asking ${controller || "for the desktop"} …`);
    $("yield").hidden = $("keep").hidden = !you || !asker;
  }

  /** Says something for a while. @param {string} note */
  _say(note) {
    this._note = note;
    clearTimeout(this._noted);
    this._noted = setTimeout(() => this._say(""), NOTE);
    setText($("steers"), this._note || this._words);
  }

  /** @param {string} state @param {string} words */
  _set(state, words) {
    this._words = words;
    setText($("steers"), this._note || words);
    if (this.state === state) return;
    this.state = state;
    document.body.dataset.desk = state;
    $("control").setAttribute("aria-pressed", String(state !== "off"));
    $("desk").hidden = state === "off";
    $("take").hidden = true;
    if (state === "on") $("typing").focus({ preventScroll: true });
    else if (state === "off") $("typing").blur();
  }

  /** @param {any} event */
  _where(event) {
    this._at = place(event, this._picture.getBoundingClientRect(), this._picture, document.body.dataset.layout === "fill");
    return this._at;
  }

  /** @param {PointerEvent} event */
  _onPointer(event) {
    const at = this._where(event);
    if (event.type === "pointercancel") return this.release();
    // Browsers tell of a second button as of a move.
    const all = [[1, 1], [4, 2], [2, 3], [8, 8], [16, 9]];
    let changed = false;
    for (const [bit, button] of all) {
      const down = (event.buttons & bit) > 0;
      if (down === this._buttons.has(button)) continue;
      changed = true;
      this._buttons[down ? "add" : "delete"](button);
      this._act("button", button, down, ...at);
    }
    if (event.type === "pointerdown") {
      this._picture.setPointerCapture(event.pointerId);
      $("typing").focus({ preventScroll: true });
    }
    if (!changed) this._act("move", ...at);
  }

  /** @param {WheelEvent} event */
  _onWheel(event) {
    this._where(event);
    const unit = event.deltaMode === 0 ? 1 : 33;
    this._scroll((event.deltaX * unit) / NOTCH, (event.deltaY * unit) / NOTCH);
  }

  /** @param {number} dx notches @param {number} dy */
  _scroll(dx, dy) {
    const [x, y] = [this._wheel[0] + dx, this._wheel[1] + dy];
    const whole = [x, y].map((notches) => Math.max(-20, Math.min(20, Math.trunc(notches))));
    this._wheel = [x % 1, y % 1];
    if (whole[0] || whole[1]) this._act("wheel", ...whole, ...this._at);
  }

  /** A tap clicks, a finger that moves drags, one that stays is the right button, two scroll or pinch. @param {PointerEvent} event */
  _onTouch(event) {
    const { type, pointerId, clientX, clientY } = event;
    const fingers = this._fingers;
    const before = this._spread();
    const press = (/** @type {number} */ button, /** @type {boolean} */ down) => {
      this._buttons[down ? "add" : "delete"](button);
      this._act("button", button, down, ...this._at);
    };
    if (type === "pointerdown") {
      fingers.set(pointerId, event);
      if (fingers.size > 1) {
        this.release();
        clearTimeout(this._touch?.timer);
        this._touch = null;
        return;
      }
      const at = this._where(event);
      this._act("move", ...at);
      const timer = setTimeout(() => {
        press(3, true);
        press(3, false);
        this._touch = null;
      }, LONG);
      this._touch = { clientX, clientY, at, timer };
    } else if (type === "pointermove" && fingers.has(pointerId)) {
      fingers.set(pointerId, event);
      if (fingers.size > 1) return this._onTwo(before);
      const touch = this._touch;
      if (!touch) return;
      if (!touch.drags && Math.hypot(clientX - touch.clientX, clientY - touch.clientY) < STILL) return;
      clearTimeout(touch.timer);
      if (!touch.drags) press(1, true);
      touch.drags = true;
      this._act("move", ...this._where(event));
    } else if (fingers.delete(pointerId) && this._touch) {
      clearTimeout(this._touch.timer);
      this._where(event);
      if (!this._touch.drags && type === "pointerup") press(1, true);
      press(1, false);
      this._touch = null;
    }
  }

  /** Of two fingers: how far apart, and where between. */
  _spread() {
    const [one, other] = Array.from(this._fingers.values());
    if (!other) return null;
    return { apart: Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY), x: (one.clientX + other.clientX) / 2, y: (one.clientY + other.clientY) / 2 };
  }

  /** @param {{apart: number, x: number, y: number} | null} before */
  _onTwo(before) {
    const now = this._spread();
    if (!before || !now) return;
    const [pinch, dx, dy] = [now.apart - before.apart, before.x - now.x, before.y - now.y];
    if (Math.abs(pinch) <= Math.hypot(dx, dy)) return this._scroll(dx / FINGER_NOTCH, dy / FINGER_NOTCH);
    this._act("key", CONTROL, true);
    this._scroll(0, -pinch / FINGER_NOTCH);
    this._act("key", CONTROL, false);
  }

  /** @param {KeyboardEvent} event */
  _onKey(event) {
    // What an input method makes comes as text; keys in our own controls are theirs.
    const isOurs = /** @type {any} */ (event.target).closest?.("#desk button");
    if (isOurs || event.isComposing || event.keyCode === 229 || event.key === "Dead") return;
    event.stopImmediatePropagation();
    const isDown = event.type === "keydown";
    if (isDown && event.ctrlKey && event.altKey && event.code === WAY_OUT) {
      event.preventDefault();
      return this.stop();
    }
    // The browser says what is pasted only if it may paste.
    if (isDown && event.key.toLowerCase() === "v" && (this._isMac ? event.metaKey : event.ctrlKey) && !event.altKey) return;
    event.preventDefault();
    for (const [symbol, down] of this._keys.handle(event, this._isMac)) this._act("key", symbol, down);
  }

  /** @param {InputEvent} event */
  _onInput(event) {
    const typing = $("typing");
    if (event.isComposing) return;
    const press = (/** @type {number} */ symbol) => [true, false].forEach((down) => this._act("key", symbol, down));
    if (event.inputType === "deleteContentBackward") press(BACKSPACE);
    else if (event.inputType === "insertLineBreak") press(RETURN);
    else if (typing.value.trim()) this._act("text", typing.value.trimStart().slice(0, 250));
    else if (typing.value.length > 1) this._act("text", " ");
    // A phone's keyboard tells of a deletion only where there is something to delete.
    typing.value = " ";
  }

  /** @param {ClipboardEvent} event */
  _onPaste(event) {
    event.preventDefault();
    const text = event.clipboardData?.getData("text/plain");
    if (text && text.length > MOST_PASTED) return this._say("That is more text than can be pasted.");
    if (text) this._act("clipboard", text);
    for (const down of [true, false]) this._act("key", 0x76, down);
  }

  /** @param {string} text */
  async _onCopied(text) {
    this._copied = text;
    try {
      await navigator.clipboard.writeText(text);
      this._say("Copied from the desktop.");
    } catch {
      // It takes a touch of the page, or there is no clipboard for plain HTTP.
      $("take").hidden = false;
    }
  }

  _take() {
    copy(this._copied || "");
    $("typing").focus({ preventScroll: true });
    $("take").hidden = true;
  }
}
