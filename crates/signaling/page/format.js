// How things are said: names of states, spans of time, sizes.

/** What the API calls a stream's state, for people who watch. @type {Readonly<Record<string, string>>} */
export const STATES = Object.freeze({
  idle: "Ready",
  untried: "Never tried",
  opening: "Starting",
  live: "Live",
  paused: "Paused",
  unavailable: "No picture",
  slate: "No signal",
  down: "Starting again",
  unknown: "Unknown",
});

/** What the player calls its own. @type {Readonly<Record<string, string>>} */
export const TITLES = Object.freeze({
  connecting: "Connecting",
  live: "Live",
  slate: "No signal",
  reconnecting: "Reconnecting",
  unavailable: "Unavailable",
  ended: "It has ended",
});

/**
 * A reason as a person writes it, whoever gave it.
 * @param {string | null} reason
 */
export function sentence(reason) {
  return reason ? `${reason.charAt(0).toUpperCase()}${reason.slice(1).replace(/\.$/, "")}.` : "";
}

/**
 * @param {number | null} retryAt
 * @param {number} now
 */
export function whenAgain(retryAt, now) {
  if (retryAt === null) return "";
  const seconds = Math.ceil((retryAt - now) / 1000);
  return seconds > 0 ? `Next attempt in ${seconds} s.` : "Trying again now.";
}

/** @param {number} ms */
export function ago(ms) {
  const seconds = Math.round(ms / 1000);
  if (seconds < 10) return "just now";
  if (seconds < 60) return `${seconds} s ago`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min ago`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h ago` : `${Math.round(hours / 24)} days ago`;
}

/** @param {number} bits per second */
export function rate(bits) {
  return bits >= 999500 ? `${(bits / 1e6).toFixed(1)} Mb/s` : `${Math.round(bits / 1000)} kb/s`;
}

/**
 * Changes an element's text only where it is another, so that nobody is told the same twice.
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * The element with an id that the page is known to have.
 * @param {string} id
 * @returns {any}
 */
export const $ = (id) => document.getElementById(id);
