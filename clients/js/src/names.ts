// Ids, cursors, subjects and errors: pure functions.

/** The version of the protocol that this client speaks. */
export const protocol = 1;

/** What went wrong, for programs. */
export type Code =
  | "invalid" // an argument cannot be used
  | "no_server" // no server answers, or it refuses the credentials
  | "not_set_up" // the server has no Parley streams
  | "not_stored" // an input is not stored
  | "no_answer" // an input is stored and has no answer yet
  | "cursor_expired" // see CursorExpired
  | "deleted" // the conversation was deleted
  | "denied" // the user may not do that
  | "closed" // the client was closed
  | "unavailable" // the server does not answer now
  | "fenced"; // another writer has taken the lane

/** An error of this client. */
export class ParleyError extends Error {
  constructor(readonly code: Code, message: string, options?: ErrorOptions) { super(message, options); this.name = "ParleyError"; }
}

/**
 * The log does not hold what follows a cursor, or its own beginning, any more. Continue
 * after `resume`; `watch` still has inputs, decisions and results from before it. With
 * `otherLog` the cursor is of a log that was replaced: begin without a cursor.
 */
export class CursorExpired extends ParleyError {
  constructor(readonly after: string, readonly resume: string, readonly otherLog: boolean) {
    super("cursor_expired", otherLog
      ? `cursor_expired: ${after} is a cursor of another log, which was deleted or lost its end; begin without a cursor`
      : `cursor_expired: what follows ${after || "the beginning"} has expired from the log; resume after ${resume}`);
    this.name = "CursorExpired";
  }
}

/** A position in a log. index is Infinity after all events of a message. */
export interface Position { sequence: number; index: number; epoch: string; }

/** Parses a cursor such as `812-3@mii4k1c0`; the index and the epoch may be left out. */
export function parseCursor(cursor: string): Position {
  const m = /^(\d{1,20})(?:-(\d{1,15}))?(?:@([A-Za-z0-9_-]{1,64}))?$/.exec(cursor);
  if (!m || BigInt(m[1]!) >> 64n) {
    throw new ParleyError("invalid", `cursor ${JSON.stringify(cursor.slice(0, 40))} is not of the form 812-3 or 812-3@mii4k1c0 (sequence, index in the frame, epoch of the log)`);
  }
  return { sequence: +m[1]!, index: m[2] === undefined ? Infinity : +m[2], epoch: m[3] ?? "" };
}

export function formatCursor(p: Position): string { return p.sequence + (p.index === Infinity ? "" : `-${p.index}`) + (p.epoch && `@${p.epoch}`); }

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export function checkID(what: string, id: string): string {
  if (!uuid.test(id)) throw new ParleyError("invalid", `${what} id ${JSON.stringify(String(id).slice(0, 60))} is not a UUID in lower case: use newID()`);
  return id;
}

export function checkName(what: string, name: string): string {
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(name)) throw new ParleyError("invalid", `${what} name ${JSON.stringify(String(name).slice(0, 60))} must have 1 to 64 letters, digits, _ and -`);
  return name;
}

/** Returns a new id for a conversation or an input: a UUIDv7. */
export function newID(): string {
  const b = crypto.getRandomValues(new Uint8Array(16)), hex = Array.from(b, (x) => x.toString(16).padStart(2, "0")).join("");
  const at = Date.now().toString(16).padStart(12, "0");
  return `${at.slice(0, 8)}-${at.slice(8)}-7${hex.slice(13, 16)}-${"89ab"[b[8]! & 3]}${hex.slice(17, 20)}-${hex.slice(20)}`;
}

/** Returns the shard of a conversation: FNV-1a of its id, modulo the number of shards. */
export function shardOf(conversation: string, shards: number): number {
  if (shards <= 1) return 0;
  let h = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(conversation)) h = Math.imul(h ^ byte, 0x01000193);
  return (h >>> 0) % shards;
}

/** A conversation's place on the bus. */
export interface Place { conversation: string; shard: number; stream: string; }

export const placeOf = (conversation: string, shards: number): Place => {
  const shard = shardOf(conversation, shards); return { conversation, shard, stream: `CONV_${shard}` };
};

export type Log = "conv" | "live" | "history";
export const subjectOf = (log: Log, p: Place, channel: string): string => `${log}.${p.shard}.${p.conversation}.${channel}`;

/** The channels of a conversation: who wrote an event. */
export type Channel = "in" | "turn" | "gen" | "call" | "out";

/** Reads the channel, and the call, of a subject of any log. */
export function channelOf(subject: string): { channel: Channel; call: string } {
  const t = subject.split("."); return { channel: t[3] as Channel, call: t[4] ?? "" };
}

export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const stop = () => { clearTimeout(timer); reject(signal!.reason); };
    const timer = setTimeout(() => { signal?.removeEventListener("abort", stop); resolve(); }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
