import assert from "node:assert/strict";
import { test } from "node:test";

import { beside, columns, edgeOf, format, isAll, MOST_CELLS, parse, rungFor, swap } from "./layout.js";

test("an address names streams, order, columns and the large one, and is written as it was read", () => {
  const layout = parse("?streams=b,a,c&cols=2&big=a", ["a", "b", "c", "d"]);
  assert.deepEqual(layout, { streams: ["b", "a", "c"], cols: 2, big: "a" });
  assert.deepEqual(parse(format(layout), []), layout);
});

test("all means what is known, also after some that are named", () => {
  assert.deepEqual(parse("", ["a", "b"]).streams, ["a", "b"]);
  assert.deepEqual(parse("?streams=b,all", ["a", "b", "c"]).streams, ["b", "a", "c"]);
  assert.deepEqual(["", "?cols=2", "?streams=all", "?streams=a,all", "?streams=a"].map(isAll), [true, true, true, true, false]);
});

test("what makes no sense in an address is left out", () => {
  assert.deepEqual(parse("?streams=a,,a, b&cols=-3&big=z", []), { streams: ["a", "b"], cols: 0, big: null });
  assert.equal(parse("?cols=99", ["a"]).cols, 12);
  const many = Array.from({ length: 99 }, (_, number) => `s${number}`);
  assert.equal(parse("", many).streams.length, MOST_CELLS);
});

test("a cell has the lowest rung that fills it", () => {
  const rungs = [0, 200, 400, 401, 640, 800, 801, 1280].map((pixels) => rungFor(pixels, 1280));
  assert.deepEqual(rungs, ["full", "quarter", "quarter", "half", "half", "half", "full", "full"]);
});

test("a stream is as large as its source, whatever is asked for", () => {
  const stream = (width, height) => ({ width, height, quality: { longest_edge: 1280 } });
  const edges = [undefined, stream(0, 0), stream(640, 360), stream(360, 640), stream(1920, 1080)].map(edgeOf);
  assert.deepEqual(edges, [0, 1280, 640, 640, 1280]);
});

test("cells are as large as they can be", () => {
  assert.equal(columns(1, 1280, 720), 1);
  assert.equal(columns(4, 1280, 720), 2);
  assert.equal(columns(9, 1920, 1080), 3);
  assert.equal(columns(16, 3840, 2160), 4);
  assert.equal(columns(4, 320, 2000), 1);
  assert.equal(columns(4, 4000, 300), 4);
});

test("two streams swap, and arrows lead to the one beside", () => {
  assert.deepEqual(swap(["a", "b", "c"], "a", "c"), ["c", "b", "a"]);
  assert.deepEqual(swap(["a", "b"], "a", "z"), ["a", "b"]);
  const to = (at, key) => beside(at, key, 5, 2);
  assert.deepEqual([to(0, "ArrowRight"), to(0, "ArrowDown"), to(4, "ArrowUp"), to(4, "ArrowDown"), to(0, "ArrowLeft")], [1, 2, 2, 4, 0]);
});
