// Run by `node --test`, as `cargo xtask test` does.

import assert from "node:assert/strict";
import { test } from "node:test";

globalThis.window = /** @type {any} */ ({});
const { codecOf, Film } = await import("./film.js");

test("a film's codec is read from its beginning, once that is there", () => {
  const bytes = new TextEncoder();
  const head = new Uint8Array([...bytes.encode("....ftyp....avcC"), 1, 0x42, 0xe0, 0x0a, 0xff]);
  assert.equal(codecOf(head), "avc1.42e00a");
  assert.equal(codecOf(head.subarray(0, head.length - 2)), null);
  assert.equal(codecOf(new Uint8Array(0)), null);
});

test("where there is no Media Source there is no film", () => {
  assert.equal(Film.works, false);
});
