import assert from "node:assert/strict";
import { test } from "node:test";

import { Curve, figures, latency, sample, SPAN, shortfall } from "./stats.js";

/** What a browser reports, with so many seconds of a stream received. */
function reports(seconds) {
  return [
    { type: "transport", selectedCandidatePairId: "pair" },
    { type: "candidate-pair", id: "other", nominated: true, currentRoundTripTime: 9 },
    { type: "candidate-pair", id: "pair", localCandidateId: "l", remoteCandidateId: "r", currentRoundTripTime: 0.04 },
    { type: "local-candidate", id: "l", candidateType: "prflx", protocol: "udp" },
    { type: "remote-candidate", id: "r", candidateType: "host", protocol: "udp" },
    { type: "inbound-rtp", kind: "audio", framesDecoded: 999 },
    {
      type: "inbound-rtp",
      kind: "video",
      framesDecoded: 30 * seconds,
      bytesReceived: 250_000 * seconds,
      packetsReceived: 99 * seconds,
      packetsLost: seconds,
      totalDecodeTime: 0.06 * seconds,
      framesDropped: 2,
      freezeCount: 1,
      jitter: 0.003,
      frameWidth: 1280,
      frameHeight: 720,
    },
  ];
}

test("a picture that is smaller than it could be says why", () => {
  const given = (/** @type {number | null} */ estimate) => shortfall({ rung: "half", estimate, full_rung: 2500000 });
  assert.equal(shortfall(null), "");
  assert.equal(given(1120000), "your link carries 1.1 of 2.5 Mb/s");
  assert.equal(given(null), "smaller, as your link allows");
  assert.equal(given(9000000), "smaller, as your link allows");
});

test("figures are what happened between two moments", () => {
  const told = figures(sample(reports(2), 2000), sample(reports(4), 4000));
  assert.deepEqual([told.fps, told.bitrate, told.lossPercent, Math.round(told.gapMs), told.decodeMs], [30, 2_000_000, 1, 33, 2]);
  assert.deepEqual([told.width, told.rttMs, told.jitterMs, told.freezes, told.dropped], [1280, 40, 3, 1, 2]);
  assert.equal(told.path, "prflx udp – host udp");
});

test("latency is the sum of its parts, and unknown without one of them", () => {
  assert.equal(latency(20, 10, 40), 65);
  for (const parts of [[null, 10, 40], [20, null, 40], [20, 10, null]]) assert.equal(latency(...parts), null);
});

test("what a browser does not report is unknown", () => {
  assert.equal(sample([], 0), null);
  const bare = sample([{ type: "inbound-rtp", kind: "video" }], 0);
  assert.deepEqual([bare.frames, bare.rttMs], [0, null]);
  const told = figures(bare, { ...bare, at: 1000 });
  assert.deepEqual([told.fps, told.gapMs, told.decodeMs, told.lossPercent], [0, null, null, 0]);
});

test("a curve has the last minute, its newest at the right", () => {
  const curve = new Curve();
  curve.push(5);
  assert.equal(curve.points(118, 10), "118.0,0.0");
  curve.push(null);
  curve.push(2.5);
  assert.equal(curve.points(118, 10), "114.0,0.0 118.0,5.0");
  for (let second = 0; second < 2 * SPAN; second += 1) curve.push(1);
  assert.equal(curve.points(118, 10).split(" ").length, SPAN);
});
