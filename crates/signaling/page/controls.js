// What can be done with the picture in this window: zoom and pan, fullscreen, picture in picture, keeping the screen on.

const MOST_ZOOM = 8;
const STEP = 1.25;
const PAN = 0.1;

/** @typedef {{scale: number, x: number, y: number}} Zoom the picture's upper left corner, and how large it is, in windows */

/** @type {Readonly<Zoom>} */
export const WHOLE = Object.freeze({ scale: 1, x: 0, y: 0 });

/**
 * Zooms by a factor; what is at a point of the window stays there.
 * @param {Zoom} zoom
 * @param {number} factor
 * @param {number} x from 0 at the left to 1 at the right
 * @param {number} y
 * @returns {Zoom}
 */
export function zoomAt(zoom, factor, x, y) {
  const scale = Math.min(MOST_ZOOM, Math.max(1, zoom.scale * factor));
  const by = scale / zoom.scale;
  return within({ scale, x: x - (x - zoom.x) * by, y: y - (y - zoom.y) * by });
}

/**
 * @param {Zoom} zoom
 * @param {number} dx in windows
 * @param {number} dy
 * @returns {Zoom}
 */
export function pan(zoom, dx, dy) {
  return within({ scale: zoom.scale, x: zoom.x + dx, y: zoom.y + dy });
}

/** The picture always fills its place. @param {Zoom} zoom @returns {Zoom} */
function within({ scale, x, y }) {
  const least = 1 - scale;
  return { scale, x: Math.min(0, Math.max(least, x)), y: Math.min(0, Math.max(least, y)) };
}

/** Lets a picture be zoomed by wheel, pinch and drag; by keys with what it gives back. */
export class Zoomable {
  /** @param {HTMLElement} stage @param {HTMLElement} picture */
  constructor(stage, picture) {
    this._stage = stage;
    this._picture = picture;
    /** @type {Zoom} */
    this.zoom = WHOLE;
    /** Fingers, or the mouse with its button down, by their ids. @type {Map<number, {x: number, y: number}>} */
    this._down = new Map();
    stage.addEventListener("wheel", (event) => this._onWheel(event), { passive: false });
    picture.addEventListener("pointerdown", (event) => this._down.set(event.pointerId, this._at(event)));
    addEventListener("pointermove", (event) => this._onMove(event));
    for (const type of ["pointerup", "pointercancel"]) {
      addEventListener(type, (event) => this._down.delete(/** @type {PointerEvent} */ (event).pointerId));
    }
  }

  /** @param {number} times steps in, or out if negative */
  step(times) {
    this._show(zoomAt(this.zoom, STEP ** times, 0.5, 0.5));
  }

  /** @param {number} x steps to the right @param {number} y */
  move(x, y) {
    this._show(pan(this.zoom, -x * PAN, -y * PAN));
  }

  reset() {
    this._show(WHOLE);
  }

  /** @param {{clientX: number, clientY: number}} event */
  _at({ clientX, clientY }) {
    const { left, top, width, height } = this._stage.getBoundingClientRect();
    return { x: (clientX - left) / width, y: (clientY - top) / height };
  }

  /** @param {WheelEvent} event */
  _onWheel(event) {
    if (event.target !== this._picture) return;
    event.preventDefault();
    const { x, y } = this._at(event);
    // Some wheels count lines, and not pixels.
    const pixels = event.deltaMode === 0 ? event.deltaY : event.deltaY * 30;
    this._show(zoomAt(this.zoom, Math.exp(-Math.max(-240, Math.min(240, pixels)) / 400), x, y));
  }

  /** @param {PointerEvent} event */
  _onMove(event) {
    const before = this._down.get(event.pointerId);
    if (!before) return;
    const now = this._at(event);
    const other = Array.from(this._down).find(([id]) => id !== event.pointerId)?.[1];
    this._down.set(event.pointerId, now);
    if (!other) return this._show(pan(this.zoom, now.x - before.x, now.y - before.y));
    const apart = (/** @type {{x: number, y: number}} */ one) => Math.hypot(one.x - other.x, one.y - other.y);
    const middle = { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 };
    const moved = pan(this.zoom, (now.x - before.x) / 2, (now.y - before.y) / 2);
    this._show(zoomAt(moved, apart(now) / Math.max(0.01, apart(before)), middle.x, middle.y));
  }

  /** @param {Zoom} zoom */
  _show(zoom) {
    this.zoom = zoom;
    const { scale, x, y } = zoom;
    this._picture.style.transform = scale === 1 ? "" : `translate(${x * 100}%, ${y * 100}%) scale(${scale})`;
    this._stage.classList.toggle("zoomed", scale > 1);
  }
}

/** @param {HTMLElement} stage @param {any} [video] */
export async function toggleFullscreen(stage, video) {
  if (document.fullscreenElement) await document.exitFullscreen();
  else if (stage.requestFullscreen) await stage.requestFullscreen();
  // An iPhone gives the whole screen to the video element only.
  else video?.webkitEnterFullscreen?.();
}

/** Whether a picture can float over other windows here. @param {any} video */
export function canFloat(video) {
  return Boolean(document.pictureInPictureEnabled || video.webkitSupportsPresentationMode?.("picture-in-picture"));
}

/** @param {any} video */
export async function toggleFloating(video) {
  if (document.pictureInPictureElement) return document.exitPictureInPicture();
  if (video.requestPictureInPicture) return video.requestPictureInPicture();
  const floats = video.webkitPresentationMode === "picture-in-picture";
  return video.webkitSetPresentationMode?.(floats ? "inline" : "picture-in-picture");
}

/** Keeps the screen on while there is something to see, where the browser lets a page do so. */
export class WakeLock {
  constructor() {
    /** @type {any} */
    this._lock = null;
    this._asked = false;
  }

  /** @param {boolean} wanted */
  async set(wanted) {
    /** @type {any} */
    const { wakeLock } = navigator;
    if (!wakeLock || wanted === this._asked) return;
    this._asked = wanted;
    if (!wanted) return this._lock?.release().catch(() => {});
    try {
      this._lock = await wakeLock.request("screen");
      // A browser takes it back from a page that is hidden.
      this._lock.addEventListener("release", () => (this._asked = false));
    } catch {
      // It is not given, as on a battery that is low.
    }
  }
}

/** Puts a text into the clipboard. @param {string} text */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Plain HTTP has no clipboard; the old way takes a field, and a touch of the page.
    const field = document.createElement("textarea");
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
}

/** Saves something under a name, as a link would. @param {Blob} blob @param {string} name */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** Notices that the machine has slept: time that passed and was not lived through. @param {() => void} onWoke */
export function watchSleep(onWoke) {
  const LOOK = 1000;
  // So much is no sleep: a hidden page's timers run once a minute.
  const SLEPT = 70000;
  let before = Date.now();
  setInterval(() => {
    const now = Date.now();
    const slept = now - before - LOOK > (document.hidden ? SLEPT : 5 * LOOK);
    before = now;
    if (slept) onWoke();
  }, LOOK);
}
