// The player's page: wires the state machine (player.js) to the session (whep.js), the API and the document.

import { Choices } from "./choices.js";
import { Player } from "./player.js";
import { Refused, WhepSession } from "./whep.js";

const TICK = 200;
const REQUEST_TIMEOUT = 2000;
/** Span over which the shown frame rate is measured. */
const RATE_WINDOW = 2000;
/** The pointer at rest for so long hides the controls. */
const REST = 2500;
/** Where the browser plays nothing by itself. */
const TOUCH = "Touch the page to let the picture go on.";

const TITLES = Object.freeze({
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Reconnecting",
  unavailable: "Unavailable",
});

const $ = (id) => document.getElementById(id);
const stream = decodeURIComponent(location.pathname.split("/").filter(Boolean).pop() ?? "");
// Relative, so that the page also works below a prefix.
const endpoint = new URL(`../whep/${encodeURIComponent(stream)}`, location.href);
const api = new URL(`../api/v1/streams/${encodeURIComponent(stream)}`, location.href);

const player = new Player(Math.random);
const choices = new Choices(window.sessionStorage, stream);
const picture = $("picture");
/** The session that is open, and a number that tells it from those before it. */
let session = null;
let generation = 0;
/** Pictures decoded in the sessions before this one, and in this one. */
let decodedBefore = 0;
let decodedHere = 0;
let size = "";
let lastFrameAt = null;
const counts = [];

function send(event) {
  for (const action of player.handle(event, performance.now())) act(action);
  render();
}

function act(action) {
  const current = generation;
  /** Reports an outcome, unless the session it belongs to is no longer the one that is open. */
  const report = (event) => current === generation && send(event);
  switch (action) {
    case "connect":
      connect();
      break;
    case "close":
      close();
      break;
    case "ask":
      ask(session, report);
      break;
    case "keyframe":
      fetch(`${api}/keyframe`, { method: "POST", signal: AbortSignal.timeout(REQUEST_TIMEOUT) }).catch(() => {});
      break;
    case "restart":
      session.restart().catch((error) => {
        // Whatever else was answered, the session is there still.
        const status = error instanceof Refused ? error.status : null;
        if (status === 401) return report({ type: "lockedOut" });
        report({ type: status === 404 ? "restartRefused" : "restartFailed" });
      });
      break;
  }
}

async function connect() {
  const current = ++generation;
  const opening = WhepSession.open(endpoint, {
    onStream: (media) => {
      picture.srcObject = media;
    },
    onTransport: (state) => current === generation && session && send({ type: "transport", state }),
  });
  try {
    const opened = await opening;
    if (current !== generation) return opened.close();
    session = opened;
    send({ type: "opened" });
    choices.succeeded({ stream });
    // Whoever comes back gets what they had asked for.
    (choices.fps === null ? readFps() : setFps(choices.fps)).catch(() => {});
  } catch (error) {
    if (current !== generation) return;
    if (error instanceof Refused && error.status === 401) send({ type: "lockedOut" });
    else if (error instanceof Refused) send({ type: "refused", reason: error.message, retryAfter: error.retryAfter });
    else send({ type: "unreachable", reason: "The server can't be reached" });
  }
}

function close() {
  generation += 1;
  decodedBefore += decodedHere;
  decodedHere = 0;
  counts.length = 0;
  session?.close();
  session = null;
}

/** How are the session and the stream? A server that does not answer says nothing. */
async function ask(asked, report) {
  try {
    const [known, response] = await Promise.all(
      [`${api}/sessions/${asked.id}`, api].map((url) => fetch(url, { signal: AbortSignal.timeout(REQUEST_TIMEOUT) })),
    );
    if (known.status === 401) return report({ type: "lockedOut" });
    if (known.status === 404) return report({ type: "gone", reason: null });
    const { state: life, webrtc_error: error } = await known.json();
    if (life === "closed") return report({ type: "gone", reason: error });
    if (!response.ok) return;
    const { reason, retry_in_ms: retryIn } = await response.json();
    report({ type: "source", reason, retryIn });
  } catch {
    // Unanswered: the player's patience goes on.
  }
}

async function readFps() {
  const response = await fetch(api, { signal: AbortSignal.timeout(REQUEST_TIMEOUT) });
  if (response.ok) showFps((await response.json()).fps);
}

/** Asks for so many frames per second, and throws the server's reason if it does not want to. */
async function setFps(fps) {
  const response = await fetch(`${api}/quality`, {
    method: "PUT",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ fps }),
    signal: AbortSignal.timeout(REQUEST_TIMEOUT),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.detail);
  showFps(answer.fps);
}

/** Shows what is in force. */
function showFps(fps) {
  const choice = $("fps");
  if (![...choice.options].some(({ value }) => Number(value) === fps)) choice.add(new Option(`${fps} fps`, fps));
  choice.value = choice.dataset.inForce = fps;
}

async function chooseFps() {
  const choice = $("fps");
  const fps = Number(choice.value);
  try {
    await setFps(fps);
    choices.succeeded({ fps });
    setText($("notice"), "");
  } catch (error) {
    choice.value = choice.dataset.inForce ?? "";
    setText($("notice"), sentence(error.message));
  }
}

function showLayout() {
  document.body.dataset.layout = choices.layout;
  $("layout").setAttribute("aria-pressed", choices.layout === "fill");
}

function toggleLayout() {
  choices.succeeded({ layout: choices.layout === "fill" ? "fit" : "fill" });
  showLayout();
}

async function count() {
  const counted = session;
  if (!counted) return;
  const { frames, width, height } = await counted.decoded().catch(() => ({ frames: 0 }));
  if (counted !== session || frames <= decodedHere || !plays()) return;
  const pictures = frames - decodedHere;
  decodedHere = frames;
  lastFrameAt = Date.now();
  size = width ? `${width}×${height}` : "";
  const now = performance.now();
  counts.push([now, frames]);
  while (now - counts[0][0] > RATE_WINDOW) counts.shift();
  send({ type: "picture", pictures });
}

/**
 * Whether what is decoded is shown, too. A browser may pause the element by itself, as an iPhone does that leaves full screen:
 * it is told to go on, and where it wants a touch first, so does the page.
 */
function plays() {
  if (!picture.paused || document.hidden) return true;
  const notice = $("notice");
  picture
    .play()
    .then(() => notice.textContent === TOUCH && setText(notice, ""))
    .catch(({ name }) => name === "NotAllowedError" && setText(notice, TOUCH));
  return false;
}

function rate() {
  if (counts.length < 2) return 0;
  const [[from, before], [to, after]] = [counts[0], counts.at(-1)];
  return ((after - before) * 1000) / (to - from);
}

function render() {
  const now = performance.now();
  const { state, reason, retryAt, lockedOut } = player.view(now);
  $("login").hidden = !lockedOut;
  document.body.dataset.state = state;
  setText($("state"), TITLES[state]);
  setText($("title"), TITLES[state]);
  setText($("reason"), reason ? sentence(reason) : "");
  setText($("retry"), state === "live" || lockedOut ? "" : whenAgain(state, retryAt, now));
  setText($("facts"), state === "live" ? [size, `${Math.round(rate())} fps`].filter(Boolean).join(" · ") : "");
}

/** A reason as a person writes it, whoever gave it. */
function sentence(reason) {
  return `${reason.charAt(0).toUpperCase()}${reason.slice(1).replace(/\.$/, "")}.`;
}

function whenAgain(state, retryAt, now) {
  if (retryAt === null) return state === "unavailable" ? "The picture returns by itself." : "";
  const seconds = Math.ceil((retryAt - now) / 1000);
  return seconds > 0 ? `Next attempt in ${seconds} s.` : "Trying again now.";
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

async function toggleFullscreen() {
  if (document.fullscreenElement) await document.exitFullscreen();
  else if ($("stage").requestFullscreen) await $("stage").requestFullscreen();
  // An iPhone gives the whole screen to the video element only.
  else picture.webkitEnterFullscreen?.();
}

/** Controls fade while the pointer rests, as long as the picture is live. */
function stir() {
  document.body.classList.remove("resting");
  clearTimeout(stir.timer);
  stir.timer = setTimeout(() => document.body.classList.add("resting"), REST);
}

// The server shows where to log in in place of this page.
$("login").addEventListener("click", (event) => {
  event.preventDefault();
  location.reload();
});
document.title = `${stream} · Framebridge`;
$("name").textContent = stream;
$("fps").addEventListener("change", chooseFps);
$("layout").addEventListener("click", toggleLayout);
// Leaving for the list is on purpose; a reload or a lost connection is not.
$("leave").addEventListener("click", () => {
  choices.forget();
  showLayout();
});
$("fullscreen").addEventListener("click", toggleFullscreen);
picture.addEventListener("dblclick", toggleFullscreen);
picture.addEventListener("pause", plays);
addEventListener("pointerup", plays);
for (const type of ["pointermove", "pointerdown", "keydown", "focusin"]) addEventListener(type, stir, { passive: true });
addEventListener("keydown", (event) => {
  if (event.key === "f" && !event.ctrlKey && !event.metaKey && !event.altKey) toggleFullscreen();
});
document.addEventListener("visibilitychange", () => send({ type: document.hidden ? "hidden" : "visible" }));
addEventListener("pagehide", () => send({ type: "stop" }));
addEventListener("pageshow", ({ persisted }) => persisted && send({ type: "start" }));

// What is going on, for tests and the curious: a view, not a handle.
window.framebridge = Object.freeze({
  get state() {
    return player.view(performance.now()).state;
  },
  get reason() {
    return player.view(performance.now()).reason;
  },
  /** What went wrong with the connection, until there is a picture again. */
  get webrtcError() {
    return player.webrtc(performance.now()).error;
  },
  get webrtcReconnecting() {
    return player.webrtc(performance.now()).reconnecting;
  },
  get session() {
    return session?.url.href ?? null;
  },
  /** Since the page was opened, over all its sessions. */
  get framesDecoded() {
    return decodedBefore + decodedHere;
  },
  get fps() {
    return rate();
  },
  /** Milliseconds since the epoch, or null. */
  get lastFrameAt() {
    return lastFrameAt;
  },
});

stir();
showLayout();
setInterval(() => {
  count();
  send({ type: "tick" });
}, TICK);
send({ type: "start" });
