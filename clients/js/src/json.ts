// Frames of events, and JSON whose bytes matter: a digest is of the text of the
// arguments, which JSON.parse and JSON.stringify do not preserve.
import { eventTypes, shapes } from "./shapes.js";
import type { ParleyEvent } from "./types.js";

/** An event of a type that this version does not know. */
export interface UnknownEvent { type: string; [field: string]: unknown; }

/** One event of a message, and its JSON text. */
export interface Line { event: ParleyEvent | UnknownEvent; raw: string; }

/** What a message holds: the events up to the first that cannot be read, and why not. */
export interface Frame { lines: Line[]; bad?: BadEvent; }

/** Reports that an event cannot be read. `id` is its id, if that can. */
export class BadEvent extends Error {
  constructor(message: string, readonly id = "") { super(message); this.name = "BadEvent"; }
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }), encoder = new TextEncoder();
export const encode = (text: string): Uint8Array => encoder.encode(text);
const mostLines = 4096;

/** Decodes the payload of a message: one event per line. */
export function decodeFrame(data: Uint8Array): Frame {
  const lines: Line[] = [];
  try {
    for (let from = 0; from < data.length; ) {
      const end = data.indexOf(10, from), row = data.subarray(from, end < 0 ? data.length : end);
      from += row.length + 1; if (row.every((c) => c === 32 || (c >= 9 && c <= 13))) continue;
      if (lines.length === mostLines) throw new BadEvent(`the message has more than ${mostLines} events`);
      lines.push(decodeLine(row));
    }
    if (lines.length === 0) throw new BadEvent("the message is empty: it must hold one JSON object per line");
  } catch (err) { return { lines, bad: err as BadEvent }; }
  return { lines };
}

function decodeLine(row: Uint8Array): Line {
  let raw: string;
  try { raw = utf8.decode(row).trim(); } catch { throw new BadEvent("the event is not valid UTF-8", readID(new TextDecoder().decode(row))); }
  let event: unknown;
  try { event = parse(raw); } catch (err) { throw new BadEvent(`the event is not valid JSON: ${(err as Error).message}`, readID(raw)); }
  const wrong = check(event, "event"); if (wrong) throw new BadEvent(`the event${wrong}`, readID(raw));
  return { event: event as UnknownEvent, raw };
}

/** Parses JSON. Halves of surrogate pairs become U+FFFD, as in Go. */
export function parse(raw: string): unknown {
  if (!/\\u[dD][89a-fA-F]/.test(raw)) return JSON.parse(raw);
  return JSON.parse(raw, (_, v) => (typeof v === "string" ? v.replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "\ufffd") : v));
}

// readID returns the id of an event that cannot be read as a whole.
function readID(raw: string): string {
  const text = raw.trim();
  if (text[0] !== "{") return "";
  for (let i = 1; i < text.length; ) {
    i = space(text, i); if (text[i] === ",") i = space(text, i + 1);
    const key = value(text, i), from = space(text, space(text, key) + 1), end = value(text, from);
    try {
      if (JSON.parse(text.slice(i, key)) === "id") { const id = parse(text.slice(from, end)); return typeof id === "string" ? id : ""; }
      JSON.parse(text.slice(from, end));
    } catch { return ""; }
    i = end;
  }
  return "";
}

// check says what is wrong with a value of a kind; empty if nothing is. null is no value.
function check(v: unknown, kind: string): string {
  if (kind === "event") {
    if (typeof v !== "object" || v === null || Array.isArray(v)) return " is not a JSON object";
    const type = (v as UnknownEvent).type; if (typeof type !== "string" || !type) return ' has no "type"';
    return eventTypes.has(type) ? check(v, type) : "";
  }
  if (v === null || v === undefined || kind === "r") return "";
  const expected = (ok: boolean, what: string) => (ok ? "" : `: ${what} is expected, not ${JSON.stringify(v).slice(0, 40)}`);
  switch (kind) {
    case "s": return expected(typeof v === "string", "a string");
    case "b": return expected(typeof v === "boolean", "true or false");
    case "n": return expected(typeof v === "number", "a number");
    case "i": return expected(Number.isInteger(v), "a whole number");
    case "u": return expected(Number.isInteger(v) && (v as number) >= 0, "a whole number, 0 or more");
    case "x": return expected(typeof v === "string" && /^(?:[A-Za-z0-9+/\r\n]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(v), "base64");
  }
  const inner = kind.slice(1, -1);
  if (kind[0] === "[") {
    if (!Array.isArray(v)) return expected(false, "a list");
    for (const [i, given] of v.entries()) {
      const item = (given === null && (shapes[inner] ? (v[i] = {}) : inner === "s" ? (v[i] = "") : null)) || given;
      const wrong = inner === "event" && item?.type === "Decision" ? ": a Decision cannot hold a Decision" : check(item, inner);
      if (wrong) return wrong;
    }
    return "";
  }
  if (typeof v !== "object" || Array.isArray(v)) return expected(false, "an object");
  for (const [field, item] of Object.entries(v)) {
    const own = kind[0] === "{" ? inner : shapes[kind]?.[field];
    const wrong = own ? check(item, own) : ""; if (wrong) return ` ${field}${wrong}`;
  }
  return "";
}

const isSpace = (c: number) => c === 32 || c === 9 || c === 10 || c === 13;

function space(text: string, i: number): number { while (i < text.length && isSpace(text.charCodeAt(i))) i++; return i; }

function string(text: string, i: number): number { for (i++; i < text.length && text[i] !== '"'; i++) if (text[i] === "\\") i++; return i + 1; }

// value returns the end of the JSON value that begins at i.
function value(text: string, i: number): number {
  if (text[i] === '"') return string(text, i);
  let depth = 0;
  for (; i < text.length; i++) {
    const c = text[i]!; if (c === '"') i = string(text, i) - 1;
    else if (c === "{" || c === "[") depth++;
    else if ((c === "}" || c === "]") && --depth <= 0) return depth < 0 ? i : i + 1;
    else if (depth === 0 && (c === "," || c === ":" || isSpace(c.charCodeAt(0)))) return i;
  }
  return i;
}

/**
 * Returns the text of a value inside JSON, exactly as it was written: path names the
 * fields and list positions that lead to it. undefined if there is none.
 *
 * `rawAt(event.raw, "awaiting", 0, "arguments")`
 */
export function rawAt(json: string, ...path: (string | number)[]): string | undefined {
  let from = space(json, 0), end = value(json, from);
  for (const step of path) {
    const open = json[from], list = open === "[";
    if (open !== "{" && !list) return undefined;
    let found: [number, number] | undefined, n = 0;
    for (let i = space(json, from + 1); i < end - 1; n++) {
      let key: string | number = n;
      if (!list) { const stop = value(json, i); key = JSON.parse(json.slice(i, stop)) as string; i = space(json, space(json, stop) + 1); }
      const stop = value(json, i);
      if (key === step) found = [i, stop]; // of several the last counts
      i = space(json, stop); if (json[i] === ",") i = space(json, i + 1);
    }
    if (!found) return undefined; [from, end] = found;
  }
  return json.slice(from, end);
}

/** Returns JSON without white space between its tokens; what is no JSON as it is. */
export function compact(json: string): string {
  try { JSON.parse(json); } catch { return json; }
  return json.replace(/"(?:[^"\\]|\\.)*"|[ \t\r\n]+/g, (m) => (m[0] === '"' ? m : ""));
}

/**
 * Returns the digest of a call's arguments, which a Verdict names, from their raw JSON
 * text: the `arguments` of a message's part, or `rawAt` of an event.
 */
export async function digest(rawArguments: string): Promise<string> {
  const text = rawArguments.trim(); return sha256(encode(compact(text === "" || text === "null" ? "{}" : rawArguments)));
}

/** Returns the SHA-256 of bytes, in hex. */
export async function sha256(data: Uint8Array): Promise<string> {
  const sum = await crypto.subtle.digest("SHA-256", data as Uint8Array<ArrayBuffer>);
  return Array.from(new Uint8Array(sum), (b) => b.toString(16).padStart(2, "0")).join("");
}
