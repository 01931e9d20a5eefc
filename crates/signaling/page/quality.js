// Qualities that have a name: one table, as docs/viewer.md has it. A profile is how large and how good the picture is; the
// frame rate that goes with it can be chosen apart.

/** @typedef {{bitrate: number, fps: number, longest_edge: number}} Quality */

/** @type {ReadonlyArray<Readonly<Quality & {name: string, title: string}>>} */
export const PROFILES = Object.freeze([
  { name: "full", title: "Full", longest_edge: 1920, fps: 60, bitrate: 8000000 },
  { name: "smooth", title: "Smooth", longest_edge: 1280, fps: 60, bitrate: 4000000 },
  { name: "balanced", title: "Balanced", longest_edge: 1280, fps: 30, bitrate: 2500000 },
  { name: "economy", title: "Economy", longest_edge: 960, fps: 30, bitrate: 1200000 },
  { name: "low", title: "Low", longest_edge: 640, fps: 15, bitrate: 500000 },
  { name: "tiny", title: "Tiny", longest_edge: 320, fps: 15, bitrate: 150000 },
]);

/** Frame rates to choose from. */
export const RATES = Object.freeze([15, 30, 60]);

/**
 * The profile that is in force, whatever its frame rate; `null`: something of an operator's own.
 * @param {Quality} quality
 */
export function profileOf({ longest_edge: edge, bitrate }) {
  return PROFILES.find((profile) => profile.longest_edge === edge && profile.bitrate === bitrate) || null;
}

/**
 * What to ask for, to have a profile: `null` where it is in force already.
 * @param {string} name
 * @param {Quality} inForce
 * @returns {Quality | null}
 */
export function changeTo(name, inForce) {
  const wanted = PROFILES.find((profile) => profile.name === name);
  if (!wanted) return null;
  const { longest_edge, fps, bitrate } = wanted;
  const same = longest_edge === inForce.longest_edge && fps === inForce.fps && bitrate === inForce.bitrate;
  return same ? null : { longest_edge, fps, bitrate };
}
