// The wall: several streams side by side, each with a viewer of its own that mends itself, whatever its neighbours do. How they
// stand is in the address.

import { toggleFullscreen, WakeLock, watchSleep } from "./controls.js";
import { $, sentence, setText, TITLES, whenAgain } from "./format.js";
import { bind, toggle, WALL } from "./keys.js";
import { beside, columns, edgeOf, format, isAll, parse, rungFor, swap } from "./layout.js";
import { Feed } from "./streams.js";
import { outcome, Viewer } from "./viewer.js";

/** Less often than a page of one stream: each look at a connection costs half a millisecond. */
const TICK = 400;
/** So many connect at once: the server allows an address 8 that are not connected yet. */
const MOST_CONNECTING = 4;
/** From the start of one to the next. */
const STAGGER = 80;
/** One that takes longer lets the next go first. */
const TURN = 3000;

/** So many films at once, where WebRTC does not get through: of the six connections that a browser has to a server, one is for events, two are for all else. */
const MOST_FILMS = 3;

/** A window that is no wider, in pixels, has two columns: what cells say could not be read in more. */
const NARROW = 640;

const root = new URL("./", location.href);
const stage = $("stage");
/** @typedef {{name: string, item: HTMLElement, part: (selector: string) => any, viewer: Viewer}} Cell */
/** By the streams' names. @type {Map<string, Cell>} */
const cells = new Map();
let layout = parse(location.search, []);
let cols = 1;
/** The cell that is dragged. @type {string | null} */
let dragged = null;
const wakeLock = new WakeLock();
const feed = new Feed(root, null, onFeed);

/** Turns to connect, first come, first served. */
const turns = {
  taken: 0,
  /** @type {(() => void)[]} */
  waiting: [],
  async take() {
    if (turns.taken >= MOST_CONNECTING) await new Promise((resolve) => turns.waiting.push(() => resolve(null)));
    turns.taken += 1;
    let isOver = false;
    const over = () => {
      if (isOver) return;
      isOver = true;
      setTimeout(() => {
        turns.taken -= 1;
        turns.waiting.shift()?.();
      }, STAGGER);
    };
    setTimeout(over, TURN);
    return over;
  },
};

/** What a cell shows that WebRTC does not get through to: the large one and the first ones a film, the others stills. @param {string} name @returns {"film" | "stills"} */
function instead(name) {
  const isBlocked = (/** @type {string} */ name) => Boolean(cells.get(name)?.viewer.player.wantsFilm);
  const blocked = layout.streams.filter((other) => other !== layout.big && isBlocked(other));
  return name === layout.big || blocked.indexOf(name) < MOST_FILMS - (layout.big ? 1 : 0) ? "film" : "stills";
}

/** @param {string} name @returns {Cell} */
function made(name) {
  const item = $("cell").content.cloneNode(true).firstElementChild;
  const part = (/** @type {string} */ selector) => item.querySelector(selector);
  const viewer = new Viewer({
    root,
    stream: name,
    video: part("video"),
    onChange: () => render(cell),
    mayAsk: () => (feed.streams.get(name)?.scope || "view") !== "view",
    turn: turns.take,
    instead: () => instead(name),
    best: () => rungFor(Math.max(item.clientWidth, item.clientHeight) * devicePixelRatio, edgeOf(feed.streams.get(name))),
  });
  const cell = { name, item, part, viewer };
  item.dataset.stream = name;
  part(".again").addEventListener("click", () => viewer.send({ type: "retry" }));
  item.addEventListener("dblclick", () => enlarge(name));
  item.addEventListener("dragstart", () => (dragged = name));
  item.addEventListener("dragover", (/** @type {Event} */ event) => event.preventDefault());
  item.addEventListener("drop", (/** @type {Event} */ event) => {
    event.preventDefault();
    if (dragged !== null) change({ streams: swap(layout.streams, dragged, name) });
    dragged = null;
  });
  return cell;
}

/** @param {Cell} cell */
function render({ name, item, part, viewer }) {
  const { state, reason, retryAt, action } = viewer.view;
  const title = feed.streams.get(name)?.title || name;
  item.dataset.state = state;
  setText(part(".name"), [title, viewer.way].filter(Boolean).join(" · "));
  setText(part(".title"), TITLES[state]);
  setText(part(".reason"), sentence(reason));
  setText(part(".retry"), whenAgain(retryAt, performance.now()));
  part(".again").hidden = action !== "again" && (retryAt === null || viewer.session !== null);
  const label = `${title}: ${TITLES[state]}`;
  if (item.getAttribute("aria-label") !== label) item.setAttribute("aria-label", label);
}

function onFeed() {
  if (feed.refused && feed.refused.status === 401) return location.reload();
  const known = Array.from(feed.streams.keys());
  // "All" is whatever there is, also tomorrow; until somebody arranges it.
  if (isAll(location.search) && !feed.stale) layout = parse(location.search, known);
  if (known.length > 0 || layout.streams.length > 0) arrange();
  for (const { name, viewer } of cells.values()) {
    const told = feed.streams.get(name);
    if (feed.refused) viewer.send(outcome(feed.refused));
    else if (told && !feed.stale) viewer.send({ type: "source", reason: told.reason, retryIn: told.retry_in_ms, state: told.state, frameAge: null });
    viewer.settle();
  }
  const none = layout.streams.length === 0;
  const waiting = feed.stale ? "Looking for streams …" : "No stream is configured.";
  setText($("summary"), none ? waiting : "");
}

/** Another layout, which the address has from now on. @param {Partial<import("./layout.js").Layout>} change */
function change(change) {
  layout = Object.assign({}, layout, change);
  history.replaceState(null, "", format(layout) + location.hash);
  arrange();
}

/** Has the cells stand as the layout says. */
function arrange() {
  const { streams, big } = layout;
  for (const [name, { item, viewer }] of Array.from(cells)) {
    if (streams.includes(name)) continue;
    viewer.send({ type: "stop" });
    item.remove();
    cells.delete(name);
  }
  const list = $("cells");
  const focused = document.activeElement;
  streams.forEach((name, at) => {
    const cell = cells.get(name) || made(name);
    const isNew = !cells.has(name);
    cells.set(name, cell);
    // A video that is moved in the document stops: order is the style's business, but for readers and the tab key.
    if (isNew) list.append(cell.item);
    cell.item.style.order = String(at);
    cell.item.classList.toggle("big", name === big);
    cell.item.tabIndex = big === null || name === big ? 0 : -1;
    if (isNew) cell.viewer.send({ type: document.hidden ? "hidden" : "visible" });
  });
  list.classList.toggle("one", big !== null);
  cols = layout.cols || columns(streams.length, window.innerWidth, window.innerHeight);
  if (window.innerWidth <= NARROW) cols = Math.min(cols, 2);
  list.style.setProperty("--cols", String(cols));
  cells.forEach(({ viewer }) => viewer.settle());
  if (focused instanceof HTMLElement && document.contains(focused)) focused.focus({ preventScroll: true });
}

/** @param {string | null} name */
function enlarge(name) {
  change({ big: layout.big === name ? null : name });
}

/** The stream of the cell that has the focus. */
function focused() {
  const at = document.activeElement?.closest(".cell");
  return at instanceof HTMLElement ? at.dataset.stream || null : null;
}

/** @param {KeyboardEvent} event */
function onArrow(event) {
  const name = focused();
  const at = layout.streams.indexOf(name || "");
  const other = layout.streams[at < 0 ? 0 : beside(at, event.key, layout.streams.length, cols)];
  event.preventDefault();
  if (event.shiftKey && name !== null) change({ streams: swap(layout.streams, name, other) });
  else cells.get(other)?.item.focus();
}

bind(
  WALL,
  {
    enlarge: ({ target }) => {
      if (target instanceof HTMLElement && /^(a|button)$/i.test(target.tagName)) return target.click();
      if (focused() !== null) enlarge(focused());
    },
    shrink: () => change({ big: null }),
    open: () => focused() !== null && location.assign(new URL(`s/${encodeURIComponent(focused() || "")}`, root).href),
    fewer: () => change({ cols: Math.max(1, cols - 1) }),
    more: () => change({ cols: cols + 1 }),
    auto: () => change({ cols: 0 }),
    fullscreen: () => toggleFullscreen(document.documentElement).catch(() => {}),
    help: () => toggle($("sheet")),
  },
  $("sheet"),
);
addEventListener("keydown", (event) => {
  const { key, ctrlKey, metaKey, altKey } = event;
  if (key.startsWith("Arrow") && !ctrlKey && !metaKey && !altKey && !$("sheet").hasAttribute("open")) onArrow(event);
});
$("help").addEventListener("click", () => toggle($("sheet")));
$("fullscreen").addEventListener("click", () => toggleFullscreen(document.documentElement).catch(() => {}));
document.body.classList.toggle("bare", new URLSearchParams(location.search).get("controls") === "0");

/** @param {import("./player.js").Event} event */
const all = (event) => cells.forEach(({ viewer }) => viewer.send(event));
addEventListener("resize", () => layout.streams.length > 0 && arrange());
addEventListener("popstate", () => {
  layout = parse(location.search, Array.from(feed.streams.keys()));
  arrange();
});
document.addEventListener("visibilitychange", () => all({ type: document.hidden ? "hidden" : "visible" }));
addEventListener("online", () => all({ type: "online" }));
addEventListener("pointerup", () => cells.forEach(({ viewer }) => viewer.touched()));
watchSleep(() => all({ type: "woke" }));
addEventListener("pagehide", () => all({ type: "stop" }));
addEventListener("pageshow", ({ persisted }) => persisted && all({ type: "start" }));
setInterval(() => {
  cells.forEach(({ viewer }) => viewer.tick());
  // What one has found out about the way here, the others need not wait for.
  if (Array.from(cells.values()).some(({ viewer }) => viewer.player.wantsFilm)) all({ type: "blocked" });
  const lives = Array.from(cells.values()).some(({ viewer }) => viewer.view.state === "live");
  wakeLock.set(lives && !document.hidden);
}, TICK);
stage.classList.add("ready");
$("old").remove();
