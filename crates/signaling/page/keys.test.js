import assert from "node:assert/strict";
import { test } from "node:test";

import { meaning, WALL, WATCHING } from "./keys.js";

const pressed = (key, more = {}) => ({ key, ctrlKey: false, metaKey: false, altKey: false, target: null, ...more });

test("a key means one thing, in either case", () => {
  for (const table of [WATCHING, WALL]) {
    const keys = Object.values(table).flatMap((shortcut) => shortcut.keys);
    assert.equal(new Set(keys).size, keys.length);
  }
  assert.deepEqual([meaning(WATCHING, pressed("f")), meaning(WATCHING, pressed("F")), meaning(WATCHING, pressed("x"))], ["fullscreen", "fullscreen", null]);
  assert.equal(meaning(WALL, pressed("Escape")), "shrink");
});

test("what is typed, and what the browser means by it, is no shortcut", () => {
  assert.equal(meaning(WATCHING, pressed("f", { ctrlKey: true })), null);
  assert.equal(meaning(WATCHING, pressed("s", { target: { tagName: "SELECT" } })), null);
});
