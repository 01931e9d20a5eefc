// The page of one stream: what is shown around a viewer (viewer.js), and what can be done with it.

import { Choices } from "./choices.js";
import { canFloat, save, toggleFloating, toggleFullscreen, WakeLock, watchSleep, Zoomable } from "./controls.js";
import { Desk } from "./desk.js";
import { $, sentence, setText, TITLES, whenAgain } from "./format.js";
import { json, Refused, refusal, request, sending } from "./http.js";
import { bind, toggle, WATCHING } from "./keys.js";
import { Panel } from "./panel.js";
import { changeTo, profileOf, PROFILES, RATES } from "./quality.js";
import { shortfall } from "./stats.js";
import { Feed } from "./streams.js";
import { outcome, Viewer } from "./viewer.js";

const TICK = 200;
/** The pointer at rest for so long hides the controls. */
const REST = 2500;
/** How long something that happened is told. */
const TELL = 6000;
/** Making a snapshot or a clip may wait for a source, and takes as long as it takes to send. */
const SAVE_TIMEOUT = 30000;
const CLIP_SECONDS = 10;
/** Where the browser plays nothing by itself. */
const TOUCH = "Touch the page to let the picture go on.";

// Relative, so that the page also works below a prefix.
const root = new URL("../", location.href);
const name = decodeURIComponent(location.pathname.split("/").filter(Boolean).pop() || "");
const api = new URL(`api/v1/streams/${encodeURIComponent(name)}`, root);
const picture = $("picture");
const stage = $("stage");

const choices = new Choices(storage());
const zoom = new Zoomable(stage, picture);
const wakeLock = new WakeLock();
/** The stream as the server told of it last. @type {import("./streams.js").Stream | null} */
let stream = null;
const mayControl = () => stream !== null && stream.scope !== "view";
const viewer = new Viewer({
  root,
  stream: name,
  video: picture,
  onChange: () => render(),
  needsTouch: (needs) => (needs ? tell(TOUCH, 0) : $("notice").textContent === TOUCH && tell("")),
  mayAsk: mayControl,
});
const panel = new Panel(viewer, () => stream, () => feed.ask());
const feed = new Feed(root, name, onFeed);
const desk = new Desk({ stage, picture, endpoint: `${api}/control`, servers: () => viewer.iceServers, tell });

function storage() {
  try {
    return window.sessionStorage;
  } catch {
    return undefined;
  }
}

function onFeed() {
  if (feed.refused && (feed.refused.status === 401 || feed.refused.code === "address_ended")) viewer.send(outcome(feed.refused));
  const told = feed.streams.get(name);
  if (!told || feed.stale) return render();
  stream = told;
  const { reason, retry_in_ms: retryIn, state } = told;
  viewer.send({ type: "source", reason, retryIn, state, frameAge: null });
  showTitle(told.title);
  // With one stream there is no list to go back to.
  $("leave").hidden = feed.streams.size === 1;
  showQuality(told.quality);
  $("quality").hidden = $("clip").hidden = !mayControl();
  $("control").hidden = !told.control || !mayControl();
  setText($("rights"), mayControl() ? "You may change the quality, for everybody who watches." : "You may watch. Whoever holds control of this stream chooses its quality.");
}

/** @param {string} title */
function showTitle(title) {
  document.title = `${title} · Framebridge`;
  setText($("name"), title);
  setText($("heading"), title);
}

/** Shows what is in force. @param {import("./quality.js").Quality} quality */
function showQuality(quality) {
  const profile = profileOf(quality);
  const profiles = PROFILES.map(({ name, title }) => ({ value: name, text: title }));
  if (!profile) profiles.unshift({ value: "", text: `${quality.longest_edge} px` });
  choose($("profile"), profiles, profile ? profile.name : "");
  const rates = RATES.includes(quality.fps) ? RATES : RATES.concat(quality.fps).sort((one, other) => one - other);
  choose($("fps"), rates.map((fps) => ({ value: String(fps), text: `${fps} fps` })), String(quality.fps));
}

/** @param {HTMLSelectElement} select @param {{value: string, text: string}[]} options @param {string} value */
function choose(select, options, value) {
  const shown = Array.from(select.options).map((option) => option.value + option.text);
  if (shown.join() !== options.map((option) => option.value + option.text).join()) {
    select.textContent = "";
    for (const option of options) select.add(new Option(option.text, option.value));
  }
  if (select.value !== value) select.value = value;
}

/** Asks for a quality, once; what comes of it the server tells everybody. @param {Partial<import("./quality.js").Quality> | null} change */
async function change(change) {
  if (!stream || !change) return;
  try {
    const { bitrate, fps, longest_edge } = await json(`${api}/quality`, sending("PUT", change));
    stream.quality = { bitrate, fps, longest_edge };
    tell("");
  } catch (error) {
    tell(error instanceof Refused ? sentence(error.message) : "The server did not answer.");
  }
  showQuality(stream.quality);
}

/** Says something for a while. @param {string} text @param {number} [span] milliseconds; 0: until it is over */
function tell(text, span = TELL) {
  setText($("notice"), text);
  clearTimeout(tell.timer);
  if (text && span) tell.timer = window.setTimeout(() => setText($("notice"), ""), span);
}
tell.timer = 0;

/** @param {string} path @param {string} ending */
async function saveAs(path, ending) {
  tell("One moment …", 0);
  try {
    const response = await request(`${api}/${path}`, {}, SAVE_TIMEOUT);
    if (!response.ok) throw await refusal(response);
    const time = new Date().toISOString().slice(0, 19).replace(/:/g, "-");
    save(await response.blob(), `${name}-${time}.${ending}`);
    tell("Saved.");
  } catch (error) {
    tell(error instanceof Refused ? sentence(error.message) : "The server did not answer.");
  }
}

function render() {
  const { state, reason, retryAt, action } = viewer.view;
  document.body.dataset.state = state;
  setText($("state"), TITLES[state]);
  setText($("title"), TITLES[state]);
  setText($("reason"), sentence(reason));
  const waits = state === "reconnecting" || state === "unavailable" || state === "connecting";
  const again = whenAgain(retryAt, performance.now());
  setText($("retry"), !waits ? "" : again || (state === "unavailable" ? "The picture returns by itself." : ""));
  $("login").hidden = action !== "login";
  $("again").hidden = action !== "again" && (!waits || retryAt === null || viewer.session !== null);
  const steered = stream?.controller ? `${stream.controller} steers` : "";
  setText($("facts"), [state === "live" ? facts() : "", steered].filter(Boolean).join(" · "));
  wakeLock.set(state === "live" && !document.hidden);
}

function facts() {
  if (viewer.film) return `${viewer.way}: ${viewer.whyFilm}`;
  const figures = viewer.figures;
  if (!figures || !figures.width) return "";
  const { width, height, fps } = figures;
  const rate = fps >= 0.95 ? `${Math.round(fps)} fps` : fps > 0 ? `1 picture in ${Math.round(1 / fps)} s` : "";
  const slow = stream?.encoder_load?.shortfall;
  return [`${width}×${height}`, rate, slow ? `the machine ${slow}` : "", shortfall(viewer.rung)].filter(Boolean).join(" · ");
}

function showLayout() {
  document.body.dataset.layout = choices.layout;
  $("layout").setAttribute("aria-pressed", String(choices.layout === "fill"));
}

function toggleLayout() {
  choices.layout = choices.layout === "fill" ? "fit" : "fill";
  showLayout();
}

/** To the page of the stream so many places on. @param {number} places */
function switchTo(places) {
  const names = Array.from(feed.streams.keys());
  const next = names[(names.indexOf(name) + places + names.length) % names.length];
  if (next && next !== name) location.assign(new URL(`s/${encodeURIComponent(next)}${location.search}`, root).href);
}

/** Controls fade while the pointer rests, as long as the picture is live and no key has led to one of them. */
function stir() {
  document.body.classList.remove("resting");
  clearTimeout(stir.timer);
  stir.timer = window.setTimeout(() => (isOnControl() ? stir() : document.body.classList.add("resting")), REST);
}
stir.timer = 0;

function isOnControl() {
  const at = document.activeElement;
  try {
    return Boolean(at && at.closest(".bar") && at.matches(":focus-visible"));
  } catch {
    return Boolean(at && at.closest(".bar"));
  }
}

function onVisibility() {
  const isSeen = !document.hidden || Boolean(document.pictureInPictureElement);
  viewer.send({ type: isSeen ? "visible" : "hidden" });
}

const deeds = {
  fullscreen: () => toggleFullscreen(stage, picture).catch(() => {}),
  layout: toggleLayout,
  snapshot: () => saveAs("snapshot.jpg", "jpg"),
  clip: () => mayControl() && saveAs(`clip.mp4?last=${CLIP_SECONDS}`, "mp4"),
  stats: () => $("info").setAttribute("aria-pressed", String(panel.toggle())),
  closer: () => zoom.step(1),
  farther: () => zoom.step(-1),
  reset: () => zoom.reset(),
  left: () => zoom.move(-1, 0),
  right: () => zoom.move(1, 0),
  up: () => zoom.move(0, -1),
  down: () => zoom.move(0, 1),
  previous: () => switchTo(-1),
  next: () => switchTo(1),
  wall: () => location.assign(new URL("wall", root).href),
  help: () => toggle($("sheet")),
  pip: () => canFloat(picture) && Promise.resolve(toggleFloating(picture)).catch(() => {}),
};

showTitle(name);
document.body.classList.toggle("bare", new URLSearchParams(location.search).get("controls") === "0");
bind(WATCHING, deeds, $("sheet"));
$("pip").hidden = !canFloat(picture);
for (const id of ["fullscreen", "layout", "snapshot", "clip", "help", "pip"]) $(id).addEventListener("click", deeds[/** @type {"layout"} */ (id)]);
$("info").addEventListener("click", deeds.stats);
$("control").addEventListener("click", () => desk.toggle());
$("profile").addEventListener("change", () => stream && change(changeTo($("profile").value, stream.quality)));
$("fps").addEventListener("change", () => change({ fps: Number($("fps").value) }));
$("again").addEventListener("click", () => viewer.send({ type: "retry" }));
// The server shows where to log in in place of this page.
$("login").addEventListener("click", (/** @type {Event} */ event) => {
  event.preventDefault();
  location.reload();
});
// Leaving for the list is on purpose; a reload or a lost connection is not.
$("leave").addEventListener("click", () => {
  choices.forget();
  showLayout();
});
picture.addEventListener("dblclick", deeds.fullscreen);
picture.addEventListener("leavepictureinpicture", onVisibility);
addEventListener("pointerup", () => viewer.touched());
for (const type of ["pointermove", "pointerdown", "keydown", "focusin"]) addEventListener(type, stir, { passive: true });
document.addEventListener("visibilitychange", onVisibility);
addEventListener("online", () => viewer.send({ type: "online" }));
watchSleep(() => viewer.send({ type: "woke" }));
addEventListener("pagehide", () => viewer.send({ type: "stop" }));
addEventListener("pageshow", ({ persisted }) => persisted && viewer.send({ type: "start" }));

// What is going on, for tests and the curious: a view, not a handle.
/** @type {any} */ (window).framebridge = Object.freeze({
  get state() {
    return viewer.view.state;
  },
  get reason() {
    return viewer.view.reason;
  },
  /** What went wrong with the connection, until there is a picture again. */
  get webrtcError() {
    return viewer.player.webrtc(performance.now()).error;
  },
  get webrtcReconnecting() {
    return viewer.player.webrtc(performance.now()).reconnecting;
  },
  get session() {
    return viewer.session?.url?.href ?? null;
  },
  /** Since the page was opened, over all its sessions. */
  get framesDecoded() {
    return viewer.framesDecoded;
  },
  get fps() {
    return viewer.figures?.fps ?? 0;
  },
  /** What "Copy as JSON" copies. */
  get report() {
    return panel.json;
  },
  /** Milliseconds since the epoch, or null. */
  get lastFrameAt() {
    return viewer.lastFrameAt || null;
  },
});

stir();
showLayout();
setInterval(() => viewer.tick(), TICK);
viewer.send({ type: document.hidden ? "hidden" : "visible" });
$("old").remove();
