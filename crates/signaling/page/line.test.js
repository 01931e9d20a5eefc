// Run by `node --test`, as `cargo xtask test` does.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Line } from "./line.js";

/** A line in a world of its own, whose link takes `trip` milliseconds to and fro; `null`: nothing comes back. */
async function world(trip) {
  const it = { now: 0, trip, beat: () => {}, opened: 0, lost: 0, delays: [], ways: [], coming: [] };
  globalThis.performance = { now: () => it.now };
  globalThis.setInterval = (beat) => (it.beat = beat);
  globalThis.setTimeout = (_again, delay) => it.delays.push(delay);
  globalThis.clearTimeout = () => {};
  globalThis.fetch = async () => ({ status: 201, text: async () => "" });
  globalThis.RTCPeerConnection = class {
    iceGatheringState = "complete";
    connectionState = "connected";
    createDataChannel() {
      const way = { readyState: "open", bufferedAmount: 0, send: (text) => answer(way, JSON.parse(text)) };
      it.ways.push(way);
      return way;
    }
    async createOffer() {}
    async setLocalDescription() {}
    async setRemoteDescription() {}
    close() {}
  };
  const answer = (way, { alive }) => {
    if (alive >= 0 && it.trip !== null) it.coming.push([it.now + it.trip, way, JSON.stringify({ pong: alive })]);
  };
  const owner = { opened: () => it.opened++, said: () => {}, lost: () => it.lost++, refused: () => {} };
  const line = new Line("control", () => [], owner);
  line.open();
  for (let turn = 0; turn < 20; turn++) await null;
  it.ways[1].onopen();
  it.delays = [];
  it.run = (until) => {
    for (; it.now < until && !it.lost; it.now += 100) {
      const come = it.coming.filter(([at]) => at <= it.now);
      it.coming = it.coming.filter(([at]) => at > it.now);
      for (const [, way, text] of come) way.onmessage({ data: text });
      it.beat();
    }
  };
  return it;
}

test("a line whose answers take a second and more is used, and its end is noticed soon after", async () => {
  const it = await world(1100);
  it.run(10_000);
  assert.deepEqual([it.opened, it.lost], [1, 0]);
  it.trip = null;
  it.coming = [];
  it.run(12_500);
  assert.deepEqual([it.lost, it.delays], [1, [0]]);
});

test("the end of a quick line is noticed soon, and the next is made at once", async () => {
  const it = await world(0);
  it.run(5000);
  it.trip = null;
  // Its last answer comes at 5000.
  it.run(6200);
  assert.deepEqual([it.lost, it.delays], [1, [0]]);
});

test("after a line that never answered there is a pause", async () => {
  const it = await world(null);
  it.run(2500);
  assert.equal(it.lost, 0);
  it.run(4000);
  assert.deepEqual([it.lost, it.delays], [1, [300]]);
});
