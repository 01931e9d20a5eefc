// The stream by plain HTTP, where WebRTC gets through by neither UDP nor TCP: as a film that Media Source plays, or still by still.

import { refusal, request } from "./http.js";

/** The picture may be so far behind what has come; past it, it goes on near the end. Seconds. */
const BEHIND = 1;
const NEAR = 0.2;
/** What was shown is kept so long. Seconds. */
const KEPT = 10;
/** From a still to the next of the same stream. Milliseconds. */
const STILL = 2000;

/** @type {any} */
const Source = /** @type {any} */ (window).ManagedMediaSource || window.MediaSource;

export class Film {
  /** Whether this browser can play one. */
  static get works() {
    return Boolean(Source && window.ReadableStream);
  }

  /** @param {URL} url @param {HTMLVideoElement} video @param {(error: unknown) => void} onEnd there comes no more of it */
  constructor(url, video, onEnd) {
    this._video = video;
    this._controller = new AbortController();
    this._url = "";
    this._base = Infinity;
    this._play(url).then(() => null, (error) => error).then((error) => this._url && onEnd(error));
  }

  /** Changes with each picture that is shown: one that is sought is none that the element counts. */
  get at() {
    return this._video.readyState > 1 ? this._video.currentTime : 0;
  }

  /** How many pictures were shown of it. */
  get frames() {
    return Math.max(0, this._video.getVideoPlaybackQuality().totalVideoFrames - this._base);
  }

  /** Takes the film away from the picture. */
  close() {
    this._controller.abort();
    URL.revokeObjectURL(this._url);
    this._url = "";
    this._video.removeAttribute("src");
    this._video.load();
  }

  /** @param {URL} url */
  async _play(url) {
    const video = this._video;
    const source = new Source();
    video.srcObject = null;
    video.src = this._url = URL.createObjectURL(source);
    const opened = next(source, "sourceopen");
    const response = await fetch(String(url), { signal: this._controller.signal });
    if (!response.ok || !response.body) throw await refusal(response);
    await opened;
    // The element counts anew for each that it plays, or does not.
    this._base = video.getVideoPlaybackQuality().totalVideoFrames;
    const reader = response.body.getReader();
    /** @type {any} */
    let buffer = null;
    let head = new Uint8Array(0);
    for (;;) {
      const { value, done } = await reader.read();
      if (done || !value) return;
      if (buffer) {
        await this._append(buffer, value);
        continue;
      }
      head = joined(head, value);
      const codec = codecOf(head);
      if (!codec) continue;
      buffer = source.addSourceBuffer(`video/mp4; codecs="${codec}"`);
      await this._append(buffer, head);
      video.play().catch(() => {});
    }
  }

  /** @param {any} buffer @param {Uint8Array} bytes */
  async _append(buffer, bytes) {
    const video = this._video;
    buffer.appendBuffer(bytes);
    await next(buffer, "updateend");
    const { buffered } = buffer;
    if (!buffered.length) return;
    const [start, end] = [buffered.start(buffered.length - 1), buffered.end(buffered.length - 1)];
    if (video.currentTime < start || end - video.currentTime > BEHIND) video.currentTime = Math.max(start, end - NEAR);
    if (video.currentTime - buffered.start(0) < 2 * KEPT) return;
    buffer.remove(0, video.currentTime - KEPT);
    await next(buffer, "updateend");
  }
}

/** When the still is there that is being asked for. All of a page take turns: they need no more than one connection. @type {Promise<unknown>} */
let still = Promise.resolve();

export class Stills {
  /** @param {URL} url @param {HTMLVideoElement} video */
  constructor(url, video) {
    /** How many were shown. */
    this.frames = 0;
    this._closed = false;
    this._video = video;
    video.srcObject = null;
    this._play(url);
  }

  get at() {
    return this.frames;
  }

  close() {
    this._closed = true;
    this._video.removeAttribute("poster");
  }

  /** @param {URL} url */
  async _play(url) {
    while (!this._closed) {
      // One that can't be had now is had the next time.
      still = still.then(() => this._show(url)).catch(() => {});
      await still;
      await new Promise((resolve) => setTimeout(resolve, STILL));
    }
  }

  /** @param {URL} url */
  async _show(url) {
    if (this._closed) return;
    const response = await request(url);
    if (!response.ok) return;
    const address = await asAddress(await response.blob());
    if (this._closed) return;
    this._video.poster = address;
    this.frames += 1;
  }
}

/** @param {Blob} blob @returns {Promise<string>} */
function asAddress(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

/**
 * The codec that a film's beginning names (RFC 6381), by its `avcC`; `null`: not all of it is there.
 * @param {Uint8Array} bytes
 */
export function codecOf(bytes) {
  for (let at = 0; at + 8 <= bytes.length; at += 1) {
    if (String.fromCharCode(...bytes.subarray(at, at + 4)) !== "avcC") continue;
    const profile = Array.from(bytes.subarray(at + 5, at + 8));
    return `avc1.${profile.map((byte) => `0${byte.toString(16)}`.slice(-2)).join("")}`;
  }
  return null;
}

/** @param {Uint8Array} one @param {Uint8Array} other */
function joined(one, other) {
  const both = new Uint8Array(one.length + other.length);
  both.set(one);
  both.set(other, one.length);
  return both;
}

/** @param {EventTarget} target @param {string} name @returns {Promise<void>} */
function next(target, name) {
  return new Promise((resolve, reject) => {
    const settle = (/** @type {Event} */ { type }) => {
      for (const kind of [name, "error"]) target.removeEventListener(kind, settle);
      if (type === name) resolve();
      else reject(new Error("The film can't be played"));
    };
    for (const kind of [name, "error"]) target.addEventListener(kind, settle);
  });
}
