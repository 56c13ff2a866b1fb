// Requests to the API by the page's cookie.

/**
 * @typedef {{code: string, detail: string, attr: string | null}} Fault
 */

/** What the server refused: `status` and the API's errors. */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {Fault[]} faults
   * @param {number} wait seconds to wait before another try; 0 if the server names none
   */
  constructor(status, faults, wait) {
    super(faults.map((fault) => fault.detail).join(" ") || `The server answered ${status}.`);
    this.status = status;
    this.faults = faults;
    this.wait = wait;
  }
}

/** The server did not answer at all. */
export class Unreachable extends Error {
  constructor() {
    super("The server cannot be reached.");
  }
}

const meta = /** @type {HTMLMetaElement | null} */ (document.querySelector('meta[name="csrf-token"]'));

export const csrfToken = meta?.content ?? "";

/**
 * The answer's JSON, or null where it has none. Throws ApiError and Unreachable.
 * @param {string} method
 * @param {string} path below `/api/v1/`
 * @param {FormData | object | null} [body] a form, or what is sent as JSON
 * @param {{headers?: Record<string, string>, signal?: AbortSignal}} [options]
 * @returns {Promise<any>}
 */
export async function call(method, path, body = null, options = {}) {
  return contentOf(await ask(method, path, body, options));
}

/**
 * The answer itself, for its headers. Arguments and errors are those of `call`.
 * @param {string} method
 * @param {string} path
 * @param {FormData | object | null} [body]
 * @param {{headers?: Record<string, string>, signal?: AbortSignal}} [options]
 */
export async function ask(method, path, body = null, options = {}) {
  /** @type {Record<string, string>} */
  const headers = { "X-CSRFToken": csrfToken, ...options.headers };
  const isForm = body instanceof FormData;
  if (body && !isForm) headers["Content-Type"] = "application/json";
  const sent = /** @type {BodyInit | null} */ (isForm || !body ? body : JSON.stringify(body));
  const answer = await reach(`/api/v1/${path}`, { method, headers, body: sent, signal: options.signal });
  if (answer.ok) return answer;
  if (answer.status === 401) logInAgain();
  const content = await contentOf(answer);
  throw new ApiError(answer.status, content?.errors ?? [], Number(answer.headers.get("Retry-After") ?? 0));
}

/** @param {Response} answer */
async function contentOf(answer) {
  return answer.headers.get("Content-Type")?.includes("json") ? await answer.json() : null;
}

/**
 * @param {string} url
 * @param {RequestInit} request
 */
async function reach(url, request) {
  try {
    return await fetch(url, request);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Unreachable();
  }
}

/** Leads to the log-in, and back to this page. */
export function logInAgain() {
  location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
}
