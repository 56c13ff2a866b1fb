// A request to the API as code: what the user gave is quoted, whatever it holds.

/**
 * A request, as the snippets write it down.
 * @typedef {{
 *   method: "GET" | "POST",
 *   path: string,
 *   fields?: [string, string][],
 *   files?: [string, string][],
 *   content?: Record<string, string | number | boolean>,
 *   waits?: boolean,
 *   savedAs?: string,
 * }} Asked `path`: below the API's address, with its query. `files`: form fields and names. `content`: sent
 *   as JSON, instead of a form. `waits`: for the result of
 *   an upload. `savedAs`: a file name of ours, if the answer is a file.
 */

/**
 * @typedef {(asked: Asked, api: string, key: string) => string} Writer of code. `api` is the API's address; without a
 *   `key` the code takes it from the environment's OBJECTVISION_KEY.
 */

const WAIT = 30;
/** Of requests, in seconds: longer than the server waits. */
const TIMEOUT = 60;
/** Characters that are invisible, or turn the order of others around; not the joiners of emoji and Persian. */
const UNSEEN = /(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u;
const EACH_UNSEEN = new RegExp(UNSEEN, "gu");
const PLAIN_WORD = /^[\w@%+=:,./-]+$/;
const PLAIN_FILE = /^\w[\w.-]*$/;

/** @param {string} character */
const hex = (character, width = 0) => (character.codePointAt(0) ?? 0).toString(16).padStart(width, "0");

/**
 * One word of a shell. What is unseen is written as its bytes, which bash and zsh read.
 * @param {string} text
 */
export function shellWord(text) {
  if (PLAIN_WORD.test(text)) return text;
  if (!UNSEEN.test(text)) return `'${text.replaceAll("'", "'\\''")}'`;
  const escaped = text.replace(/[\\']/g, "\\$&").replace(EACH_UNSEEN, bytesOf);
  return `$'${escaped}'`;
}

/** @param {string} character */
function bytesOf(character) {
  return [...new TextEncoder().encode(character)].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");
}

/**
 * The name of a file in one of curl's forms, which has a syntax of its own.
 * @param {string} name
 */
function curlFile(name) {
  if (PLAIN_FILE.test(name)) return name;
  const path = name === "-" ? "./-" : name; // a lone hyphen is the standard input
  return `"${path.replace(/[\\"]/g, "\\$&")}"`;
}

/** @param {string} text */
export function pythonText(text) {
  return quoted(text, (character) =>
    character.length > 1 ? `\\U${hex(character, 8)}` : `\\u${hex(character, 4)}`,
  );
}

/** @param {string} text */
export function scriptText(text) {
  return quoted(text, (character) => `\\u{${hex(character)}}`);
}

/**
 * @param {string} text
 * @param {(character: string) => string} escape what is unseen
 */
function quoted(text, escape) {
  return `"${text.replace(/[\\"]/g, "\\$&").replace(/\n/g, "\\n").replace(EACH_UNSEEN, escape)}"`;
}

/** @type {Writer} */
export function curl({ path, fields = [], files = [], content, waits, savedAs }, api, key) {
  const words = [
    `curl ${shellWord(`${api}/${path}`)}`,
    key ? `-H ${shellWord(`X-API-Key: ${key}`)}` : '-H "X-API-Key: $OBJECTVISION_KEY"',
    waits && `-H 'Prefer: wait=${WAIT}'`,
    ...files.map(([field, name]) => `-F ${shellWord(`${field}=@${curlFile(name)}`)}`),
    ...fields.map(([field, value]) => `--form-string ${shellWord(`${field}=${value}`)}`),
    content && `-H 'Content-Type: application/json'`,
    content && `--data-raw ${shellWord(JSON.stringify(content))}`,
    savedAs && `-o ${shellWord(savedAs)}`,
  ];
  return `${words.filter(isText).join(" \\\n  ")}\n`;
}

/** @type {Writer} */
export function python({ method, path, fields = [], files = [], content, waits, savedAs }, api, key) {
  const opened = files.map(([field, name]) => `(${pythonText(field)}, open(${pythonText(name)}, "rb"))`);
  const pairs = fields.map(([field, value]) => `(${pythonText(field)}, ${pythonText(value)})`);
  return lines(
    !key && "import os",
    savedAs && "from pathlib import Path",
    (!key || savedAs) && "",
    "import requests",
    "",
    `answer = requests.${method.toLowerCase()}(`,
    `    ${pythonText(`${api}/${path}`)},`,
    `    headers={`,
    `        "X-API-Key": ${key ? pythonText(key) : 'os.environ["OBJECTVISION_KEY"]'},`,
    waits && `        "Prefer": "wait=${WAIT}",`,
    "    },",
    opened.length && `    files=[${opened.join(", ")}],`,
    pairs.length && `    data=[${pairs.join(", ")}],`,
    content && `    json={${members(content, pythonText, { true: "True", false: "False" })}},`,
    `    timeout=${TIMEOUT},`,
    ")",
    "answer.raise_for_status()",
    savedAs ? `Path(${pythonText(savedAs)}).write_bytes(answer.content)` : "print(answer.text)",
  );
}

/** @type {Writer} */
export function javascript({ method, path, fields = [], files = [], content, waits, savedAs }, api, key) {
  const isForm = files.length + fields.length > 0;
  return lines(
    files.length && 'import { readFile } from "node:fs/promises";',
    savedAs && 'import { writeFile } from "node:fs/promises";',
    (files.length || savedAs) && "",
    isForm && "const form = new FormData();",
    ...files.map(([field, name]) => `form.append(${scriptText(field)}, ${blob(name)}, ${scriptText(name)});`),
    ...fields.map(([field, value]) => `form.append(${scriptText(field)}, ${scriptText(value)});`),
    `const answer = await fetch(${scriptText(`${api}/${path}`)}, {`,
    method !== "GET" && `  method: "${method}",`,
    "  headers: {",
    `    "X-API-Key": ${key ? scriptText(key) : "process.env.OBJECTVISION_KEY"},`,
    waits && `    Prefer: "wait=${WAIT}",`,
    content && '    "Content-Type": "application/json",',
    "  },",
    isForm && "  body: form,",
    content && `  body: JSON.stringify({ ${members(content, scriptText, {})} }),`,
    "});",
    "if (!answer.ok) throw new Error(await answer.text());",
    savedAs
      ? `await writeFile(${scriptText(savedAs)}, Buffer.from(await answer.arrayBuffer()));`
      : "console.log(await answer.text());",
  );
}

/**
 * What stands between the braces of an object.
 * @param {Record<string, string | number | boolean>} content
 * @param {(text: string) => string} write
 * @param {Record<string, string>} words that the language has for true and false
 */
function members(content, write, words) {
  const valueOf = (/** @type {string | number | boolean} */ value) =>
    typeof value === "string" ? write(value) : (words[String(value)] ?? String(value));
  return Object.entries(content).map(([name, value]) => `${write(name)}: ${valueOf(value)}`).join(", ");
}

/** @param {string} name */
const blob = (name) => `new Blob([await readFile(${scriptText(name)})])`;

/**
 * A program of these lines; what is no text is left out.
 * @param {...unknown} parts
 */
const lines = (...parts) => `${parts.filter(isText).join("\n")}\n`;

/** @param {unknown} part */
const isText = (part) => typeof part === "string";
