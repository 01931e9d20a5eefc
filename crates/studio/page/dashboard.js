// All boxes, kept current: state, streams with a picture, jobs, logs. What is there is changed in place, so that nothing is
// taken away from under the pointer.

import { json } from "./http.js";

const REFRESH = 2000;
const STILL_REFRESH = 15000;
const REQUEST_TIMEOUT = 8000;
const MOST_JOBS = 10;
const MOST_LOG_CHARACTERS = 100000;

const list = document.getElementById("boxes");
const summary = document.getElementById("summary");
/** Shown boxes by session id. */
const shown = new Map();

/** Not relative: with the password in this page's own address, no browser would ask. */
const api = (path, options) => json(`${location.origin}/api/v1/${path}`, options, REQUEST_TIMEOUT);

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A copy of a template, and a way to its parts. */
function made(template) {
  const source = /** @type {HTMLTemplateElement} */ (document.getElementById(template));
  const root = /** @type {any} */ (source.content.cloneNode(true)).firstElementChild;
  return { root, part: (selector) => root.querySelector(selector) };
}

function ago(ms) {
  const seconds = Math.max(0, Math.round((Date.now() - ms) / 1000));
  if (seconds < 10) return "just now";
  if (seconds < 90) return `${seconds} s ago`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min ago` : new Date(ms).toLocaleString();
}

/** A time as a log has it: local, with its date, of 24 hours. */
function stamp(ms) {
  const at = new Date(ms);
  return new Date(ms - at.getTimezoneOffset() * 60000).toISOString().slice(0, 19).replace("T", " ");
}

/** What the form asks for, as the interface takes it. */
function order({ kind, stream, seconds }) {
  switch (kind.value) {
    case "diagnose":
      return { kind: "diagnose" };
    case "snapshot":
      return { kind: "snapshot", stream: stream.value };
    default:
      return { kind: "clip", stream: stream.value, [kind.value]: seconds.valueAsNumber * 1000 };
  }
}

function place(id) {
  if (!shown.has(id)) {
    const box = { ...made("box"), nextLine: 0, streams: new Map() };
    const form = box.part(".order");
    const { kind, stream } = form.elements;
    const fit = () => {
      form.querySelector(".span").hidden = !kind.value.endsWith("_ms");
      form.querySelector(".of").hidden = kind.value === "diagnose";
      stream.required = kind.value !== "diagnose";
    };
    kind.addEventListener("change", fit);
    fit();
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const said = form.querySelector("output");
      said.value = "";
      const body = JSON.stringify(order(form.elements));
      api(`boxes/${id}/jobs`, { method: "POST", headers: { "Content-Type": "application/json" }, body })
        .then(() => showJobs(id, box))
        .catch((error) => (said.value = `Not taken: ${error.message}`));
    });
    list.append(box.root);
    shown.set(id, box);
  }
  return shown.get(id);
}

function showStreams(id, box, streams) {
  const names = streams.map(({ name }) => name);
  for (const [name, { root }] of box.streams) {
    if (!names.includes(name)) {
      root.remove();
      box.streams.delete(name);
    }
  }
  for (const { name, state, verdict, viewers } of streams) {
    if (!box.streams.has(name)) {
      const stream = { ...made("stream"), at: -Infinity };
      const image = stream.part("img");
      image.addEventListener("load", () => (image.hidden = false));
      image.addEventListener("error", () => (image.hidden = true));
      setText(stream.part("strong"), name);
      box.part(".streams").append(stream.root);
      box.streams.set(name, stream);
    }
    const stream = box.streams.get(name);
    setText(stream.part(".verdict"), verdict || state);
    setText(stream.part(".viewers"), viewers === 1 ? "1 viewer" : `${viewers} viewers`);
    if (state === "live" && performance.now() - stream.at > STILL_REFRESH) {
      stream.at = performance.now();
      stream.part("img").src = `/api/v1/boxes/${id}/stills/${encodeURIComponent(name)}?at=${Date.now()}`;
    } else if (state !== "live") {
      // An old picture would pass for a present one.
      stream.part("img").hidden = true;
      stream.at = -Infinity;
    }
  }
  const choice = box.part("select[name=stream]");
  // A box that is away has its streams still.
  if (names.length > 0 && [...choice.options].map(({ value }) => value).join() !== names.join()) {
    choice.replaceChildren(...names.map((name) => new Option(name)));
  }
}

/** What can be asked for: of a box that is away, anything, for it may be back by then. */
function fitKinds(choice, jobs) {
  for (const option of choice.options) {
    const kind = option.value.endsWith("_ms") ? "clip" : option.value;
    option.disabled = jobs !== null && jobs.length > 0 && !jobs.includes(kind);
    option.title = option.disabled ? "The box's operator does not allow it: studio.allow" : "";
  }
}

function showBox({ name, instance, build, session, takes_jobs: takesJobs, jobs }) {
  const box = place(session.id);
  const { root, part } = box;
  root.dataset.state = session.state;
  setText(part("h2"), name);
  setText(part(".state"), session.state);
  setText(part(".seen"), session.last_seen_ms ? `last seen ${ago(session.last_seen_ms)}` : "never seen");
  setText(part(".reason"), session.reason ?? "");
  setText(part(".next"), session.state === "ready" ? "" : session.next);
  setText(part(".facts"), [`instance ${instance.slice(0, 8)}`, build, takesJobs ? "" : "paused: takes no jobs"].filter(Boolean).join(" · "));
  part(".address").href = session.url;
  setText(part(".address"), session.url);
  fitKinds(part("select[name=kind]"), jobs);
  showStreams(session.id, box, session.streams);
  return box;
}

async function showJobs(id, box) {
  const { jobs } = await api(`boxes/${id}/jobs`);
  const body = box.part(".jobs");
  body.closest("table").hidden = jobs.length === 0;
  const rows = jobs.slice(0, MOST_JOBS).map((job) => {
    const row = document.createElement("tr");
    const { kind, stream, last_ms: last, next_ms: next } = job.kind;
    const span = last ? `last ${last / 1000} s` : next ? `next ${next / 1000} s` : "";
    row.insertCell().append([kind, stream, span].filter(Boolean).join(" · "));
    row.insertCell().append(job.error ? `${job.state}: ${job.error}` : job.state);
    row.insertCell().append(ago(job.created_ms));
    const cell = row.insertCell();
    if (job.result) {
      const link = document.createElement("a");
      Object.assign(link, { href: job.result, textContent: "Download", download: "" });
      cell.append(link);
    }
    return row;
  });
  const said = (rows) => rows.map((row) => row.innerHTML).join();
  if (said(rows) !== said([...body.rows])) body.replaceChildren(...rows);
}

async function showLog(id, box) {
  // Only what is read is asked for; once opened it begins with all that the studio has kept.
  if (!box.part("details").open) return;
  const ask = (from) => api(`boxes/${id}/logs?from=${from}`);
  let { lines, next } = await ask(box.nextLine);
  // A studio that was started again counts anew.
  if (next < box.nextLine) ({ lines, next } = await ask(0));
  box.nextLine = next;
  if (lines.length === 0) return;
  const log = box.part(".log");
  const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
  const text = lines.map(({ at_ms, level, text }) => `${stamp(at_ms)} ${level} ${text}\n`);
  log.textContent = (log.textContent + text.join("")).slice(-MOST_LOG_CHARACTERS);
  if (atEnd) log.scrollTop = log.scrollHeight;
}

async function refresh() {
  try {
    const { boxes } = await api("boxes");
    setText(summary, boxes.length ? "" : "No box has been here yet: make a token with `studio token new NAME`.");
    const parts = boxes.flatMap((entry) => {
      const box = showBox(entry);
      const { id } = entry.session;
      return [showJobs(id, box), showLog(id, box)];
    });
    // What one box lacks is no reason to leave the others as they were; with all of them it is the studio.
    const told = parts.map((part) => part.then(() => null, (error) => error));
    const failed = (await Promise.all(told)).filter((error) => error !== null);
    if (failed.length > 0 && failed.length === parts.length) throw failed[0];
    document.body.classList.remove("stale");
  } catch (error) {
    // What is shown is from before, and looks it.
    document.body.classList.add("stale");
    setText(summary, `The studio can't be reached (${error.message}). Trying again …`);
  }
  setTimeout(refresh, REFRESH);
}

refresh();
