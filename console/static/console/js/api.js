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
    const told = faults.map((fault) => fault.detail).join(" ") || `The server answered ${status}.`;
    super(status === 404 ? "It is not here any more. Reload the page." : told);
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
 * @param {{headers?: Record<string, string>, signal?: AbortSignal, keepalive?: boolean}} [options] `keepalive`: it goes
 *   on when the page is left
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
 * @param {{headers?: Record<string, string>, signal?: AbortSignal, keepalive?: boolean}} [options]
 */
export async function ask(method, path, body = null, options = {}) {
  /** @type {Record<string, string>} */
  const headers = { "X-CSRFToken": csrfToken, ...options.headers };
  const isForm = body instanceof FormData;
  if (body && !isForm) headers["Content-Type"] = "application/json";
  const sent = /** @type {BodyInit | null} */ (isForm || !body ? body : JSON.stringify(body));
  return taken(await reach(`/api/v1/${path}`, { ...options, method, headers, body: sent }));
}

/**
 * What a page asks while it is open, as JSON. Throws ApiError and Unreachable.
 * @param {string} path of this server
 * @returns {Promise<any>}
 */
export async function read(path) {
  return contentOf(await taken(await reach(path, {})));
}

/**
 * Sends a form as `call` does, and tells which share of it has left.
 * @param {string} path below `/api/v1/`
 * @param {FormData} form
 * @param {{headers: Record<string, string>, signal: AbortSignal, onProgress: (share: number) => void}} options
 * @returns {Promise<any>}
 */
export function upload(path, form, options) {
  const request = new XMLHttpRequest(); // fetch tells nothing of what it has sent
  request.open("POST", `/api/v1/${path}`);
  for (const [name, value] of Object.entries({ "X-CSRFToken": csrfToken, ...options.headers })) {
    request.setRequestHeader(name, value);
  }
  request.upload.onprogress = (event) => options.onProgress(event.loaded / event.total);
  options.signal.addEventListener("abort", () => request.abort());
  return new Promise((resolve, reject) => {
    request.onload = () => resolve(taken(answerOf(request)).then(contentOf));
    request.onerror = () => reject(new Unreachable());
    request.onabort = () => reject(new DOMException("The request was broken off.", "AbortError"));
    request.send(form);
  });
}

/** @param {XMLHttpRequest} request */
function answerOf(request) {
  const headers = new Headers();
  for (const name of ["Content-Type", "Retry-After"]) {
    const value = request.getResponseHeader(name);
    if (value) headers.set(name, value);
  }
  return new Response(request.responseText, { status: request.status, headers });
}

/**
 * The answer, unless it is an error.
 * @param {Response} answer
 */
async function taken(answer) {
  if (answer.ok) return answer;
  if (answer.status === 401) logInAgain();
  const content = await contentOf(answer);
  throw new ApiError(answer.status, content?.errors ?? [], Number(answer.headers.get("Retry-After") ?? 0));
}

/** @param {Response} answer */
async function contentOf(answer) {
  if (!answer.headers.get("Content-Type")?.includes("json")) return null;
  return unlessBroken(answer.json());
}

/**
 * @param {string} url
 * @param {RequestInit} request
 */
function reach(url, request) {
  return unlessBroken(fetch(url, request));
}

/**
 * What was waited for. Throws Unreachable where the connection broke.
 * @template T
 * @param {Promise<T>} answer
 * @returns {Promise<T>}
 */
async function unlessBroken(answer) {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Unreachable();
  }
}

/** Leads to the log-in, and back to this page. */
export function logInAgain() {
  location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
}
