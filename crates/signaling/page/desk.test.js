import assert from "node:assert/strict";
import { test } from "node:test";

import { place } from "./desk.js";

const box = { left: 100, top: 50, width: 800, height: 600 };
const wide = { videoWidth: 1280, videoHeight: 720 };

test("a point of the window is a place in the picture, through bars, fill and zoom", () => {
  const at = (clientX, clientY, fills = false, where = box) => place({ clientX, clientY }, where, wide, fills);
  // It fits with bars above and below: 450 of 600 are picture.
  assert.deepEqual(at(100, 125), [0, 0]);
  assert.deepEqual(at(900, 575), [65535, 65535]);
  assert.deepEqual(at(500, 350), [32768, 32768]);
  // In a bar is at the edge.
  assert.deepEqual(at(500, 60), [32768, 0]);
  // Filled, a part of it is out of the window at each side.
  assert.deepEqual(at(100, 50, true).map((part) => Math.round((part / 65535) * 1000)), [125, 0]);
  // Zoomed, its box is larger than the window.
  assert.deepEqual(at(0, 0, false, { left: -800, top: -450, width: 1600, height: 900 }), [32768, 32768]);
});
