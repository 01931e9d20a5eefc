// Keyboard shortcuts: one table for what they do and for the sheet that tells of them.

/** @typedef {{keys: string[], shown: string, what: string}} Shortcut */

/** @type {Readonly<Record<string, Shortcut>>} */
export const WATCHING = Object.freeze({
  fullscreen: { keys: ["f"], shown: "f, double click", what: "Fullscreen" },
  layout: { keys: ["l"], shown: "l", what: "The whole picture, or the whole window" },
  pip: { keys: ["p"], shown: "p", what: "Picture in picture" },
  snapshot: { keys: ["s"], shown: "s", what: "Save this picture" },
  clip: { keys: ["c"], shown: "c", what: "Save the last 10 seconds" },
  stats: { keys: ["i"], shown: "i", what: "Statistics" },
  closer: { keys: ["+", "="], shown: "+, wheel, pinch", what: "Zoom in" },
  farther: { keys: ["-"], shown: "-", what: "Zoom out" },
  reset: { keys: ["0"], shown: "0", what: "The whole picture again" },
  left: { keys: ["ArrowLeft"], shown: "arrows, drag", what: "Move the picture while it is zoomed" },
  right: { keys: ["ArrowRight"], shown: "", what: "" },
  up: { keys: ["ArrowUp"], shown: "", what: "" },
  down: { keys: ["ArrowDown"], shown: "", what: "" },
  previous: { keys: ["["], shown: "[ and ]", what: "The stream before, the stream after" },
  next: { keys: ["]"], shown: "", what: "" },
  wall: { keys: ["w"], shown: "w", what: "All streams side by side" },
  help: { keys: ["?"], shown: "?", what: "This sheet" },
});

/** @type {Readonly<Record<string, Shortcut>>} */
export const WALL = Object.freeze({
  enlarge: { keys: ["Enter"], shown: "Enter, double click", what: "One stream large, and back" },
  shrink: { keys: ["Escape"], shown: "Esc", what: "All of them again" },
  move: { keys: [], shown: "arrows", what: "To the stream beside" },
  swap: { keys: [], shown: "Shift and arrows, drag", what: "Swap two streams" },
  open: { keys: ["o"], shown: "o", what: "The page of this stream" },
  fewer: { keys: ["-"], shown: "-", what: "Fewer columns" },
  more: { keys: ["+", "="], shown: "+", what: "More columns" },
  auto: { keys: ["0"], shown: "0", what: "As many columns as fit" },
  fullscreen: { keys: ["f"], shown: "f", what: "Fullscreen" },
  help: { keys: ["?"], shown: "?", what: "This sheet" },
});

/**
 * What a key means, unless it is meant for something else; `null`: nothing.
 * @param {Readonly<Record<string, Shortcut>>} shortcuts
 * @param {{key: string, ctrlKey: boolean, metaKey: boolean, altKey: boolean, target: any}} event
 * @returns {string | null}
 */
export function meaning(shortcuts, { key, ctrlKey, metaKey, altKey, target }) {
  const isTyping = target && /^(input|select|textarea)$/i.test(target.tagName || "");
  if (ctrlKey || metaKey || altKey || isTyping) return null;
  const found = Object.keys(shortcuts).find((name) => shortcuts[name].keys.includes(key.length === 1 ? key.toLowerCase() : key));
  return found || null;
}

/**
 * Has shortcuts do what they mean, and fills the sheet that tells of them.
 * @param {Readonly<Record<string, Shortcut>>} shortcuts
 * @param {Record<string, (event: KeyboardEvent) => void>} deeds what is not there is neither done nor told
 * @param {any} sheet
 */
export function bind(shortcuts, deeds, sheet) {
  addEventListener("keydown", (event) => {
    const name = sheet.hasAttribute("open") && event.key !== "?" ? null : meaning(shortcuts, event);
    const deed = name && deeds[name];
    if (!deed) return;
    event.preventDefault();
    deed(event);
  });
  const list = sheet.querySelector("dl");
  for (const name of Object.keys(shortcuts)) {
    const { shown, what } = shortcuts[name];
    if (!shown || (shortcuts[name].keys.length > 0 && !deeds[name])) continue;
    const [term, meant] = [document.createElement("dt"), document.createElement("dd")];
    [term.textContent, meant.textContent] = [shown, what];
    list.append(term, meant);
  }
  sheet.querySelector("button").addEventListener("click", () => toggle(sheet));
}

/** Shows or closes a sheet, also in browsers that have no dialogs. @param {any} sheet */
export function toggle(sheet) {
  const isOpen = sheet.hasAttribute("open");
  if (sheet.showModal) return isOpen ? sheet.close() : sheet.showModal();
  sheet.toggleAttribute("open");
  if (!isOpen) sheet.querySelector("button").focus();
}
