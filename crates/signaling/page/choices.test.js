// Run by `node --test`, as `cargo xtask test` does.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Choices } from "./choices.js";

/** A tab's storage. */
function tab() {
  const kept = new Map();
  return {
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => kept.set(key, value),
    removeItem: (key) => kept.delete(key),
    size: () => kept.size,
  };
}

test("what came true is there after a reload, and nothing else", () => {
  const storage = tab();
  const choices = new Choices(storage, "door");
  assert.deepEqual([choices.fps, choices.layout], [null, "fit"]);
  choices.succeeded({ stream: "door" });
  choices.succeeded({ fps: 15 });
  choices.succeeded({ layout: "fill" });
  const reloaded = new Choices(storage, "door");
  assert.deepEqual([reloaded.fps, reloaded.layout], [15, "fill"]);
});

test("another stream takes over the layout and no quality", () => {
  const storage = tab();
  new Choices(storage, "door").succeeded({ stream: "door", fps: 15, layout: "fill" });
  const other = new Choices(storage, "yard");
  assert.deepEqual([other.fps, other.layout], [null, "fill"]);
  // A stream that never opened was no successful change.
  assert.equal(new Choices(storage, "door").fps, 15);
  other.succeeded({ stream: "yard" });
  assert.equal(new Choices(storage, "door").fps, null);
});

test("leaving on purpose forgets all of it", () => {
  const storage = tab();
  const choices = new Choices(storage, "door");
  choices.succeeded({ stream: "door", fps: 15 });
  choices.forget();
  assert.deepEqual([choices.fps, choices.layout, storage.size()], [null, "fit", 0]);
});

test("a tab without a storage, or with nonsense in it, has its choices while the page lasts", () => {
  const broken = new Choices(undefined, "door");
  broken.succeeded({ fps: 60 });
  assert.equal(broken.fps, 60);
  const storage = tab();
  storage.setItem("framebridge.choices", "{");
  assert.equal(new Choices(storage, "door").layout, "fit");
});
