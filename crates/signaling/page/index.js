// The first page: one stream plays at once, several are cards.

import { $, ago, sentence, setText, STATES } from "./format.js";
import { Feed } from "./streams.js";

/** A still of a live stream is as fresh as this, and costs the encoder a JPEG each time. */
const STILL_REFRESH = 10000;

const root = new URL("./", location.href);
const list = $("streams");
/** @typedef {{item: HTMLElement, part: (selector: string) => any, stillAt: number, kept: number | null}} Row */
/** By the streams' names. @type {Map<string, Row>} */
const rows = new Map();
const feed = new Feed(root, null, show);

/** @param {string} name @returns {Row} */
function rowOf(name) {
  const known = rows.get(name);
  if (known) return known;
  const item = $("row").content.cloneNode(true).firstElementChild;
  const part = (/** @type {string} */ selector) => item.querySelector(selector);
  part("a").href = `s/${encodeURIComponent(name)}`;
  const image = part("img");
  image.addEventListener("load", () => (image.hidden = false));
  image.addEventListener("error", () => (image.hidden = true));
  const row = { item, part, stillAt: -Infinity, kept: null };
  rows.set(name, row);
  list.append(item);
  return row;
}

/** @param {import("./streams.js").Stream} stream */
function showStream(stream) {
  const row = rowOf(stream.name);
  const { item, part } = row;
  // What can't be watched looks so, whatever its encoder is about to do.
  const state = feed.stale ? "unknown" : stream.state;
  item.dataset.state = state;
  item.dataset.condition = stream.condition;
  setText(part(".name"), stream.title);
  part(".name").title = stream.title;
  setText(part(".state"), STATES[state] || state);
  setText(part(".detail"), feed.stale ? "Not known: the server can't be reached" : detail(stream));
  // Only operators are told more than the kind of a source.
  setText(part(".source"), stream.source.length > stream.source.indexOf(":") + 1 ? stream.source : "");
  if (!feed.stale) showStill(row, stream);
}

/** @param {Row} row @param {import("./streams.js").Stream} stream */
function showStill(row, { name, state, still_age_ms: age }) {
  const now = performance.now();
  const isLive = state === "live";
  if (!isLive && (age === null || state === "paused")) return void (row.part("img").hidden = true);
  const isOld = isLive ? now - row.stillAt > STILL_REFRESH : row.kept === null || (age !== null && age < now - row.kept);
  if (!isOld) return;
  row.stillAt = isLive ? now : -Infinity;
  row.kept = isLive || age === null ? null : now - age;
  const which = isLive ? "" : "kept=true&";
  row.part("img").src = `api/v1/streams/${encodeURIComponent(name)}/snapshot.jpg?${which}at=${Date.now()}`;
}

/** @param {import("./streams.js").Stream} stream */
function detail(stream) {
  const { state, reason, width, height, viewers, still_age_ms: age } = stream;
  if (reason) return sentence(reason);
  if (state === "idle") return ["Starts when you watch", age === null ? "" : `seen ${ago(age)}`].filter(Boolean).join(" · ");
  if (state === "untried") return "Starts when you watch · never tried yet";
  const watching = viewers === 1 ? "1 viewer" : viewers ? `${viewers} viewers` : "";
  return [width ? `${width}×${height}` : "", watching].filter(Boolean).join(" · ") || "Click to watch";
}

/** @param {import("./streams.js").Stream[]} streams */
function summarize(streams) {
  if (feed.refused) return sentence(feed.refused.message);
  if (feed.stale) return "The server can't be reached. Trying again …";
  if (streams.length === 0) return "No stream is configured.";
  const faulty = streams.filter(({ condition }) => condition === "dark").length;
  const live = streams.filter(({ state }) => state === "live").length;
  const counts = [streams.length === 1 ? "1 stream" : `${streams.length} streams`, live ? `${live} live` : "", faulty ? `${faulty} without a picture` : ""];
  return counts.filter(Boolean).join(", ");
}

function show() {
  // The server shows where to log in in place of this page.
  if (feed.refused && feed.refused.status === 401) return location.reload();
  const streams = Array.from(feed.streams.values());
  if (streams.length === 1 && !feed.stale && location.search !== "?list") {
    return location.replace(`s/${encodeURIComponent(streams[0].name)}${location.search}`);
  }
  document.body.classList.toggle("stale", feed.stale);
  for (const stream of streams) showStream(stream);
  for (const [name, { item }] of Array.from(rows)) {
    if (feed.streams.has(name)) continue;
    item.remove();
    rows.delete(name);
  }
  $("wall").hidden = streams.length < 2;
  setText($("summary"), summarize(streams));
}

// Stills and spans of time grow old by themselves.
setInterval(() => document.hidden || show(), 5000);
$("old").remove();
