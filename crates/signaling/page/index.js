// The list of streams, kept current.

const REFRESH = 2000;
const REQUEST_TIMEOUT = 4000;
/** Stills are taken of live streams only, which costs the encoder a JPEG each. */
const STILL_REFRESH = 10_000;

const list = document.getElementById("streams");
const summary = document.getElementById("summary");
const template = document.getElementById("row");
/** Rows by stream name. */
const rows = new Map();

function row(name) {
  if (!rows.has(name)) {
    const item = template.content.cloneNode(true).firstElementChild;
    const part = (selector) => item.querySelector(selector);
    part("a").href = `s/${encodeURIComponent(name)}`;
    part(".name").textContent = name;
    part("img").addEventListener("load", ({ target }) => (target.hidden = false));
    part("img").addEventListener("error", ({ target }) => (target.hidden = true));
    rows.set(name, { item, part, stillAt: -Infinity });
    list.append(item);
  }
  return rows.get(name);
}

function show(stream) {
  const shown = row(stream.name);
  shown.item.dataset.state = stream.state;
  shown.part(".state").textContent = stream.state;
  shown.part(".detail").textContent = detail(stream);
  if (stream.state !== "live") shown.part("img").hidden = true;
  else if (performance.now() - shown.stillAt > STILL_REFRESH) {
    shown.stillAt = performance.now();
    shown.part("img").src = `api/v1/streams/${encodeURIComponent(stream.name)}/snapshot.jpg?at=${Date.now()}`;
  }
}

function detail(stream) {
  if (stream.reason) return stream.reason;
  const size = stream.width ? `${stream.width}×${stream.height} · ${stream.fps} fps` : stream.source;
  const viewers = stream.viewers === 1 ? "1 viewer" : `${stream.viewers} viewers`;
  return stream.viewers ? `${size} · ${viewers}` : size;
}

function summarize(streams) {
  if (streams.length === 0) return "No stream is configured.";
  const live = streams.filter(({ state }) => state === "live").length;
  const count = streams.length === 1 ? "1 stream" : `${streams.length} streams`;
  return live ? `${count}, ${live} live` : count;
}

async function refresh() {
  try {
    const response = await fetch("api/v1/streams", { signal: AbortSignal.timeout(REQUEST_TIMEOUT) });
    // The server shows where to log in in place of this page.
    if (response.status === 401) return location.reload();
    const { streams } = await response.json();
    for (const stream of streams) show(stream);
    const names = new Set(streams.map(({ name }) => name));
    for (const [name, { item }] of rows) {
      if (names.has(name)) continue;
      item.remove();
      rows.delete(name);
    }
    summary.textContent = summarize(streams);
  } catch {
    summary.textContent = "The server can't be reached. Trying again …";
  }
  setTimeout(refresh, REFRESH);
}

refresh();
