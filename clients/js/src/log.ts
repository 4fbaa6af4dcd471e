// Following a conversation's log: history, then live, spliced by sequence; holes and
// silence are healed from the log.
import type { Msg } from "@nats-io/nats-core";
import { type Bus, original, Queue, republished, type Stored, type StreamInfo } from "./bus.js";
import type { Frame } from "./json.js";
import { type Channel, channelOf, CursorExpired, formatCursor, parseCursor, type Place, type Position, subjectOf } from "./names.js";
import type { Decision } from "./types.js";

/** A message of a conversation's log. */
export interface Message extends Stored {
  channel: Channel; call: string; epoch: string; frame: Frame; live: boolean;
  /** events of the message that the viewer has seen already */
  skip: number;
}

export interface Start {
  /** starts behind this cursor; the beginning when absent */
  after?: string;
  /** starts with what was stored at or after this time */
  since?: Date;
  /** continues with what is left where the log has expired, in place of an error */
  remaining?: boolean;
  /** false ends at the end of the log in place of waiting for more */
  follow?: boolean; signal?: AbortSignal;
}

const silence = 15_000, quiet = 1000, queued = 1024, queuedBytes = 8 << 20, batchMost = 512, batchBytes = 4 << 20;
export const mostInput = 16 << 20;

/** The last sequence yielded of each subject: the latest thousand subjects, in two halves. */
class Positions {
  private newer = new Map<string, number>(); private older = new Map<string, number>();
  constructor(private floor: number) {}
  last(subject: string): number { return this.newer.get(subject) ?? this.older.get(subject) ?? this.floor; }

  set(subject: string, sequence: number): void {
    if (!this.newer.has(subject) && this.newer.size >= 512) {
      for (const [s, at] of this.older) if (!this.newer.has(s)) this.floor = Math.max(this.floor, at);
      this.older = this.newer; this.newer = new Map();
    }
    this.newer.set(subject, sequence);
  }
}

export function epochOf(info: StreamInfo): string { return info.config.metadata?.["parley.epoch"] || new Date(info.created).getTime().toString(36); }

/** Yields the messages of a conversation in the order of the log, without gaps or duplicates. */
export async function* attach(bus: Bus, place: Place, start: Start): AsyncGenerator<Message> {
  for (let from = start; ; from = { ...start, after: undefined, since: undefined }) {
    try { return yield* new Viewer(bus, place, from).run(); } catch (err) { if (!start.remaining || !(err instanceof CursorExpired)) throw err; }
  }
}

class Viewer {
  private after: Position; private epoch = ""; private high: number; private latest = 0;
  private seen: Positions; private lost = false; private readonly filter: string; private readonly signal?: AbortSignal;

  constructor(private bus: Bus, private place: Place, private from: Start) {
    this.after = from.after ? parseCursor(from.after) : { sequence: 0, index: Infinity, epoch: "" };
    this.high = Math.max(this.after.sequence - 1, 0); // the cursor's own message may hold more
    this.seen = new Positions(this.high); this.filter = subjectOf("conv", place, ">"); this.signal = from.signal;
  }

  async *run(): AsyncGenerator<Message> {
    const info = await this.bus.info(this.place.stream, this.signal); this.epoch = epochOf(info);
    if (this.after.sequence > info.state.last_seq || (this.after.epoch && this.after.epoch !== this.epoch)) throw new CursorExpired(formatCursor(this.after), "", true);
    await this.whole(info); if (this.from.follow === false) return yield* this.readLog(this.high + 1);
    const queue = new Queue<Msg>();
    let bytes = 0;
    const sub = this.bus.nc.subscribe(subjectOf("live", this.place, ">"), { callback: (err, m) => {
      if (err) queue.fail(err);
      else if (queue.length >= queued || bytes > queuedBytes) this.lost = true;
      else { bytes += m.data.length; queue.push(m); }
    } });
    const nudge = () => { this.lost = true; queue.nudge(); }, off = this.bus.onLink(nudge);
    this.signal?.addEventListener("abort", nudge);
    try {
      // The server has the subscription before it answers: both go the same way.
      yield* this.readLog(this.high + 1);
      for (let heard = Date.now(); ; ) {
        this.signal?.throwIfAborted(); if (queue.length === 0 && !this.lost) await queue.wait(silence); this.signal?.throwIfAborted();
        // What was lost was lost before what is queued: read the log first.
        if (this.lost || queue.length === 0) {
          this.lost = false; yield* this.heal(); heard = Date.now(); if (queue.length === 0) queue.throwFailed(); continue;
        }
        const msg = queue.shift()!; bytes -= msg.data.length;
        const m = republished(msg); if (!m) continue;
        if (Date.now() - heard > quiet && m.sequence > this.high + 1) yield* this.overtaken(m.sequence);
        heard = Date.now(); yield* this.live(m);
      }
    } finally { off(); this.signal?.removeEventListener("abort", nudge); sub.unsubscribe(); }
  }

  private async *heal(): AsyncGenerator<Message> { const next = await this.next(); await this.whole(); if (next) yield* this.readLog(this.high + 1); }

  // overtaken reads the log if it has something before a live message that was not yielded.
  private async *overtaken(sequence: number): AsyncGenerator<Message> {
    const next = await this.next(); if (next && next.sequence < sequence) yield* this.readLog(this.high + 1);
  }

  private next() { return this.bus.get(this.place.stream, { seq: this.high + 1, next_by_subj: this.filter }, this.signal); }

  // live yields a live message; before it, from the log, one of its subject that is missing.
  private async *live(m: Stored): AsyncGenerator<Message> {
    if (m.sequence <= this.seen.last(m.subject)) {
      if (m.sequence <= this.high && m.time.getTime() > this.latest) await this.whole(); // sequences go back in another log only
      return;
    }
    for (let n = 0; m.before! > this.seen.last(m.subject) && n < 5; n++) {
      if (n > 0) await this.bus.backoff(n, this.signal); // a replica that lags does not have it yet
      await this.whole(); yield* this.readLog(Math.min(this.high, this.seen.last(m.subject)) + 1);
    }
    if (m.sequence > this.seen.last(m.subject)) yield* this.give(m, true);
  }

  // readLog yields what the log holds from a sequence on. It may expire while it is read:
  // the check after a batch has come shows that nothing before it was skipped.
  private async *readLog(from: number): AsyncGenerator<Message> {
    let batch: Stored[] = [], size = 0;
    for await (const m of this.bus.read(this.place.stream, this.filter, from, this.signal)) {
      batch.push(m); if ((size += m.data.length) < batchBytes && batch.length < batchMost) continue; await this.whole();
      for (const one of batch) yield* this.give(one, false);
      batch = []; size = 0;
    }
    await this.whole();
    for (const one of batch) yield* this.give(one, false);
  }

  private async *give(m: Stored, live: boolean): AsyncGenerator<Message> {
    if (m.sequence <= this.seen.last(m.subject)) return;
    const message = await readMessage(this.bus, m, this.epoch, live, this.signal);
    if (m.sequence > this.high) { this.high = m.sequence; this.latest = m.time.getTime(); }
    this.seen.set(m.subject, m.sequence); if (this.from.since && m.time < this.from.since) return;
    if (m.sequence === this.after.sequence) { if (this.after.index >= message.frame.lines.length - 1) return; message.skip = this.after.index + 1; }
    yield message;
  }

  // whole throws if something between what was yielded last and the log's beginning has
  // expired, or if the log is another one by now.
  private async whole(known?: StreamInfo): Promise<void> {
    const info = known ?? (await this.bus.info(this.place.stream, this.signal));
    let at: Position = { sequence: this.high, index: Infinity, epoch: this.epoch }, next = this.high + 1, given = true;
    if (this.after.sequence > this.high) { at = this.after; given = false; if (at.index === Infinity) next++; }
    if (epochOf(info) !== this.epoch) throw new CursorExpired(formatCursor(at), "", true);
    const first = Math.max(info.state.first_seq, 1); if (next >= first || (this.from.remaining && this.high === 0)) return;
    if (await this.gone(at.sequence, next, first, given)) {
      throw new CursorExpired(at.sequence ? formatCursor(at) : "", formatCursor({ sequence: first - 1, index: Infinity, epoch: this.epoch }), false);
    }
  }

  // gone reports whether the conversation may have had something in a range that has
  // expired. HISTORY knows its facts; without one, events were streamed there if a
  // generation was open or a call ran before.
  private async gone(at: number, next: number, first: number, given: boolean): Promise<boolean> {
    if (at === 0) return this.factBetween(next, first);
    const last = await this.bus.last("HISTORY", subjectOf("history", this.place, ">"), this.signal), copied = last ? original(last).sequence : 0;
    if (copied < at || (!given && copied !== at)) return true; if (!given) next = at + 1;
    if (await this.factBetween(next, first)) return true;
    const decision = await lastDecision(this.bus, this.place, at, this.signal), s = decision?.decision.state;
    return s !== undefined && (["generating", "calling", "preparing", "deleting"].includes(s.phase) || !!s.hooks?.length || !!s.calls?.some((c) => !c.status && !c.waits));
  }

  private async factBetween(from: number, first: number): Promise<boolean> {
    for await (const copy of this.bus.all("HISTORY", subjectOf("history", this.place, ">"), 1, this.signal)) {
      const { sequence } = original(copy); if (sequence >= first) return false;
      if (sequence >= from && !(this.from.since && copy.time < this.from.since)) return true;
    }
    return false;
  }
}

async function readMessage(bus: Bus, m: Stored, epoch: string, live: boolean, signal?: AbortSignal): Promise<Message> {
  const at = channelOf(m.subject);
  const frame = await bus.retry("fetch a claim", signal, () => bus.decode(m.data, at.channel === "in" ? mostInput : undefined, signal));
  return { ...m, ...at, epoch, live, frame, skip: 0 };
}

/** Yields a conversation's facts, in the order of the log: from HISTORY, and from the log what was not copied yet. */
export async function* facts(bus: Bus, place: Place, signal?: AbortSignal): AsyncGenerator<Message> {
  const epoch = epochOf(await bus.info(place.stream, signal));
  let high = 0;
  for await (const copy of bus.read("HISTORY", subjectOf("history", place, ">"), 1, signal)) {
    const m = original(copy); high = m.sequence; yield await readMessage(bus, m, epoch, false, signal);
  }
  for await (const m of bus.read(place.stream, subjectOf("conv", place, ">"), high + 1, signal)) {
    if (["in", "turn", "call"].includes(channelOf(m.subject).channel)) yield await readMessage(bus, m, epoch, false, signal);
  }
}

/** Returns the last Decision at or before a sequence (default: the last), and where the turn lane is there. */
export async function lastDecision(bus: Bus, place: Place, upTo = Infinity, signal?: AbortSignal): Promise<{ decision: Decision; sequence: number } | undefined> {
  for (let bound = upTo; bound > 0; ) {
    const m = await lastTurn(bus, place, bound, signal); if (!m) return undefined;
    const { frame } = await readMessage(bus, m, "", false, signal);
    if (frame.lines[0]?.event.type === "Decision") return { decision: frame.lines[0].event as Decision, sequence: m.sequence };
    bound = m.sequence - 1;
  }
  return undefined;
}

async function lastTurn(bus: Bus, place: Place, upTo: number, signal?: AbortSignal): Promise<Stored | undefined> {
  const subject = subjectOf("conv", place, "turn");
  let m = await bus.last(place.stream, subject, signal);
  // Each message names the one before it, which the server has checked.
  for (let n = 0; m && m.sequence > upTo && n < 16; n++) {
    const before: number = +(m.headers?.get("Nats-Expected-Last-Subject-Sequence") || NaN); if (before === 0) return undefined;
    const earlier: Stored | null = before < m.sequence ? await bus.get(place.stream, { seq: before }, signal) : null;
    m = earlier?.subject === subject ? earlier : null;
  }
  if (m && m.sequence <= upTo) return m;
  // It is too far back, or has expired.
  let found: Stored | undefined;
  for await (const copy of bus.read("HISTORY", subjectOf("history", place, "turn"), 1, signal)) {
    const o = original(copy); if (o.sequence > upTo) break; found = o;
  }
  return found;
}
