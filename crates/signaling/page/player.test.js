// Run by `node --test`, as `cargo xtask test` does.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Player, TIMES } from "./player.js";

const LIVE = { type: "source", reason: null, retryIn: null };
const DOWN = { type: "source", reason: "its encoder is not reachable", retryIn: null };

function player() {
  return new Player(() => 0.5);
}

/** A player that shows a picture at time 0. */
function livePlayer() {
  const it = player();
  assert.deepEqual(it.handle({ type: "start" }, 0), ["connect"]);
  it.handle({ type: "opened" }, 0);
  it.handle({ type: "picture" }, 0);
  assert.equal(it.view(0).state, "live");
  return it;
}

/** Ticks every 50 ms in (from, to] and returns what was to be done, with its time. */
function run(it, from, to) {
  const done = [];
  for (let now = from + 50; now <= to; now += 50) {
    for (const action of it.handle({ type: "tick" }, now)) done.push([action, now]);
  }
  return done;
}

/** Like `run`, but what is asked of the server is answered at once. */
function runAnswered(it, from, to, answer) {
  const done = [];
  for (let now = from; now < to; now += 50) {
    const doing = run(it, now, now + 50);
    if (doing.some(([action]) => action === "ask")) it.handle(answer, now + 50);
    done.push(...doing);
  }
  return done;
}

const but = (done, ...names) => done.filter(([action]) => !names.includes(action));

test("an open session without a decoded picture is not live", () => {
  const it = player();
  it.handle({ type: "start" }, 0);
  it.handle({ type: "opened" }, 0);
  it.handle({ type: "transport", state: "connected" }, 10);
  assert.equal(it.view(10).state, "connecting");
});

test("a silent picture is met with a keyframe, an ICE restart and another session, in that order", () => {
  const it = livePlayer();
  assert.deepEqual(but(run(it, 0, TIMES.reconnect), "ask"), [
    ["keyframe", TIMES.keyframe],
    ["restart", TIMES.restart],
    ["close", TIMES.reconnect],
  ]);
  assert.equal(it.view(TIMES.reconnect).state, "reconnecting");
  assert.deepEqual(run(it, TIMES.reconnect, TIMES.reconnect + TIMES.backoff).map(([action]) => action), ["connect"]);
});

test("a picture in time starts the patience over", () => {
  const it = livePlayer();
  for (let now = 0; now < 20_000; now += 700) {
    it.handle({ type: "picture" }, now);
    assert.deepEqual(run(it, now, now + 650), []);
  }
});

test("while the server vouches for the session it is kept, however long the source is away", () => {
  const it = livePlayer();
  run(it, 0, TIMES.ask);
  it.handle(DOWN, TIMES.ask);
  assert.deepEqual(but(runAnswered(it, TIMES.ask, 300_000, DOWN), "ask"), []);
  const { state, reason } = it.view(300_000);
  assert.equal(state, "unavailable");
  assert.match(reason, /not reachable/);

  it.handle(LIVE, 300_000);
  assert.notEqual(it.view(300_000).state, "live", "not before a picture is there");
  it.handle({ type: "picture" }, 300_100);
  assert.equal(it.view(300_100).state, "live");
});

test("a server that has gone silent vouches for nothing", () => {
  const it = livePlayer();
  it.handle(DOWN, TIMES.ask);
  const done = but(run(it, TIMES.ask, TIMES.ask + 2 * TIMES.reconnect), "ask");
  assert.deepEqual(done.map(([action]) => action), ["keyframe", "restart", "close"]);
});

test("a live source whose frames do not reach the server is no fault of the session", () => {
  const it = livePlayer();
  const starved = { type: "source", reason: "No frame has come for 1.2 s.", retryIn: null };
  it.handle(starved, 1200);
  assert.deepEqual(but(runAnswered(it, 1200, 20_000, starved), "ask"), []);
  assert.match(it.view(20_000).reason, /No frame/);
});

test("one picture in the middle of an outage is not the source's return", () => {
  const it = livePlayer();
  it.handle(DOWN, 1000);
  it.handle({ type: "picture", pictures: 1 }, 2000);
  it.handle(DOWN, 2100);
  assert.equal(it.view(2200).state, "unavailable");
  it.handle({ type: "picture", pictures: 1 }, 2000 + TIMES.keyframe);
  assert.equal(it.view(2000 + TIMES.keyframe).state, "unavailable", "each of them stands alone");
  it.handle({ type: "picture", pictures: 1 }, 2200 + TIMES.keyframe);
  assert.equal(it.view(2200 + TIMES.keyframe).state, "live");

  const other = livePlayer();
  other.handle(DOWN, 1000);
  other.handle({ type: "picture", pictures: 6 }, 2000);
  assert.equal(other.view(2000).state, "live");
});

test("a source that is back but sends no picture is not waited for without end", () => {
  const it = livePlayer();
  it.handle(DOWN, 1000);
  it.handle(LIVE, 10_000);
  const done = but(run(it, 10_000, 10_000 + TIMES.reconnect), "ask");
  assert.deepEqual(done.map(([action]) => action), ["keyframe", "restart", "close"]);
});

test("a session that the server does not know is replaced at once", () => {
  const it = livePlayer();
  assert.deepEqual(it.handle({ type: "gone" }, 1000), ["close"]);
  assert.deepEqual(run(it, 1000, 1000 + TIMES.welcomeBack).map(([action]) => action), ["connect"]);
});

test("what went wrong with the connection is told until there is a picture again", () => {
  const it = livePlayer();
  assert.deepEqual(it.webrtc(100), { error: null, reconnecting: false });
  it.handle({ type: "gone", reason: "DTLS handshake failed" }, 2000);
  assert.deepEqual(it.webrtc(2000), { error: "DTLS handshake failed", reconnecting: true });
  assert.equal(it.view(2000).reason, "DTLS handshake failed");
  run(it, 2000, 2000 + TIMES.welcomeBack);
  it.handle({ type: "opened" }, 2300);
  assert.deepEqual(it.webrtc(2300), { error: "DTLS handshake failed", reconnecting: true });
  it.handle({ type: "picture" }, 2400);
  assert.deepEqual(it.webrtc(2400), { error: null, reconnecting: false });
});

test("a source that is away is no fault of the connection", () => {
  const it = livePlayer();
  it.handle(DOWN, 1000);
  assert.deepEqual(it.webrtc(20_000), { error: null, reconnecting: false });
});

test("a lost transport asks and restarts without waiting for the picture to age", () => {
  const it = livePlayer();
  assert.deepEqual(it.handle({ type: "transport", state: "failed" }, 100), ["ask", "restart"]);
  assert.deepEqual(it.handle({ type: "transport", state: "failed" }, 200), []);
  assert.deepEqual(it.handle({ type: "restartRefused" }, 300), ["close"]);
});

test("a restart that finds no server is tried again until the session is given up", () => {
  const it = livePlayer();
  assert.deepEqual(but(run(it, 0, TIMES.restart), "ask", "keyframe"), [["restart", TIMES.restart]]);
  assert.deepEqual(it.handle({ type: "restartFailed" }, TIMES.restart), []);
  const rest = but(run(it, TIMES.restart, TIMES.reconnect), "ask");
  assert.deepEqual(rest.map(([action]) => action), ["restart", "close"]);
});

test("a refusal is shown with its reason and Retry-After is obeyed", () => {
  const it = player();
  it.handle({ type: "start" }, 0);
  it.handle({ type: "refused", reason: "no camera", retryAfter: 7000 }, 0);
  assert.deepEqual(it.view(0), { state: "unavailable", reason: "no camera", retryAt: 7000 });
  assert.deepEqual(run(it, 0, 6950), []);
  assert.deepEqual(run(it, 6950, 7000), [["connect", 7000]]);
  assert.equal(it.view(7000).state, "unavailable");
});

test("an unreachable server is tried after 1, 2, 4, 8, 10, 10 ... s, less up to a quarter", () => {
  const it = player();
  it.handle({ type: "start" }, 0);
  let now = 0;
  const waits = [];
  for (let attempt = 0; attempt < 7; attempt += 1) {
    it.handle({ type: "unreachable", reason: "refused" }, now);
    waits.push(it.view(now).retryAt - now);
    now = it.view(now).retryAt;
    assert.deepEqual(it.handle({ type: "tick" }, now), ["connect"]);
  }
  assert.deepEqual(waits, [1000, 2000, 4000, 8000, 10_000, 10_000, 10_000].map((full) => full * 0.875));
});

test("nothing is tried while the page is hidden; showing it goes on at once", () => {
  const it = livePlayer();
  it.handle({ type: "hidden" }, 100);
  assert.deepEqual(run(it, 100, 60_000), []);
  it.handle({ type: "visible" }, 60_000);
  assert.deepEqual(but(run(it, 60_000, 60_000 + TIMES.keyframe), "ask"), [["keyframe", 60_000 + TIMES.keyframe]]);

  const waiting = player();
  waiting.handle({ type: "start" }, 0);
  waiting.handle({ type: "unreachable", reason: "refused" }, 0);
  waiting.handle({ type: "hidden" }, 1);
  assert.deepEqual(run(waiting, 0, 60_000), []);
  assert.deepEqual(waiting.handle({ type: "visible" }, 60_000), ["connect"]);
});

test("an answer that comes after the page was left opens nothing", () => {
  const it = player();
  it.handle({ type: "start" }, 0);
  assert.deepEqual(it.handle({ type: "stop" }, 10), ["close"]);
  assert.deepEqual(it.handle({ type: "opened" }, 20), ["close"]);
  assert.deepEqual(run(it, 20, 10_000), []);
});

test("who is locked out is told so, and nothing is tried again by itself", () => {
  for (const before of [["start"], ["start", "opened", "picture"]]) {
    const player = new Player(() => 0.5);
    for (const type of before) player.handle({ type }, 0);
    assert.deepEqual(player.handle({ type: "lockedOut" }, 10), ["close"]);
    for (const type of ["tick", "hidden", "visible", "tick"]) {
      assert.deepEqual(player.handle({ type }, 100_000), []);
    }
    const { state, lockedOut } = player.view(100_000);
    assert.deepEqual({ state, lockedOut }, { state: "unavailable", lockedOut: true });
  }
});
