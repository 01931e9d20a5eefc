// How a box's session is, in words, until there is something to watch.

import { json, Refused, request } from "./http.js";

const ASK = 2000;
const REQUEST_TIMEOUT = 5000;

const TITLES = Object.freeze({
  starting: "The box is starting",
  ready: "The box is ready",
  "provider-online": "The box is online, without a picture",
  degraded: "The box can't be watched right now",
  failed: "The box has failed",
  expired: "The box was stopped",
});

const $ = (id) => document.getElementById(id);
const [, , id] = location.pathname.split("/");

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function ago(ms) {
  const seconds = Math.max(0, Math.round((Date.now() - ms) / 1000));
  if (seconds < 90) return `${seconds} s ago`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min ago` : new Date(ms).toLocaleString();
}

function show({ state, reason, next, last_seen_ms: seen }) {
  document.body.dataset.sessionState = state;
  setText($("title"), TITLES[state] ?? state);
  setText($("reason"), reason ? `${reason.replace(/\.$/, "")}.` : "");
  setText($("next"), next);
  setText($("seen"), seen ? `Last heard of ${ago(seen)}.` : "It has not been here yet.");
}

/** Whether the box itself answers at this address again. */
async function isBack() {
  const response = await request(location.href, { cache: "no-store" }, REQUEST_TIMEOUT);
  return response.ok;
}

async function ask() {
  try {
    const session = await json(`/api/v1/sessions/${id}`, {}, REQUEST_TIMEOUT);
    show(session);
    if (session.linked && (await isBack())) return location.reload();
  } catch (error) {
    if (error instanceof Refused && error.status === 404) return location.reload();
    setText($("title"), "The studio can't be reached");
    setText($("reason"), "");
    setText($("next"), "This page tries again by itself.");
    document.body.dataset.sessionState = "unreachable";
  }
  setTimeout(ask, ASK);
}

ask();
