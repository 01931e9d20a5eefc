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

test("what was chosen is there after a reload, until it is forgotten", () => {
  const storage = tab();
  const choices = new Choices(storage);
  assert.equal(choices.layout, "fit");
  choices.layout = "fill";
  const reloaded = new Choices(storage);
  assert.equal(reloaded.layout, "fill");
  reloaded.forget();
  assert.deepEqual([reloaded.layout, storage.size()], ["fit", 0]);
});

test("what an older page has kept of a quality is not asked for", () => {
  const storage = tab();
  storage.setItem("framebridge.choices", '{"stream":"door","fps":15,"layout":"fill"}');
  const choices = new Choices(storage);
  assert.deepEqual([choices.layout, choices.fps], ["fill", undefined]);
});

test("a tab without a storage, or with nonsense in it, has its choices while the page lasts", () => {
  const broken = new Choices(undefined);
  broken.layout = "fill";
  assert.equal(broken.layout, "fill");
  const storage = tab();
  for (const kept of ["{", "null", "5", '"fill"', "[]", "true"]) {
    storage.setItem("framebridge.choices", kept);
    const choices = new Choices(storage);
    assert.equal(choices.layout, "fit", kept);
    choices.layout = "fill";
    assert.equal(new Choices(storage).layout, "fill", kept);
  }
});
