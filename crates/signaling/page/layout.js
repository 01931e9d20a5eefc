// The wall's layout, as its address has it: which streams, in which order and columns, and which of them is large.

/** Cells of a wall: what a browser decodes side by side. */
export const MOST_CELLS = 36;
const MOST_COLUMNS = 12;

/** @typedef {{streams: string[], cols: number, big: string | null}} Layout */

/**
 * Reads an address.
 * @param {string} search `?streams=a,b&cols=2&big=a`; without streams, and with `all`, those that are known
 * @param {ReadonlyArray<string>} known
 * @returns {Layout}
 */
export function parse(search, known) {
  const query = new URLSearchParams(search);
  const asked = (query.get("streams") || "all").split(",").map((name) => name.trim());
  const named = asked.reduce((names, name) => names.concat(name === "all" ? known : name), /** @type {string[]} */ ([]));
  const streams = named.filter((name, at) => name !== "" && named.indexOf(name) === at).slice(0, MOST_CELLS);
  const cols = Math.min(MOST_COLUMNS, Math.max(0, Number.parseInt(query.get("cols") || "0", 10) || 0));
  const big = query.get("big");
  return { streams, cols, big: big !== null && streams.includes(big) ? big : null };
}

/**
 * Whether an address means whatever streams there are.
 * @param {string} search
 */
export function isAll(search) {
  const streams = new URLSearchParams(search).get("streams");
  return !streams || streams.split(",").some((name) => name.trim() === "all");
}

/**
 * Writes an address.
 * @param {Layout} layout
 */
export function format({ streams, cols, big }) {
  const query = [`streams=${streams.map(encodeURIComponent).join(",")}`];
  if (cols > 0) query.push(`cols=${cols}`);
  if (big !== null) query.push(`big=${encodeURIComponent(big)}`);
  return `?${query.join("&")}`;
}

/**
 * Columns for so many cells of 16:9 in a window, so that they are as large as can be.
 * @param {number} cells
 * @param {number} width
 * @param {number} height
 */
export function columns(cells, width, height) {
  let [best, widest] = [1, 0];
  for (let cols = 1; cols <= Math.min(cells, MOST_COLUMNS); cols += 1) {
    const rows = Math.ceil(cells / cols);
    const fits = Math.min(width / cols, (height / rows) * (16 / 9));
    if (fits > widest) [best, widest] = [cols, fits];
  }
  return best;
}

/**
 * The longest edge of a stream's full picture: what is asked for, or less where its source gives no more.
 * @param {{width: number, height: number, quality: {longest_edge: number}} | undefined} stream
 */
export function edgeOf(stream) {
  if (!stream) return 0;
  const known = Math.max(stream.width, stream.height);
  return known > 0 ? Math.min(known, stream.quality.longest_edge) : stream.quality.longest_edge;
}

/**
 * The lowest rung whose picture is as large as its cell; a quarter less is not seen.
 * @param {number} pixels the cell's longest edge; 0: it is not known
 * @param {number} edge the full picture's
 */
export function rungFor(pixels, edge) {
  if (!pixels) return "full";
  return pixels * 4 <= edge * 1.25 ? "quarter" : pixels * 2 <= edge * 1.25 ? "half" : "full";
}

/**
 * Swaps a stream with another; what is not there stays as it is.
 * @param {ReadonlyArray<string>} streams
 * @param {string} one
 * @param {string} other
 */
export function swap(streams, one, other) {
  const [from, to] = [streams.indexOf(one), streams.indexOf(other)];
  const swapped = streams.slice();
  if (from >= 0 && to >= 0) [swapped[from], swapped[to]] = [other, one];
  return swapped;
}

/**
 * The cell that an arrow key leads to, or the same where there is none.
 * @param {number} at
 * @param {string} key
 * @param {number} cells
 * @param {number} cols
 */
export function beside(at, key, cells, cols) {
  /** @type {Record<string, number>} */
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -cols, ArrowDown: cols };
  const to = at + (steps[key] || 0);
  return to >= 0 && to < cells ? to : at;
}
