// Run by `node --test`, as `cargo xtask test` does.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Player, TIMES } from "./player.js";

const LIVE = { type: "source", reason: null, retryIn: null, state: "live", frameAge: 10 };
const DOWN = { type: "source", reason: "its encoder is not reachable", retryIn: null, state: "down", frameAge: null };
/** What comes of a fast source between two looks. */
const PICTURES = { type: "picture", pictures: 6 };
const PICTURE = { type: "picture", pictures: 1 };

function player() {
  return new Player(() => 0.5);
}

/** A player that shows a picture at time 0. */
function livePlayer() {
  const it = player();
  assert.deepEqual(it.handle({ type: "start" }, 0), ["connect"]);
  it.handle({ type: "opened" }, 0);
  it.handle({ type: "transport", state: "connected" }, 0);
  it.handle(PICTURE, 0);
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

/** Pictures that come from `from` on, for as long as it takes to believe them. */
function playsOn(it, from) {
  for (let now = from; now <= from + TIMES.series; now += 200) it.handle(PICTURES, now);
  return from + TIMES.series;
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
    it.handle(PICTURE, now);
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
  assert.equal(it.view(playsOn(it, 300_100)).state, "live");
});

test("a server that has gone silent vouches for nothing", () => {
  const it = livePlayer();
  it.handle(DOWN, TIMES.ask);
  const done = but(run(it, TIMES.ask, TIMES.ask + 2 * TIMES.reconnect), "ask");
  assert.deepEqual(done.map(([action]) => action), ["keyframe", "restart", "close"]);
});

test("a live source whose frames do not reach the server is no fault of the session", () => {
  const it = livePlayer();
  const starved = { ...DOWN, reason: "No frame has come for 1.2 s.", state: "live" };
  it.handle(starved, 1200);
  assert.deepEqual(but(runAnswered(it, 1200, 20_000, starved), "ask"), []);
  assert.match(it.view(20_000).reason, /No frame/);
});

test("the last picture, sent once more in an outage, is not the source's return", () => {
  const it = livePlayer();
  it.handle(DOWN, 1000);
  // Each may be the answer to a request for a keyframe, by anybody; the server is asked.
  assert.deepEqual(it.handle(PICTURE, 2000), ["ask"]);
  it.handle(DOWN, 2010);
  it.handle(PICTURE, 3000);
  it.handle(PICTURES, 3100);
  assert.equal(it.view(3100).state, "unavailable");
  // The server hears of it and takes it for life, as the page must not.
  it.handle(LIVE, 3200);
  it.handle(PICTURE, 3300);
  assert.notEqual(it.view(3300).state, "live");
  it.handle(DOWN, 4300);
  assert.equal(it.view(4300).state, "unavailable");
  it.handle(LIVE, 5000);
  assert.equal(it.view(playsOn(it, 5100)).state, "live");
});

test("what a decoder had left over when its source fell silent, sent again and again, is not its return", () => {
  const it = livePlayer();
  for (let now = 200; now <= 2000; now += 200) it.handle(PICTURES, now);
  it.handle(DOWN, 3000);
  it.handle(LIVE, 11_740);
  // As an encoder did whose camera stood still and was opened anew.
  for (const now of [12_100, 12_500, 13_100, 13_600]) {
    it.handle(PICTURE, now);
    assert.notEqual(it.view(now).state, "live", `at ${now}`);
  }
  // A source that has become slow is live after a while.
  for (let now = 14_000; now <= 15_400; now += 400) it.handle(PICTURE, now);
  assert.equal(it.view(15_400).state, "live");
});

test("a picture after a silence has to be followed by others", () => {
  const it = livePlayer();
  run(it, 0, 2000);
  assert.equal(it.view(2000).state, "reconnecting");
  it.handle(PICTURE, 2000);
  assert.equal(it.view(2000).state, "reconnecting");
  it.handle(PICTURE, 2200);
  it.handle(PICTURE, 2400);
  assert.equal(it.view(2400).state, "live");
});

test("pictures that keep coming overrule a server that says there are none", () => {
  const it = livePlayer();
  it.handle(DOWN, 1000);
  for (let now = 1200; now < 1200 + TIMES.overrule; now += 200) {
    it.handle(PICTURES, now);
    assert.equal(it.view(now).state, "unavailable");
  }
  it.handle(PICTURES, 1200 + TIMES.overrule);
  assert.equal(it.view(1200 + TIMES.overrule).state, "live");
});

test("a slow source is live as long as the server has nothing newer, and its pace is learnt", () => {
  const it = livePlayer();
  for (let now = 0; now < 40_000; now += 4000) {
    it.handle(PICTURE, now);
    for (let at = now + 50; at < now + 4000; at += 50) {
      const deeds = it.handle({ type: "tick" }, at);
      assert.deepEqual(but(deeds.map((deed) => [deed]), "ask"), [], `at ${at}`);
      if (deeds.length > 0) it.handle({ ...LIVE, frameAge: at - now }, at + 20);
      assert.equal(it.view(at).state, "live", `at ${at}`);
      if (now >= 20_000) assert.deepEqual(deeds, [], "its pace is known by now");
    }
  }
});

test("a server that has newer frames vouches for no session that does not bring them", () => {
  const it = livePlayer();
  const done = but(runAnswered(it, 0, TIMES.reconnect, LIVE), "ask");
  assert.deepEqual(done.map(([action]) => action), ["keyframe", "restart", "close"]);
});

test("a slate is shown as it is, with no card and no countdown beside its own", () => {
  const it = livePlayer();
  const slate = { type: "source", reason: "it failed too often", retryIn: 20_000, state: "slate", frameAge: null };
  it.handle(slate, 1000);
  assert.equal(it.view(1000).state, "slate");
  for (let now = 1000; now < 20_000; now += 1000) {
    it.handle(PICTURE, now);
    if (run(it, now, now + 950).length > 0) it.handle(slate, now + 950);
    assert.deepEqual(it.view(now + 950), { state: "slate", reason: null, retryAt: null, action: null });
  }
  it.handle(LIVE, 20_000);
  assert.notEqual(it.view(20_000).state, "live");
  assert.equal(it.view(playsOn(it, 20_100)).state, "live");
  // A slate that does not come is a card.
  it.handle(slate, 21_000);
  runAnswered(it, 21_000, 30_000, slate);
  assert.equal(it.view(30_000).state, "unavailable");
});

test("what has ended stays ended until its viewer asks", () => {
  const it = livePlayer();
  assert.deepEqual(it.handle({ type: "ended", reason: "sent away", action: "again" }, 100), ["close"]);
  for (const type of ["tick", "hidden", "visible", "online", "woke", "tick"]) assert.deepEqual(it.handle({ type }, 100_000), []);
  assert.deepEqual(it.view(100_000), { state: "ended", reason: "sent away", retryAt: null, action: "again" });
  assert.deepEqual(it.handle({ type: "retry" }, 100_000), ["connect"]);
  assert.equal(it.view(100_000).state, "reconnecting");
});

test("sessions that fail one after the other rest on a card, and are tried again by themselves or on request", () => {
  const it = player();
  it.handle({ type: "start" }, 0);
  let now = 0;
  for (let fall = 0; fall < 5; fall += 1) {
    it.handle({ type: "opened" }, now);
    it.handle(PICTURES, now + 100);
    assert.deepEqual(it.handle({ type: "gone", reason: "The connection was lost" }, now + 200), ["close"]);
    now += 2000;
    if (fall < 4) assert.deepEqual(run(it, now - 1800, now).map(([action]) => action), ["connect"]);
  }
  const { state, reason, retryAt } = it.view(now);
  assert.equal(state, "unavailable");
  assert.match(reason, /failed 5 times .* the connection was lost/);
  assert.ok(retryAt - now > TIMES.park - 3000);
  assert.deepEqual(run(it, now, retryAt - 100), []);
  assert.deepEqual(it.handle({ type: "retry" }, retryAt - 50), ["connect"]);
});

test("a session that has played for a while is no fall", () => {
  const it = player();
  it.handle({ type: "start" }, 0);
  for (let now = 0; now < 300_000; now += 30_000) {
    it.handle({ type: "opened" }, now);
    for (let at = now; at <= now + TIMES.steady; at += 500) it.handle(PICTURES, at);
    it.handle({ type: "gone", reason: "The connection was lost" }, now + TIMES.steady);
    run(it, now + TIMES.steady, now + TIMES.steady + TIMES.welcomeBack);
    assert.notEqual(it.view(now + TIMES.steady + TIMES.welcomeBack).state, "unavailable");
  }
});

test("back in a network, or after a sleep, nothing is waited for", () => {
  const waiting = player();
  waiting.handle({ type: "start" }, 0);
  waiting.handle({ type: "unreachable", reason: "refused" }, 0);
  assert.deepEqual(waiting.handle({ type: "online" }, 10), ["connect"]);

  const it = livePlayer();
  assert.deepEqual(it.handle({ type: "online" }, 100), [], "it is live");
  assert.deepEqual(it.handle({ type: "woke" }, 600_000), ["ask"]);
  const done = but(run(it, 600_000, 600_000 + TIMES.restart), "ask");
  assert.deepEqual(done.map(([action]) => action), ["keyframe", "restart"]);
  assert.ok(done[1][1] <= 600_000 + TIMES.restart - TIMES.keyframe);
});

test("a page that nobody looks at for a while is sent nothing, and is back as soon as somebody does", () => {
  const it = livePlayer();
  it.handle({ type: "hidden" }, 0);
  for (let now = 0; now < TIMES.hidden; now += 1000) {
    it.handle(PICTURES, now);
    assert.deepEqual(it.handle({ type: "tick" }, now), []);
  }
  assert.deepEqual(it.handle({ type: "tick" }, TIMES.hidden), ["close"]);
  assert.deepEqual(it.handle({ type: "visible" }, 90_000), ["connect"]);
});

test("where no packet gets through it is said so", () => {
  const it = player();
  it.handle({ type: "start" }, 0);
  it.handle({ type: "opened" }, 0);
  run(it, 0, 2 * TIMES.reconnect);
  assert.match(it.view(2 * TIMES.reconnect).reason, /blocks it/);
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
  it.handle(PICTURE, 2400);
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
  assert.deepEqual(it.view(0), { state: "unavailable", reason: "no camera", retryAt: 7000, action: null });
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
  assert.deepEqual(run(it, 100, 20_000), []);
  it.handle({ type: "visible" }, 20_000);
  assert.deepEqual(but(run(it, 20_000, 20_000 + TIMES.keyframe), "ask"), [["keyframe", 20_000 + TIMES.keyframe]]);

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
    for (const type of before) player.handle({ type, pictures: 1 }, 0);
    assert.deepEqual(player.handle({ type: "lockedOut" }, 10), ["close"]);
    for (const type of ["tick", "hidden", "visible", "tick"]) {
      assert.deepEqual(player.handle({ type }, 100_000), []);
    }
    const { state, action } = player.view(100_000);
    assert.deepEqual({ state, action }, { state: "ended", action: "login" });
  }
});

test("a session that does not connect is replaced by the film, and the film by the first that does", () => {
  const it = player();
  it.handle({ type: "start" }, 0);
  it.handle({ type: "opened" }, 0);
  run(it, 0, TIMES.film - 50);
  assert.equal(it.wantsFilm, false);
  run(it, TIMES.film - 50, TIMES.film);
  assert.equal(it.wantsFilm, true);
  assert.equal(it.view(TIMES.film).state, "connecting", "it has shown nothing yet");
  it.handle({ type: "film", isStill: false }, TIMES.film);
  assert.equal(it.view(TIMES.film).state, "live");
  assert.equal(it.view(TIMES.film + TIMES.keyframe).state, "connecting", "it has stopped");
  // The session is given up, and tried again: the film goes on meanwhile.
  const end = 2 * TIMES.reconnect;
  assert.ok(run(it, TIMES.film, end).some(([deed]) => deed === "close"));
  it.handle({ type: "film", isStill: false }, end);
  assert.deepEqual([it.wantsFilm, it.view(end).state], [true, "live"]);
  run(it, end, end + TIMES.backoff);
  it.handle({ type: "opened" }, end + TIMES.backoff);
  it.handle({ type: "transport", state: "connected" }, end + TIMES.backoff);
  assert.equal(it.wantsFilm, true, "connected is not shown");
  it.handle(PICTURE, end + TIMES.backoff + 50);
  assert.deepEqual([it.wantsFilm, it.view(end + TIMES.backoff + 50).state], [false, "live"]);
});

test("a film is not wanted by who does not watch, and does not hide that there is no source", () => {
  const it = player();
  it.handle({ type: "start" }, 0);
  it.handle({ type: "opened" }, 0);
  run(it, 0, TIMES.film);
  it.handle({ type: "film", isStill: false }, TIMES.film);
  it.handle(DOWN, TIMES.film);
  assert.equal(it.view(TIMES.film).state, "unavailable");
  it.handle({ type: "stop" }, TIMES.film);
  assert.equal(it.wantsFilm, false);
});

test("a server that asks to be asked again at once is not", () => {
  const it = player();
  it.handle({ type: "start" }, 0);
  it.handle({ type: "refused", reason: "no place", retryAfter: 0 }, 0);
  assert.deepEqual(run(it, 0, TIMES.backoff * 0.7), []);
});

test("a film of a slow source is live between its pictures, and one that has stopped is not for long", () => {
  const it = player();
  it.handle({ type: "start" }, 0);
  it.handle({ type: "blocked" }, 0);
  for (let at = 1000; at <= 13000; at += 4000) it.handle({ type: "film", isStill: false }, at);
  assert.equal(it.view(16900).state, "live");
  for (let at = 17000; at <= 22000; at += 200) it.handle({ type: "film", isStill: false }, at);
  assert.notEqual(it.view(22000 + TIMES.keyframe).state, "live", "it is fast by now");
});

test("who watches the film and can have no session is told of the source", () => {
  const it = player();
  it.handle({ type: "start" }, 0);
  it.handle({ type: "blocked" }, 0);
  it.handle({ type: "unreachable", reason: "This browser has no H.264" }, 0);
  it.handle({ type: "source", state: "unavailable", reason: "unplugged", retryIn: 4000, frameAge: null }, 100);
  assert.deepEqual(it.view(100), { state: "unavailable", reason: "unplugged", retryAt: 4100, action: null });
  it.handle({ type: "film", isStill: false }, 200);
  it.handle({ type: "source", state: "slate", reason: "unplugged", retryIn: null, frameAge: null }, 200);
  assert.equal(it.view(200).state, "slate");
  it.handle({ type: "source", state: "live", reason: null, retryIn: null, frameAge: null }, 300);
  assert.equal(it.view(300).state, "live");
});

test("a server that has other addresses than it said is asked for them at once, and once a second", () => {
  const it = livePlayer();
  assert.deepEqual(run(it, 0, TIMES.ask), [["ask", TIMES.ask]]);
  assert.deepEqual(it.handle({ type: "moved" }, TIMES.ask), ["restart"]);
  assert.deepEqual(it.handle({ type: "moved" }, TIMES.ask + 500), []);
  assert.deepEqual(it.handle({ type: "moved" }, TIMES.ask + TIMES.askExcused), ["restart"]);
  it.handle({ type: "restartFailed" }, TIMES.ask + TIMES.askExcused + 10);
  assert.deepEqual(it.handle({ type: "moved" }, TIMES.ask + TIMES.askExcused + 600), ["restart"]);
  const done = but(run(it, TIMES.ask + TIMES.askExcused + 600, TIMES.reconnect), "ask", "keyframe");
  assert.deepEqual(done, [["close", TIMES.reconnect]], "who does not get it back so begins anew");
});

test("a still is the picture until the next one of a large wall", () => {
  const it = player();
  it.handle({ type: "start" }, 0);
  it.handle({ type: "blocked" }, 0);
  assert.ok(it.wantsFilm, "what another has found out is not found out again");
  it.handle({ type: "film", isStill: true }, 100);
  assert.equal(it.view(100 + TIMES.still - 1).state, "live");
  assert.notEqual(it.view(100 + TIMES.still).state, "live");
});

test("a viewer that plays is not told by others that it is blocked", () => {
  const it = livePlayer();
  it.handle({ type: "blocked" }, 100);
  assert.ok(!it.wantsFilm);
  it.handle({ type: "stop" }, 200);
  it.handle({ type: "blocked" }, 300);
  assert.ok(!it.wantsFilm);
});
