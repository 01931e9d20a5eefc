import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { changeTo, profileOf, PROFILES, RATES } from "./quality.js";

test("a profile is known by its size and bitrate, whatever the frame rate", () => {
  for (const profile of PROFILES) {
    for (const fps of [1, ...RATES]) assert.equal(profileOf({ ...profile, fps }), profile);
  }
  assert.equal(profileOf({ longest_edge: 1280, bitrate: 2_500_001, fps: 30 }), null);
});

test("what is in force already is not asked for", () => {
  const balanced = { longest_edge: 1280, fps: 30, bitrate: 2_500_000 };
  assert.equal(changeTo("balanced", balanced), null);
  assert.deepEqual(changeTo("balanced", { ...balanced, fps: 15 }), balanced);
  assert.equal(changeTo("", balanced), null);
});

test("the document has the table as it is", async () => {
  const document = await readFile(new URL("../../../docs/viewer.md", import.meta.url), "utf8");
  for (const { name, longest_edge: edge, fps, bitrate } of PROFILES) {
    const row = new RegExp(`\\| ${name} +\\| ${edge} +\\| ${fps} +\\| ${bitrate / 1e6} Mb/s`);
    assert.match(document, row);
  }
});
