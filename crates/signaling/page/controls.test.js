import assert from "node:assert/strict";
import { test } from "node:test";

import { pan, WHOLE, zoomAt } from "./controls.js";

test("what is under the pointer stays there while the picture is zoomed", () => {
  const zoomed = zoomAt(WHOLE, 2, 0.25, 0.75);
  // A point of the picture is shown at x + point * scale.
  assert.equal(zoomed.x + 0.25 * zoomed.scale, 0.25);
  assert.equal(zoomed.y + 0.75 * zoomed.scale, 0.75);
});

test("the picture fills its place, however it is zoomed and moved", () => {
  let zoom = zoomAt(WHOLE, 3, 0, 0);
  assert.deepEqual(pan(zoom, 5, 5), { scale: 3, x: 0, y: 0 });
  zoom = pan(zoom, -9, -9);
  assert.deepEqual(zoom, { scale: 3, x: -2, y: -2 });
  assert.deepEqual(zoomAt(zoom, 0.01, 0.5, 0.5), WHOLE);
  assert.equal(zoomAt(WHOLE, 1000, 0.5, 0.5).scale, 8);
  assert.deepEqual(pan(WHOLE, 1, -1), WHOLE);
});
