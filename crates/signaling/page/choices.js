// What the viewer asked for and got. It outlives reconnects and reloads of this tab, and nothing that the viewer ends on
// purpose. Only a change that came true is kept: what was refused must not be asked for again and again.

const KEY = "framebridge.choices";

export class Choices {
  #storage;
  #kept;

  /**
   * @param {Storage} storage of this tab
   * @param {string} stream the one that is being opened
   */
  constructor(storage, stream) {
    this.#storage = storage;
    const kept = read(storage);
    // Another stream was chosen by opening its page: what was asked of the one before is not for this one.
    this.#kept = kept.stream === stream ? kept : { layout: kept.layout };
  }

  /** Frames per second, or `null`: whatever is in force. */
  get fps() {
    return this.#kept.fps ?? null;
  }

  /** `fit`: the whole picture; `fill`: the whole window. */
  get layout() {
    return this.#kept.layout ?? "fit";
  }

  /**
   * A change has come true.
   * @param {{stream?: string, fps?: number, layout?: string}} change
   */
  succeeded(change) {
    this.#kept = { ...this.#kept, ...change };
    attempt(() => this.#storage.setItem(KEY, JSON.stringify(this.#kept)));
  }

  /** The viewer stops on purpose. */
  forget() {
    this.#kept = {};
    attempt(() => this.#storage.removeItem(KEY));
  }
}

function read(storage) {
  return attempt(() => JSON.parse(storage.getItem(KEY))) ?? {};
}

/** A browser may keep a page from storing anything; then what was chosen lasts as long as the page. */
function attempt(use) {
  try {
    return use();
  } catch {
    return null;
  }
}
