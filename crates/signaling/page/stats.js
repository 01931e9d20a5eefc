// What the browser reports of a connection, as figures that a person can read. Pure: reports in, figures out.

/** Seconds that the curves show. */
export const SPAN = 60;

/**
 * @typedef {{at: number, frames: number, bytes: number, packets: number, lost: number, dropped: number, freezes: number,
 *   decodeSeconds: number, width: number, height: number, jitterMs: number, rttMs: number | null, path: string,
 *   decoder: string, bufferSeconds: number, emitted: number}} Sample
 */

/**
 * @typedef {{fps: number, bitrate: number, lossPercent: number, gapMs: number | null, decodeMs: number | null,
 *   bufferMs: number | null} & Pick<Sample, "width" | "height" | "jitterMs" | "rttMs" | "path" | "decoder" |
 *   "freezes" | "dropped">} Figures
 */

/**
 * Reads the reports of one moment; `null`: there is no video yet.
 * @param {any[]} reports
 * @param {number} at milliseconds, monotonic
 * @returns {Sample | null}
 */
export function sample(reports, at) {
  const of = (/** @type {string} */ type) => reports.filter((report) => report.type === type);
  const inbound = of("inbound-rtp").find(({ kind }) => kind === "video");
  if (!inbound) return null;
  const [transport] = of("transport");
  const pairs = of("candidate-pair");
  const pair = pairs.find(({ id }) => transport && id === transport.selectedCandidatePairId) || pairs.find(({ nominated }) => nominated);
  const local = pair && reports.find(({ id }) => id === pair.localCandidateId);
  const remote = pair && reports.find(({ id }) => id === pair.remoteCandidateId);
  const rttMs = pair && pair.currentRoundTripTime !== undefined ? pair.currentRoundTripTime * 1000 : null;
  return {
    at,
    frames: inbound.framesDecoded || 0,
    bytes: inbound.bytesReceived || 0,
    packets: inbound.packetsReceived || 0,
    lost: inbound.packetsLost || 0,
    dropped: inbound.framesDropped || 0,
    freezes: inbound.freezeCount || 0,
    decodeSeconds: inbound.totalDecodeTime || 0,
    bufferSeconds: inbound.jitterBufferDelay || 0,
    emitted: inbound.jitterBufferEmittedCount || 0,
    width: inbound.frameWidth || 0,
    height: inbound.frameHeight || 0,
    jitterMs: (inbound.jitter || 0) * 1000,
    rttMs,
    path: [local, remote].map((end) => (end ? `${end.candidateType} ${end.protocol}` : "?")).join(" – "),
    decoder: inbound.decoderImplementation || "",
  };
}

/**
 * From capture to the screen, added up from parts that each one clock has measured: what the server says of the time to its
 * way out, half a round trip, and the browser's from a picture's arrival to its presentation. `null`: one is not known.
 * @param {number | null} toWireMs
 * @param {number | null} rttMs
 * @param {number | null} toScreenMs
 */
export function latency(toWireMs, rttMs, toScreenMs) {
  return toWireMs === null || rttMs === null || toScreenMs === null ? null : toWireMs + rttMs / 2 + toScreenMs;
}

/** @typedef {{rung: string, estimate: number | null, full_rung: number | null}} Rung */

/**
 * Why the picture is smaller than it could be.
 * @param {Rung | null} given
 */
export function shortfall(given) {
  if (!given) return "";
  const { estimate: carries, full_rung: full } = given;
  const mega = (/** @type {number} */ bits) => (bits / 1e6).toFixed(1);
  return carries && full && carries < full ? `your link carries ${mega(carries)} of ${mega(full)} Mb/s` : "smaller, as your link allows";
}

/**
 * What happened between two moments.
 * @param {Sample} before
 * @param {Sample} now
 * @returns {Figures}
 */
export function figures(before, now) {
  const seconds = Math.max(0.001, (now.at - before.at) / 1000);
  const grown = (/** @type {keyof Sample} */ name) => Math.max(0, Number(now[name]) - Number(before[name]));
  const [frames, packets, lost] = [grown("frames"), grown("packets"), grown("lost")];
  return {
    fps: frames / seconds,
    bitrate: (grown("bytes") * 8) / seconds,
    lossPercent: packets + lost > 0 ? (lost * 100) / (packets + lost) : 0,
    gapMs: frames > 0 ? (seconds * 1000) / frames : null,
    decodeMs: frames > 0 ? (grown("decodeSeconds") * 1000) / frames : null,
    bufferMs: grown("emitted") > 0 ? (grown("bufferSeconds") * 1000) / grown("emitted") : null,
    width: now.width,
    height: now.height,
    jitterMs: now.jitterMs,
    rttMs: now.rttMs,
    path: now.path,
    decoder: now.decoder,
    freezes: now.freezes,
    dropped: now.dropped,
  };
}

/** The last minute, a value a second. */
export class Curve {
  constructor() {
    /** @type {(number | null)[]} */
    this.values = [];
  }

  /** @param {number | null} value */
  push(value) {
    this.values.push(value);
    if (this.values.length > SPAN) this.values.shift();
  }

  /**
   * As points of an SVG polyline, the newest at the right, the largest at the top.
   * @param {number} width
   * @param {number} height
   */
  points(width, height) {
    const most = Math.max(...this.values.map((value) => value || 0), 1e-9);
    const from = SPAN - this.values.length;
    const point = (/** @type {number | null} */ value, /** @type {number} */ at) =>
      value === null ? [] : [`${(((from + at) / (SPAN - 1)) * width).toFixed(1)},${(height - (value / most) * height).toFixed(1)}`];
    return this.values.map(point).reduce((all, one) => all.concat(one), []).join(" ");
  }
}
