// The statistics of one viewer: figures, the curves of the last minute, and all of it as JSON.

import { copy } from "./controls.js";
import { $, rate, setText } from "./format.js";
import { profileOf } from "./quality.js";
import { Curve, latency, shortfall } from "./stats.js";

const SECOND = 1000;
/** Seconds between two reports to the server. */
const REPORT = 5;
const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [120, 28];

export class Panel {
  /** @param {import("./viewer.js").Viewer} viewer @param {() => import("./streams.js").Stream | null} stream @param {() => void} ask */
  constructor(viewer, stream, ask) {
    this._viewer = viewer;
    this._stream = stream;
    /** What changes all the time no event tells of. */
    this._ask = ask;
    this._seconds = 0;
    /** @type {Record<string, {curve: Curve, unit: (value: number) => string, line: Element | null, told: Element | null}>} */
    this._curves = {
      "Frames a second": { curve: new Curve(), unit: (value) => value.toFixed(1), line: null, told: null },
      Bitrate: { curve: new Curve(), unit: rate, line: null, told: null },
      Latency: { curve: new Curve(), unit: (value) => `${value.toFixed(0)} ms`, line: null, told: null },
      Loss: { curve: new Curve(), unit: (value) => `${value.toFixed(1)} %`, line: null, told: null },
    };
    for (const label of Object.keys(this._curves)) this._draw(label);
    setInterval(() => this._second(), SECOND);
    $("copy").addEventListener("click", () => this._copy());
  }

  /** Shows or hides it. */
  toggle() {
    const panel = $("stats");
    panel.hidden = !panel.hidden;
    this._show();
    return !panel.hidden;
  }

  /** All that is known, for a report of a fault. */
  get json() {
    const { view, player, reconnects, framesDecoded, figures, rung } = this._viewer;
    const stream = this._stream();
    const rows = Object.keys(this._curves).map((label) => [label, this._curves[label].curve.values]);
    return {
      at: new Date().toISOString(),
      stream: stream && { name: stream.name, state: stream.state, encoder: stream.encoder, load: stream.encoder_load, quality: stream.quality },
      state: view.state,
      reason: view.reason,
      webrtc: player.webrtc(performance.now()),
      framesDecoded,
      figures,
      rung,
      latencyMs: this._latency,
      reconnects,
      lastMinute: rows.reduce((all, [label, values]) => Object.assign(all, { [String(label)]: values }), {}),
      browser: navigator.userAgent,
    };
  }

  get _latency() {
    const { figures, toScreenMs } = this._viewer;
    return latency(this._stream()?.capture_to_wire_ms ?? null, figures ? figures.rttMs : null, toScreenMs);
  }

  _second() {
    const figures = this._viewer.figures;
    this._curves["Frames a second"].curve.push(figures && figures.fps);
    this._curves.Bitrate.curve.push(figures && figures.bitrate);
    this._curves.Latency.curve.push(this._latency);
    this._curves.Loss.curve.push(figures && figures.lossPercent);
    if (!$("stats").hidden) this._ask();
    this._show();
    this._seconds += 1;
    const { toScreenMs } = this._viewer;
    if (this._seconds % REPORT === 0) this._viewer.report(latency(0, figures ? figures.rttMs : null, toScreenMs));
  }

  _show() {
    if ($("stats").hidden) return;
    const list = $("figures");
    for (const [term, text] of this._rows()) {
      const id = `figure-${term.replace(/\W/g, "-")}`;
      if (!$(id)) {
        const [name, value] = [document.createElement("dt"), document.createElement("dd")];
        name.textContent = term;
        value.id = id;
        list.append(name, value);
      }
      setText($(id), text);
    }
    for (const label of Object.keys(this._curves)) {
      const { curve, unit, line, told } = this._curves[label];
      line?.setAttribute("points", curve.points(WIDTH, HEIGHT));
      const last = curve.values[curve.values.length - 1];
      if (told) setText(told, last === null || last === undefined ? "unknown" : unit(last));
    }
  }

  /** @returns {[string, string][]} */
  _rows() {
    const { view, reconnects } = this._viewer;
    const figures = this._viewer.figures;
    const stream = this._stream();
    const ms = (/** @type {number | null | undefined} */ value) => (value === null || value === undefined ? "unknown" : `${value.toFixed(value < 10 ? 1 : 0)} ms`);
    const last = reconnects[reconnects.length - 1];
    const load = stream?.encoder_load;
    const profile = stream && profileOf(stream.quality);
    const asked = stream ? `${profile ? profile.title : `${stream.quality.longest_edge} px`}, ${stream.quality.fps} fps, ${rate(stream.quality.bitrate)}` : "unknown";
    const mayChange = stream && stream.scope !== "view" ? "you, for everybody" : "holders of control";
    return [
      ["State", view.state],
      ["Size", figures && figures.width ? `${figures.width}×${figures.height}` : "unknown"],
      ["Rung", this._viewer.rung ? `${this._viewer.rung.rung}: ${shortfall(this._viewer.rung)}` : "full"],
      ["Quality asked for", asked],
      ["Changed by", mayChange],
      ["Round trip", ms(figures?.rttMs)],
      ["Jitter", ms(figures?.jitterMs)],
      ["Frame gap", ms(figures?.gapMs)],
      ["Jitter buffer", ms(figures?.bufferMs)],
      ["Decoding", `${ms(figures?.decodeMs)} ${figures?.decoder || ""}`],
      ["Freezes, drops", figures ? `${figures.freezes}, ${figures.dropped}` : "unknown"],
      ["Path", this._viewer.film ? `HTTP: ${this._viewer.whyFilm}` : figures ? figures.path : "unknown"],
      ["Encoder", stream?.encoder || "unknown"],
      ["Encoder load", !stream ? "unknown" : load ? [`${load.percent} %, ${load.state}`, load.shortfall].filter(Boolean).join("; ") : "nothing is encoded"],
      ["Reconnects", last ? `${reconnects.length}, the last: ${last.reason}` : "none"],
    ];
  }

  /** @param {string} label */
  _draw(label) {
    const [figure, caption, name, told] = ["figure", "figcaption", "span", "span"].map((tag) => document.createElement(tag));
    name.textContent = `${label} `;
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 -1 ${WIDTH} ${HEIGHT + 2}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    const line = document.createElementNS(SVG, "polyline");
    svg.append(line);
    caption.append(name, told);
    figure.append(caption, svg);
    $("curves").append(figure);
    Object.assign(this._curves[label], { line, told });
  }

  async _copy() {
    const button = $("copy");
    await copy(JSON.stringify(this.json, null, 2));
    setText(button, "Copied");
    setTimeout(() => setText(button, "Copy as JSON"), 2 * SECOND);
  }
}
