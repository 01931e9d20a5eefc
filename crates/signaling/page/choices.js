// How this viewer wants to see: it outlives reconnects and reloads of this tab, and nothing that the viewer ends on purpose.
// What is the same for everybody, as the quality is, is not kept here: an old choice would be forced on all who watch.

const KEY = "framebridge.choices";

export class Choices {
  /** @param {Storage | undefined} storage of this tab */
  constructor(storage) {
    this._storage = storage;
    /** Of what was kept: somebody else may have kept anything. @type {{layout?: string}} */
    this._kept = Object.assign({}, attempt(() => JSON.parse(/** @type {Storage} */ (storage).getItem(KEY) || "{}")));
  }

  /** `fit`: the whole picture; `fill`: the whole window. */
  get layout() {
    return this._kept.layout === "fill" ? "fill" : "fit";
  }

  set layout(layout) {
    this._kept.layout = layout;
    attempt(() => /** @type {Storage} */ (this._storage).setItem(KEY, JSON.stringify(this._kept)));
  }

  /** The viewer stops on purpose. */
  forget() {
    this._kept = {};
    attempt(() => /** @type {Storage} */ (this._storage).removeItem(KEY));
  }
}

/**
 * A browser may keep a page from storing anything; then what was chosen lasts as long as the page.
 * @param {() => any} use
 */
function attempt(use) {
  try {
    return use();
  } catch {
    return null;
  }
}
