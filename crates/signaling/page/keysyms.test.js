import assert from "node:assert/strict";
import { test } from "node:test";

import { Keys, keysym } from "./keysyms.js";

const key = (key, code, more = {}) => ({
  type: "keydown", key, code, location: 0, repeat: false, shiftKey: false, ctrlKey: false, altKey: false, metaKey: false,
  getModifierState: () => false, ...more,
});
const up = (name, code, more = {}) => key(name, code, { type: "keyup", ...more });

test("a key is what it means, on any layout", () => {
  const symbol = (name, location = 0) => keysym({ key: name, location }, false);
  assert.deepEqual(["a", "A", "é", "€", "日", "😀", " "].map((name) => symbol(name)), [0x61, 0x41, 0xe9, 0x10020ac, 0x10065e5, 0x101f600, 0x20]);
  assert.deepEqual(["Enter", "ArrowUp", "F1", "F12", "Delete"].map((name) => symbol(name)), [0xff0d, 0xff52, 0xffbe, 0xffc9, 0xffff]);
  assert.deepEqual([symbol("Shift", 1), symbol("Shift", 2), symbol("Control", 1), symbol("Alt", 1), symbol("Meta", 1)], [0xffe1, 0xffe2, 0xffe3, 0xffe9, 0xffeb]);
  assert.deepEqual(["AltGraph", "CapsLock", "Dead", "Process", "Unidentified"].map((name) => symbol(name)), [0, 0, 0, 0, 0]);
  assert.equal(keysym({ key: "Meta", location: 1 }, true), 0xffe3);
});

test("what goes up is what went down, whatever it means by then", () => {
  const keys = new Keys();
  const shift = { shiftKey: true };
  assert.deepEqual(keys.handle(key("Shift", "ShiftLeft", { ...shift, location: 1 }), false), [[0xffe1, true]]);
  assert.deepEqual(keys.handle(key("!", "Digit1", shift), false), [[0x21, true]]);
  assert.deepEqual(keys.handle(key("!", "Digit1", { ...shift, repeat: true }), false), []);
  assert.deepEqual(keys.handle(up("Shift", "ShiftLeft"), false), [[0xffe1, false]]);
  assert.deepEqual(keys.handle(up("1", "Digit1"), false), [[0x21, false]]);
  assert.deepEqual(keys.handle(up("1", "Digit1"), false), []);
});

test("a modifier that went up elsewhere goes up before the next key", () => {
  const keys = new Keys();
  keys.handle(key("Alt", "AltLeft", { altKey: true, location: 1 }), false);
  assert.deepEqual(keys.handle(key("a", "KeyA"), false), [[0xffe9, false], [0x61, true]]);
});

test("what AltGr makes is a character and no shortcut", () => {
  const keys = new Keys();
  keys.handle(key("Control", "ControlLeft", { ctrlKey: true, location: 1 }), false);
  assert.deepEqual(keys.handle(key("AltGraph", "AltRight", { ctrlKey: true, altKey: true }), false), []);
  const third = { ctrlKey: true, altKey: true, getModifierState: () => true };
  assert.deepEqual(keys.handle(key("@", "KeyQ", third), false), [[0xffe3, false], [0x40, true]]);
  const mac = new Keys();
  mac.handle(key("Alt", "AltLeft", { altKey: true, location: 1 }), true);
  assert.deepEqual(mac.handle(key("@", "KeyL", { altKey: true }), true), [[0xffe9, false], [0x40, true]]);
});

test("everything goes up at once, on a Mac also with the command key", () => {
  const keys = new Keys();
  const meta = { metaKey: true };
  keys.handle(key("Meta", "MetaLeft", { ...meta, location: 1 }), true);
  assert.deepEqual(keys.handle(key("c", "KeyC", meta), true), [[0x63, true]]);
  assert.deepEqual(keys.handle(up("Meta", "MetaLeft"), true), [[0x63, false], [0xffe3, false]]);
  assert.deepEqual(keys.release(), []);
});
