// Asking the server: one request with a limit of time, and what it says when it refuses.

/** What a request that is answered at once may take, milliseconds. */
export const REQUEST_TIMEOUT = 2000;

/** The server said no: `message` is its reason, `retryAfter` what it asks for in milliseconds, if it does. */
export class Refused extends Error {
  /**
   * @param {string} message
   * @param {number} status
   * @param {string | null} code
   * @param {number | null} retryAfter
   */
  constructor(message, status, code, retryAfter) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

/** No answer came. */
export class Unreachable extends Error {}

/** @returns {never} */
function unreachable() {
  throw new Unreachable("The server can't be reached");
}

/**
 * `fetch` that gives up after `limit` milliseconds. Browsers of 2019 have no `AbortSignal.timeout`.
 * @param {string | URL} url
 * @param {RequestInit} [options]
 * @param {number} [limit]
 * @returns {Promise<Response>}
 */
export async function request(url, options = {}, limit = REQUEST_TIMEOUT) {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), limit);
  try {
    const response = await fetch(String(url), Object.assign({ signal: controller.signal }, options)).catch(unreachable);
    // Some of these browsers would wait for the body without end.
    const text = response.text.bind(response);
    response.text = () => within(text(), limit).catch(unreachable);
    return response;
  } finally {
    clearTimeout(timer);
  }
}

/**
 * What a URL answers in JSON.
 * @param {string | URL} url
 * @param {RequestInit} [options]
 * @param {number} [limit]
 * @returns {Promise<any>}
 * @throws {Refused} the server said no
 */
export async function json(url, options, limit) {
  const response = await request(url, options, limit);
  if (!response.ok) throw await refusal(response);
  return JSON.parse(await response.text());
}

/**
 * @param {string} method
 * @param {unknown} body
 * @returns {RequestInit}
 */
export function sending(method, body) {
  return { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
}

/**
 * Brings an SDP offer, which opens something. @param {string | URL} url @param {string | undefined} offer @param {number} limit
 * @returns {Promise<Response>} its answer
 * @throws {Refused} the server said no
 */
export async function open(url, offer, limit) {
  const response = await request(url, { method: "POST", headers: { "Content-Type": "application/sdp" }, body: offer }, limit);
  if (response.status !== 201) throw await refusal(response);
  return response;
}

/**
 * Makes an error of a response that is none we wanted.
 * @param {Response} response
 * @returns {Promise<Refused>}
 */
export async function refusal(response) {
  const retryAfter = Number.parseFloat(response.headers.get("Retry-After") || "");
  /** @type {{detail?: string, code?: string}} */
  let problem = {};
  try {
    problem = JSON.parse(await response.text());
  } catch {
    // It speaks of something else, as a proxy between does.
  }
  const plain = `The server answered ${response.status} ${response.statusText}`.trim();
  const wait = Number.isFinite(retryAfter) ? retryAfter * 1000 : null;
  return new Refused(problem.detail || plain, response.status, problem.code || null, wait);
}

/**
 * @template T
 * @param {Promise<T>} promise
 * @param {number} limit
 * @returns {Promise<T>}
 */
function within(promise, limit) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("no answer in time")), limit);
    promise.then(resolve, reject).then(() => clearTimeout(timer));
  });
}
