// All boxes, kept current: state, streams with a snapshot, jobs, logs.

const REFRESH = 2000;
const STILL_REFRESH = 15_000;
const REQUEST_TIMEOUT = 8000;
const MOST_LOG_CHARACTERS = 100_000;

const list = document.getElementById("boxes");
const summary = document.getElementById("summary");
const template = document.getElementById("box");
/** Shown boxes by session id. */
const shown = new Map();

const api = async (path, options) => {
  const response = await fetch(`/api/v1/${path}`, { signal: AbortSignal.timeout(REQUEST_TIMEOUT), ...options });
  if (!response.ok) throw new Error(`${response.status}`);
  return response.json();
};

function cell(row, content) {
  row.insertCell().append(content);
}

function button(text, action) {
  const element = document.createElement("button");
  element.type = "button";
  element.textContent = text;
  element.addEventListener("click", action);
  return element;
}

function ask(id, job) {
  api(`boxes/${id}/jobs`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(job),
  }).catch((error) => (summary.textContent = `The job was not taken: ${error.message}`));
}

function place(id) {
  if (!shown.has(id)) {
    const section = template.content.cloneNode(true).firstElementChild;
    const part = (selector) => section.querySelector(selector);
    part(".diagnose").addEventListener("click", () => ask(id, { kind: "diagnose" }));
    list.append(section);
    shown.set(id, { section, part, nextLine: 0, stills: new Map() });
  }
  return shown.get(id);
}

/** The picture of a stream, taken anew now and then. */
function still(box, id, stream) {
  const { stills } = box;
  if (!stills.has(stream.name)) {
    const image = new Image();
    image.className = "still";
    image.alt = "";
    image.addEventListener("load", () => (image.hidden = false));
    image.addEventListener("error", () => (image.hidden = true));
    stills.set(stream.name, { image, at: -Infinity });
  }
  const entry = stills.get(stream.name);
  if (stream.state === "live" && performance.now() - entry.at > STILL_REFRESH) {
    entry.at = performance.now();
    entry.image.src = `/s/${id}/api/v1/streams/${encodeURIComponent(stream.name)}/snapshot.jpg?at=${Date.now()}`;
  }
  return entry.image;
}

function showBox({ name, instance, build, session }) {
  const box = place(session.id);
  const { section, part } = box;
  section.dataset.state = session.state;
  part("h2").textContent = name;
  part(".state").textContent = session.state;
  part(".reason").textContent = session.reason ?? session.next;
  const seen = session.last_seen_ms ? new Date(session.last_seen_ms).toLocaleString() : "never";
  part(".facts").textContent = [`last seen ${seen}`, `instance ${instance.slice(0, 8)}`, build].filter(Boolean).join(" · ");
  part(".address").href = session.url;
  part(".address").textContent = session.url;
  const streams = part(".streams");
  streams.replaceChildren();
  for (const stream of session.streams) {
    const row = streams.insertRow();
    cell(row, still(box, session.id, stream));
    cell(row, stream.name);
    cell(row, stream.verdict || stream.state);
    cell(row, `${stream.viewers}`);
    cell(row, button("Snapshot", () => ask(session.id, { kind: "snapshot", stream: stream.name })));
  }
  return box;
}

function showJobs(body, jobs) {
  body.replaceChildren();
  for (const job of jobs.slice(0, 10)) {
    const row = body.insertRow();
    cell(row, [job.kind.kind, job.kind.stream].filter(Boolean).join(" "));
    cell(row, job.error ? `${job.state}: ${job.error}` : job.state);
    cell(row, new Date(job.created_ms).toLocaleTimeString());
    const link = document.createElement("a");
    if (job.result) {
      link.href = job.result;
      link.textContent = "Open";
    }
    cell(row, link);
  }
}

async function showLog(id, box) {
  const { lines, next } = await api(`boxes/${id}/logs?from=${box.nextLine}`);
  // A studio that was started again counts anew.
  box.nextLine = next;
  if (lines.length === 0) return;
  const log = box.part(".log");
  const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
  const text = lines.map(({ at_ms, level, text }) => `${new Date(at_ms).toLocaleTimeString()} ${level} ${text}\n`);
  log.textContent = (log.textContent + text.join("")).slice(-MOST_LOG_CHARACTERS);
  if (atEnd) log.scrollTop = log.scrollHeight;
}

async function refresh() {
  try {
    const { boxes } = await api("boxes");
    summary.textContent = boxes.length ? "" : "No box has been here yet: make a token with `studio token new NAME`.";
    for (const entry of boxes) {
      const box = showBox(entry);
      const { id } = entry.session;
      await Promise.all([api(`boxes/${id}/jobs`).then(({ jobs }) => showJobs(box.part(".jobs"), jobs)), showLog(id, box)]);
    }
  } catch (error) {
    summary.textContent = `The studio can't be reached (${error.message}). Trying again …`;
  }
  setTimeout(refresh, REFRESH);
}

refresh();
