// What this client does on a NATS connection: requests to JetStream, made by itself, so
// that it needs no rights but those of its role.
import { createInbox, errors, headers as newHeaders, MsgHdrsImpl, nuid } from "@nats-io/nats-core";
import type { Msg, MsgHdrs, NatsConnection } from "@nats-io/nats-core";
import { type BadEvent, decodeFrame, encode, type Frame, sha256 } from "./json.js";
import { ParleyError, pause } from "./names.js";
import type { Claim, ObjectReference } from "./types.js";

/** A message of a stream. */
export interface Stored {
  subject: string; sequence: number; time: Date; data: Uint8Array; headers?: MsgHdrs;
  /** live: the sequence of the message before it on its subject */
  before?: number;
}

/** An error that JetStream answers with. */
export class ApiError extends Error {
  constructor(readonly code: number, readonly errCode: number, text: string) { super(`${text} (error ${errCode})`); }
}

export interface StreamInfo {
  created: string;
  ts?: string; // the server's time
  config: { metadata?: Record<string, string>; max_age?: number };
  state: { first_seq: number; last_seq: number; subjects?: Record<string, number> };
}

interface RequestOptions { timeout?: number; headers?: MsgHdrs; }

export interface PublishOptions {
  id?: string; // Nats-Msg-Id
  follows?: number; // the expected last sequence of the subject
  headers?: Record<string, string>;
}

export const objectsStream = "OBJ_PARLEY_OBJECTS", presenceStream = "KV_PARLEY_PRESENCE";
const chunkBytes = 128 << 10, mostObject = 256 << 20, pullBatch = 512, fewMessages = 16;

/** Returns the last value of a header: the server appends its own to those of the publisher. */
const serverValue = (h: MsgHdrs | undefined, name: string) => h?.values(name).at(-1) ?? "";

/** Reads a message that the server republished; undefined for any other. */
export function republished(msg: Msg): Stored | undefined {
  const [sequence, before] = ["Nats-Sequence", "Nats-Last-Sequence"].map((h) => serverValue(msg.headers, h));
  if (!msg.subject.startsWith("live.") || !sequence || !before) return undefined;
  return { subject: "conv" + msg.subject.slice(4), sequence: +sequence, before: +before, data: msg.data, headers: msg.headers, time: new Date(serverValue(msg.headers, "Nats-Time-Stamp")) };
}

/** Returns the message of CONV that one of HISTORY is a copy of. */
export function original(m: Stored): Stored {
  const sequence = +(serverValue(m.headers, "Nats-Stream-Source").split(" ")[1] ?? NaN);
  if (!Number.isSafeInteger(sequence)) throw new Error(`message ${m.sequence} of HISTORY is no copy: it has no header Nats-Stream-Source`);
  return { ...m, sequence, subject: "conv" + m.subject.slice(7) };
}

/** The metadata of a delivered message, from its reply subject, which the server makes. */
export function delivery(reply: string): { sequence: number; delivered: number; consumer: number; time: Date; pending: number } | undefined {
  if (!reply.startsWith("$JS.ACK.")) return undefined;
  const t = reply.split("."), [delivered, sequence, consumer, at, pending] = t.slice(t.length > 9 ? 6 : 4).map(Number) as [number, number, number, number, number];
  return { sequence, delivered, consumer, time: new Date(at / 1e6), pending };
}

/** A connection. */
export class Bus {
  connected = true;
  /** How often the connection was made again, and when it was last. */
  reconnects = 0; since = Date.now(); shards = 1;
  private listeners = new Set<() => void>();

  constructor(readonly nc: NatsConnection, readonly api: string, readonly inboxPrefix: string, readonly log: (text: string) => void) {
    void (async () => {
      for await (const s of nc.status()) {
        if (s.type === "disconnect") this.linked(false);
        else if (s.type === "reconnect") this.linked(true);
        else if (s.type === "error") log(`NATS reports an error: ${s.error.message}`);
      }
      this.linked(false);
    })();
  }

  private linked(connected: boolean): void {
    this.connected = connected;
    if (connected) { this.reconnects++; this.since = Date.now(); }
    for (const fn of [...this.listeners]) fn();
  }

  /** Calls fn when the connection is lost, made again or closed, until the returned function is called. */
  onLink(fn: () => void): () => void { this.listeners.add(fn); return () => this.listeners.delete(fn); }
  get closed(): boolean { return this.nc.isClosed(); }
  inbox(): string { return createInbox(this.inboxPrefix); }

  /** Makes one request. It fails as soon as the connection is lost. */
  request(subject: string, data: string | Uint8Array, options: RequestOptions = {}): Promise<Msg> {
    return new Promise((resolve, reject) => {
      if (!this.connected || this.closed) return reject(new Error("there is no connection"));
      const off = this.onLink(() => { off(); reject(new Error("the connection was lost")); });
      this.nc.request(subject, data, { timeout: 5000, ...options }).then((m) => { off(); resolve(m); }, (err) => { off(); reject(err); });
    });
  }

  /** Repeats fn with backoff: without limit while there is no connection, else a number of times. */
  async retry<T>(what: string, signal: AbortSignal | undefined, fn: () => Promise<T>, tries = 14): Promise<T> {
    for (let n = 0; ; n++) {
      signal?.throwIfAborted(); if (this.closed) throw new ParleyError("closed", `${what}: the client is closed`);
      try { if (this.connected) return await fn(); n = -1; } catch (err) {
        if (err instanceof ParleyError || (err instanceof ApiError && err.code < 500 && err.code !== 408)) throw err;
        if (err instanceof errors.PermissionViolationError) throw new ParleyError("denied", `${what}: this user may not do that: ${err.message}`, { cause: err });
        if (n >= tries && this.connected) throw new ParleyError("unavailable", `${what}: the server does not do it now: ${(err as Error).message}`, { cause: err });
      }
      await this.backoff(n, signal);
    }
  }

  /** Waits before the next try: until the connection is there again, or for a moment. */
  async backoff(n: number, signal?: AbortSignal): Promise<void> {
    const stop = new AbortController(), abort = () => stop.abort(), off = this.onLink(abort);
    signal?.addEventListener("abort", abort);
    await pause(this.connected ? Math.min(1000, 20 * 2 ** Math.max(n, 0)) * (1 + Math.random() / 4) : 30_000, stop.signal).catch(() => {});
    off(); signal?.removeEventListener("abort", abort); signal?.throwIfAborted();
  }

  private async call<T>(operation: string, body: unknown): Promise<T> {
    const m = await this.request(`${this.api}.${operation}`, body === undefined ? "" : JSON.stringify(body));
    const got = m.json<T & { error?: { code: number; err_code: number; description: string } }>();
    if (got.error) throw new ApiError(got.error.code, got.error.err_code, got.error.description); return got;
  }

  info(stream: string, signal?: AbortSignal, body?: unknown): Promise<StreamInfo> {
    return this.retry(`read about stream ${stream}`, signal, () => this.call<StreamInfo>(`STREAM.INFO.${stream}`, body));
  }

  consumerInfo(stream: string, name: string): Promise<{ config: { ack_wait: number } }> { return this.call(`CONSUMER.INFO.${stream}.${name}`, undefined); }

  /** Reads one message from the stream's leader; null if there is none, which is final. */
  get(stream: string, which: { seq?: number; last_by_subj?: string; next_by_subj?: string }, signal?: AbortSignal): Promise<Stored | null> {
    return this.retry(`read from ${stream}`, signal, async () => {
      try {
        const { message: m } = await this.call<{ message: { subject: string; seq: number; hdrs?: string; data?: string; time: string } }>(`STREAM.MSG.GET.${stream}`, which);
        return { subject: m.subject, sequence: m.seq, time: new Date(m.time), data: fromBase64(m.data ?? ""), headers: m.hdrs ? MsgHdrsImpl.decode(fromBase64(m.hdrs)) : undefined };
      } catch (err) { if (err instanceof ApiError && err.errCode === 10037) return null; throw err; }
    });
  }

  last(stream: string, subject: string, signal?: AbortSignal): Promise<Stored | null> { return this.get(stream, { last_by_subj: subject }, signal); }

  /** Yields what a stream holds of a subject from a sequence on, one request for each. */
  async *all(stream: string, subject: string, from = 1, signal?: AbortSignal): AsyncGenerator<Stored> {
    for (let m; (m = await this.get(stream, { seq: from, next_by_subj: subject }, signal)); from = m.sequence + 1) yield m;
  }

  /**
   * Yields what a stream holds under a filter from a sequence on, to its end, which the
   * leader names: through a short-lived consumer if it is much.
   */
  async *read(stream: string, filter: string, from: number, signal?: AbortSignal): AsyncGenerator<Stored> {
    for (let fails = 0; ; ) {
      for (let n = 0; n < fewMessages || fails > 3; n++) {
        const m = await this.get(stream, { seq: Math.max(from, 1), next_by_subj: filter }, signal); if (!m) return;
        from = m.sequence + 1; yield m;
      }
      const before = from;
      try {
        for await (const m of this.consume(stream, filter, from)) { from = m.sequence + 1; yield m; }
      } catch (err) { this.log(`reading ${stream} goes on through another consumer: ${(err as Error).message}`); }
      fails = from > before ? 0 : fails + 1;
    }
  }

  // consume reads through a consumer of its own, which an orchestrator makes for users
  // who may not. It ends where the consumer does, which a replica that lags does early.
  private async *consume(stream: string, filter: string, from: number): AsyncGenerator<Stored> {
    const imported = this.api !== "$JS.API", scope = filter.split(".")[2] ?? "all", service = `read.${stream}.${scope === "*" ? "all" : scope}`;
    const name = `reader_${nuid.next()}`;
    let made: { name: string; num_pending: number };
    if (imported) {
      const got = (await this.request(service, JSON.stringify({ filter, from }))).json<{ consumer: string; pending?: number; error?: string }>();
      if (got.error) throw new Error(got.error); made = { name: got.consumer, num_pending: got.pending ?? 0 };
    } else {
      made = await this.call(`CONSUMER.CREATE.${stream}.${name}.${filter}`, { stream_name: stream, config: {
        name, filter_subject: filter, ack_policy: "none", deliver_policy: "by_start_sequence", opt_start_seq: from, mem_storage: true, num_replicas: 1, inactive_threshold: 30e9 } });
    }
    const inbox = this.inbox(), queue = new Queue<Msg>(), sub = this.nc.subscribe(inbox, { callback: (err, m) => (err ? queue.fail(err) : queue.push(m)) });
    const off = this.onLink(() => queue.fail(new Error("the connection was lost")));
    try {
      for (let pending = made.num_pending, count = 0; pending > 0; ) {
        const batch = Math.min(pending, pullBatch);
        this.nc.publish(`${this.api}.CONSUMER.MSG.NEXT.${stream}.${made.name}`, JSON.stringify({ batch, max_bytes: 16 << 20, expires: 5e9 }), { reply: inbox });
        for (let got = 0; got < batch; got++) {
          const m = await queue.next(6000), at = delivery(m.reply ?? "");
          if (!at) {
            const { code, description } = m.headers ?? { code: 0, description: "" };
            if (code === 409 && description === "Batch Completed") { got--; continue; }
            if (code === 404 || code === 408 || description === "Message Size Exceeds MaxBytes") break;
            throw new Error(`the consumer ended: ${code} ${description}`);
          }
          if (at.consumer !== ++count) throw new Error(`message ${count} of the consumer is missing`);
          pending = at.pending; yield { subject: m.subject, sequence: at.sequence, time: at.time, data: m.data, headers: m.headers };
        }
      }
    } finally {
      off(); sub.unsubscribe();
      if (this.connected && !this.closed) {
        if (imported) this.nc.publish(service, JSON.stringify({ filter, delete: made.name }), { reply: this.inbox() });
        else this.nc.publish(`${this.api}.CONSUMER.DELETE.${stream}.${made.name}`, "", { reply: this.inbox() });
      }
    }
  }

  /** Publishes a message to a stream once, and returns where it is stored. */
  async publish(subject: string, data: Uint8Array | string, options: PublishOptions = {}): Promise<{ seq: number; duplicate?: boolean }> {
    const h = newHeaders();
    for (const [name, value] of Object.entries(options.headers ?? {})) h.set(name, value);
    if (options.id) h.set("Nats-Msg-Id", options.id);
    if (options.follows !== undefined) h.set("Nats-Expected-Last-Subject-Sequence", String(options.follows));
    const m = await this.request(subject, data, { timeout: 2000, ...(h.keys().length > 0 && { headers: h }) });
    const got = m.json<{ seq: number; duplicate?: boolean; error?: { code: number; err_code: number; description: string } }>();
    if (got.error) throw new ApiError(got.error.code, got.error.err_code, got.error.description); return got;
  }

  /** Appends to a lane whose last message has a sequence (0: it is empty), and returns the new one. */
  async append(subject: string, follows: number, data: Uint8Array, signal?: AbortSignal): Promise<number> {
    const stream = `CONV_${subject.split(".")[1]}`;
    let expect = follows;
    return this.retry(`append to ${subject}`, signal, async () => {
      try { return (await this.publish(subject, data, { follows: expect })).seq; } catch (err) {
        if (!(err instanceof ApiError) || (err.errCode !== 10071 && err.errCode !== 10164)) throw err;
        const last = await this.last(stream, subject, signal), at = last?.sequence ?? 0;
        if (last && at > follows && same(last.data, data)) return at; // its answer was lost
        if (at > follows || !(at === follows || await this.mayFollow(stream, subject, follows, at))) {
          throw new ParleyError("fenced", `another writer has taken the lane ${subject} after ${follows}`, { cause: err });
        }
        expect = at; throw new Error(`the lane ${subject} is at ${at}`);
      }
    }, Infinity);
  }

  // mayFollow reports whether the message that a writer follows was the lane's last, and
  // has expired.
  private async mayFollow(stream: string, subject: string, follows: number, at: number): Promise<boolean> {
    if (subject.endsWith(".gen")) return at === 0 && follows < (await this.info(stream)).state.first_seq;
    const copy = await this.last("HISTORY", "history" + subject.slice(4));
    return copy !== null && original(copy).sequence === follows;
  }

  /** Returns what to publish for a frame: itself, or a claim if it is larger than a message. */
  async fit(conversation: string, type: string, frame: string): Promise<Uint8Array> {
    const data = encode(frame); if (data.length <= (this.nc.info?.max_payload ?? 1 << 20) - 4096) return data;
    const object = await this.store(conversation, data);
    return encode(JSON.stringify({ type: "Claim", of: type, object, preview: frame.slice(0, 2048).toWellFormed() }));
  }

  /** Stores bytes that belong to a conversation in the object store. */
  async store(conversation: string, data: Uint8Array, signal?: AbortSignal): Promise<ObjectReference> {
    if (data.length > mostObject) throw new ParleyError("invalid", `an object may have ${mostObject} bytes, not ${data.length}`);
    const hash = await sha256(data), name = `${conversation}/${hash}`, object = { bucket: "PARLEY_OBJECTS", name, size: data.length, sha256: hash };
    const id = nuid.next(), subject = `$O.PARLEY_OBJECTS.C.${id}`;
    let chunks = 0;
    for (let from = 0, follows = 0; from < data.length; from += chunkBytes, chunks++) {
      const chunk = data.subarray(from, from + chunkBytes);
      follows = await this.retry(`store object ${name}`, signal, async () => {
        try { return (await this.publish(subject, chunk, { follows })).seq; } catch (err) {
          const last = err instanceof ApiError && err.code < 500 ? await this.last(objectsStream, subject, signal) : null;
          if (last && last.sequence > follows && same(last.data, chunk)) return last.sequence;
          throw err;
        }
      });
    }
    const digest = "SHA-256=" + base64url(Uint8Array.from(hash.match(/../g)!, (h) => parseInt(h, 16)));
    const meta = { name, options: { max_chunk_size: chunkBytes }, bucket: "PARLEY_OBJECTS", nuid: id, size: data.length, mtime: new Date().toISOString(), chunks, digest };
    await this.retry(`store object ${name}`, signal, () => this.publish(`$O.PARLEY_OBJECTS.M.${base64url(encode(name))}`, JSON.stringify(meta)));
    return object;
  }

  /** Fetches an object. The first description whose content has the digest counts: others may be forged. */
  async load(object: ObjectReference, signal?: AbortSignal): Promise<Uint8Array> {
    if (object.bucket !== "PARLEY_OBJECTS" || !(object.size >= 0 && object.size <= mostObject)) throw new ParleyError("invalid", `object ${object.name} is not one of Parley's`);
    for await (const m of this.all(objectsStream, `$O.PARLEY_OBJECTS.M.${base64url(encode(object.name))}`, 1, signal)) {
      const meta = json<{ nuid?: string; size?: number; deleted?: boolean }>(m.data);
      if (!meta?.nuid || !/^\w+$/.test(meta.nuid) || meta.deleted || meta.size !== object.size) continue;
      const data = new Uint8Array(object.size);
      let at = 0;
      if (object.size > 0) {
        for await (const chunk of this.all(objectsStream, `$O.PARLEY_OBJECTS.C.${meta.nuid}`, 1, signal)) {
          data.set(chunk.data.subarray(0, object.size - at), at); if ((at += chunk.data.length) >= object.size) break;
        }
      }
      if (at >= object.size && (await sha256(data)) === object.sha256) return data;
    }
    throw new ParleyError("invalid", `object ${object.name} is missing, or is not what was stored`);
  }

  /** Decodes a message, and fetches what it claims. */
  async decode(data: Uint8Array, most = mostObject, signal?: AbortSignal): Promise<Frame> {
    const frame = decodeFrame(data), first = frame.lines[0]?.event;
    if (frame.lines.length !== 1 || first?.type !== "Claim" || frame.bad) return frame;
    try {
      const { object } = first as Claim;
      if (object.size > most) throw new ParleyError("invalid", `the message refers to an object of ${object.size} bytes, at most ${most} are read`);
      return decodeFrame(await this.load(object, signal));
    } catch (err) {
      if (err instanceof ParleyError && err.code === "invalid") return { lines: [], bad: err as unknown as BadEvent };
      throw err; // it can be had later
    }
  }
}

/** What waits for its one reader. */
export class Queue<T> {
  private items: T[] = []; private error?: unknown;
  private wake?: () => void;
  get length(): number { return this.items.length; }
  push(item: T): void { this.items.push(item); this.wake?.(); }
  fail(error: unknown): void { this.error ??= error; this.wake?.(); }
  /** Ends a wait of next, which then returns undefined. */
  nudge(): void { this.wake?.(); }
  throwFailed(): void { if (this.error) throw this.error; }
  shift(): T | undefined { return this.items.shift(); }

  /** Waits until there is something, it is nudged, or the time is over. */
  async wait(ms: number): Promise<void> {
    if (this.items.length > 0 || this.error) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>((resolve) => { this.wake = resolve; timer = setTimeout(resolve, ms); });
    this.wake = undefined; clearTimeout(timer);
  }

  async next(ms: number): Promise<T> {
    await this.wait(ms); if (this.items.length > 0) return this.items.shift()!; throw this.error ?? new Error(`nothing came within ${ms} ms`);
  }
}

export function json<T>(data: Uint8Array): T | undefined { try { return JSON.parse(new TextDecoder().decode(data)) as T; } catch { return undefined; } }

const same = (a: Uint8Array, b: Uint8Array) => a.length === b.length && a.every((x, i) => x === b[i]);
const fromBase64 = (text: string): Uint8Array => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const base64url = (data: Uint8Array) => btoa(Array.from(data, (b) => String.fromCharCode(b)).join("")).replaceAll("+", "-").replaceAll("/", "_");
