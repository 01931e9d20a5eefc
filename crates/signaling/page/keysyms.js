// What a key means to an X display: its key symbol, whatever the layouts on either side. No DOM.

/** Keys that are no characters. @type {Readonly<Record<string, number>>} */
const NAMED = Object.freeze({
  Backspace: 0xff08, Tab: 0xff09, Enter: 0xff0d, Pause: 0xff13, ScrollLock: 0xff14, Escape: 0xff1b,
  Home: 0xff50, ArrowLeft: 0xff51, ArrowUp: 0xff52, ArrowRight: 0xff53, ArrowDown: 0xff54, PageUp: 0xff55, PageDown: 0xff56,
  End: 0xff57, PrintScreen: 0xff61, Insert: 0xff63, ContextMenu: 0xff67, Delete: 0xffff,
});

/** Keys that modify others: left, and one more is right. @type {Readonly<Record<string, number>>} */
const MODIFIERS = Object.freeze({ Shift: 0xffe1, Control: 0xffe3, Alt: 0xffe9, Meta: 0xffeb });
const FLAGS = Object.freeze({ Shift: "shiftKey", Control: "ctrlKey", Alt: "altKey", Meta: "metaKey" });

/**
 * @param {{key: string, location: number}} event
 * @param {boolean} isMac there the command key does what Control does elsewhere
 * @returns {number} 0: nothing that is sent, as AltGr, whose characters speak for themselves
 */
export function keysym({ key, location }, isMac) {
  const modifier = MODIFIERS[isMac && key === "Meta" ? "Control" : key];
  if (modifier) return modifier + (location === 2 ? 1 : 0);
  const number = /^F(\d\d?)$/.exec(key);
  if (number) return 0xffbd + Number(number[1]);
  return isCharacter(key) ? character(key) : NAMED[key] || 0;
}

/** @param {string} key */
export function isCharacter(key) {
  return Array.from(key).length === 1;
}

/** @param {string} text */
function character(text) {
  const code = text.codePointAt(0) || 0;
  return (code >= 0x20 && code < 0x7f) || (code >= 0xa0 && code < 0x100) ? code : 0x1000000 + code;
}

/**
 * The keys that are down, each by where it is, so that what goes up is what went down, whatever it would mean by then.
 */
export class Keys {
  constructor() {
    /** @type {Map<string, number>} */
    this._down = new Map();
  }

  /**
   * What to send for a key that goes down or up: symbols, and whether each is pressed.
   * @param {any} event
   * @param {boolean} isMac
   * @returns {[number, boolean][]}
   */
  handle(event, isMac) {
    const { type, code, key, repeat } = event;
    const place = code || key;
    if (type === "keyup") {
      // With the command key down, a Mac tells of no other key that goes up.
      return isMac && key === "Meta" ? this.release() : this._up(([at]) => at === place);
    }
    const symbol = keysym(event, isMac);
    if (repeat || !symbol) return [];
    // What went up elsewhere.
    const stale = this._up(([at, held]) => at !== place && !isHeld(event, held, isMac));
    // A character that AltGr has made (Windows says Control and Alt, a Mac Alt) is no shortcut.
    const isThird = isCharacter(key) && (event.getModifierState?.("AltGraph") || (isMac && event.altKey && !event.ctrlKey));
    const third = isThird ? this._up(([, held]) => held === MODIFIERS.Control || held >> 1 === MODIFIERS.Alt >> 1 || held === MODIFIERS.Alt + 1) : [];
    const again = this._up(([at]) => at === place);
    this._down.set(place, symbol);
    return [...stale, ...third, ...again, [symbol, true]];
  }

  /** Everything goes up: characters before what modifies them. */
  release() {
    return this._up(() => true);
  }

  /** @param {(key: [string, number]) => boolean} which @returns {[number, boolean][]} */
  _up(which) {
    const keys = Array.from(this._down).filter(which).reverse();
    for (const [place] of keys) this._down.delete(place);
    return keys.map(([, symbol]) => [symbol, false]);
  }
}

/** Whether a held symbol, if it is a modifier, is held still. @param {any} event @param {number} held @param {boolean} isMac */
function isHeld(event, held, isMac) {
  const name = /** @type {(keyof typeof FLAGS)[]} */ (Object.keys(FLAGS)).find((name) => held === MODIFIERS[name] || held === MODIFIERS[name] + 1);
  return !name || event[FLAGS[name]] || (isMac && name === "Control" && event.metaKey);
}
