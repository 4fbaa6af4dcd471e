// What tool and model workers share: the queue, presence, and taking a lane over. The
// rules are those of docs/tool-workers.md.
import type { Msg } from "@nats-io/nats-core";
import { ApiError, type Bus, delivery, json, presenceStream, Queue, republished, type Stored } from "../bus.js";
import type { UnknownEvent } from "../json.js";
import { lastDecision } from "../log.js";
import { channelOf, checkName, newID, ParleyError, pause, type Place, placeOf, protocol, subjectOf } from "../names.js";
import type * as T from "../types.js";

export interface ServeOptions {
  /** The worker's name; a random part is added. */
  name?: string;
  /** How many jobs run at once; 16 calls or 64 generations when absent. */
  slots?: number;
  /** How long running jobs may go on when the worker is stopped, in milliseconds; 0 when absent. */
  drain?: number;
}

/** Something that is served until it is stopped. */
export interface Service {
  stop(): Promise<void>;
}

/** Hands a job back, for another delivery after a delay in milliseconds. */
export class Retry extends Error {
  constructor(readonly after: number, message: string) { super(message); }
}

/** Ends a job that nobody can run. */
export class Reject extends Error {}

/** A job that runs. signal is aborted when the worker stops. */
export interface Job { event: UnknownEvent; subject: string; delivery: number; place: Place; signal: AbortSignal; }

/** An attempt at a job, as its lane has it. */
interface Attempt { id: string; worker: string; released: boolean; failure: string }

type Work = { conversation: string; subject: string; decision: number; turn: string };
export type Handle = (job: Job) => Promise<void>;

const jobAttempts = 100, presenceTTL = 12_000, beat = 1000;

/** A worker serves one queue. */
export class Worker implements Service {
  readonly worker: string; private ackWait = 4000; private stopping = false; private pulling = false;
  private readonly ending = new AbortController(); // the time of running jobs is over
  private readonly running = new Map<string, { msg: Msg; done: Promise<void> }>();
  private readonly pulls = new Set<() => void>();
  private readonly absent = new Map<string, number>();
  private answered = Date.now(); // presence could be announced without a break since then
  private wake = () => {};

  /** record is what is announced; checkTool throws if it must not be served. */
  constructor(readonly bus: Bus, readonly kind: "tool" | "llm", readonly name: string, private record: Record<string, unknown>, private handle: Handle,
    private options: ServeOptions, private checkRecord?: (revision: number) => Promise<string>) {
    checkName(kind === "tool" ? "tool" : "route", name);
    this.worker = `${checkName("worker", options.name ?? "js").slice(0, 55)}-${newID().slice(-6)}`;
  }

  private get key(): string { return `$KV.PARLEY_PRESENCE.${this.kind}.${this.name}.${this.worker}`; }
  private get queue(): string { return `${this.kind}_${this.name}`; }

  /** Announces the worker and takes jobs. */
  async start(): Promise<this> {
    let served = await this.announce(true);
    void (async () => {
      for (let n = 1; !this.stopping && !this.bus.closed; n++) {
        await new Promise<void>((resolve) => { this.wake = resolve; setTimeout(resolve, beat); });
        if (!this.stopping && !this.bus.closed) served = await this.announce(!served && n % 3 === 0, served);
        if (served) this.pull();
      }
    })().catch((err: Error) => this.bus.log(`${this.kind} ${this.name} is not announced any more: ${err.message}`));
    const off = this.bus.onLink(() => {
      if (this.bus.connected) { for (const { msg } of this.running.values()) this.say(msg, "+WPI"); this.wake(); }
      if (this.bus.closed) off();
    });
    await this.ensureQueue(); if (served) this.pull(); return this;
  }

  private say(msg: Msg, what: string): void { if (!this.bus.closed) this.bus.nc.publish(msg.reply!, what); }

  // announce puts the worker's record, and reports whether its jobs may be taken. One that
  // is not accepted is announced as rejected, for `parley doctor`.
  private async announce(compare: boolean, served = true): Promise<boolean> {
    const sent = Date.now();
    try {
      let why = compare ? await this.checkRecord?.(Infinity) : served ? "" : "it was rejected";
      const put = async () => (await this.bus.publish(this.key, JSON.stringify({ kind: this.kind, name: this.name, worker: this.worker, beat_ms: beat, protocol, ...(why ? { rejected: this.record.tool } : this.record) }))).seq;
      const revision = await put(); if (compare && !why && (why = await this.checkRecord?.(revision))) await put();
      if (compare && why) this.bus.log(`${this.kind} ${this.name} is not served, it is tried again: ${why}`);
      if (Date.now() - sent > beat) this.answered = Date.now();
      return !why;
    } catch (err) {
      this.answered = Date.now(); if (err instanceof ParleyError && err.code === "denied") throw err;
      this.bus.log(`cannot announce ${this.kind} ${this.name}, it is tried again: ${(err as Error).message}`); return served;
    }
  }

  // ensureQueue reads the queue's configuration; an orchestrator makes one that is missing.
  private async ensureQueue(): Promise<void> {
    while (!this.stopping && !this.bus.closed) {
      try { const { config } = await this.bus.consumerInfo("JOBS", this.queue); this.ackWait = config.ack_wait / 1e6; return; } catch (err) {
        try {
          if (err instanceof ApiError && err.code === 404) await this.bus.request(`queue.${this.queue}`, "");
          else this.bus.log(`queue ${this.queue}: ${(err as Error).message}`);
        } catch (failed) { this.bus.log(`queue ${this.queue} is missing and was requested: ${(failed as Error).message}`); }
      }
      await pause(500);
    }
  }

  // pull takes jobs, one for each free slot: another worker could run what waits here.
  private pull(): void {
    if (this.pulling || this.stopping) return;
    this.pulling = true;
    for (let n = this.options.slots ?? (this.kind === "tool" ? 16 : 64); n > 0; n--) {
      void (async () => {
        while (!this.stopping && !this.bus.closed) { const msg = await this.next(); if (msg) await this.take(msg); }
      })().catch((err) => this.bus.log(`queue ${this.queue}: ${err.message}`));
    }
  }

  private async next(): Promise<Msg | undefined> {
    const queue = new Queue<Msg>(), inbox = this.bus.inbox(), sub = this.bus.nc.subscribe(inbox, { callback: (err, m) => (err ? queue.fail(err) : queue.push(m)) });
    const end = () => { sub.unsubscribe(); queue.fail(new Error("the worker stops")); }, off = this.bus.onLink(() => queue.fail(new Error("the connection was lost")));
    this.pulls.add(end);
    try {
      if (!this.bus.connected) await this.bus.backoff(0);
      this.bus.nc.publish(`${this.bus.api}.CONSUMER.MSG.NEXT.JOBS.${this.queue}`, JSON.stringify({ batch: 1, expires: 5e9 }), { reply: inbox });
      const m = await queue.next(6000); if (m.reply?.startsWith("$JS.ACK.")) return m;
      if (m.headers?.code !== 408) await this.missing();
    } catch (err) { if (!this.stopping && this.bus.connected) await this.missing(); } finally { off(); sub.unsubscribe(); this.pulls.delete(end); }
    return undefined;
  }

  private async missing(): Promise<void> { await pause(200); await this.ensureQueue(); }

  private async take(msg: Msg): Promise<void> {
    if (this.stopping) return this.say(msg, "-NAK"); const known = this.running.get(msg.subject);
    if (known) { // it was delivered again while it runs here: it goes on under the new message
      known.msg = msg; this.say(msg, "+WPI"); return known.done;
    }
    const entry = { msg, done: Promise.resolve() }, heartbeat = setInterval(() => this.say(entry.msg, "+WPI"), this.ackWait / 3);
    this.running.set(msg.subject, entry);
    entry.done = this.run(msg).then(
      () => this.say(entry.msg, "+ACK"),
      async (err: Error) => {
        if (err instanceof Reject && (await this.dead(msg, err))) return this.say(entry.msg, `+TERM ${err.message.slice(0, 200)}`);
        const after = err instanceof Retry ? err.after : err instanceof ParleyError && err.code === "fenced" ? this.ackWait : this.ending.signal.aborted ? 0 : 1000;
        this.bus.log(`job ${msg.subject} is handed back: ${err.message}`);
        this.say(entry.msg, after > 0 ? `-NAK ${JSON.stringify({ delay: Math.round(after * 1e6) })}` : "-NAK");
      },
    ).finally(() => { clearInterval(heartbeat); this.running.delete(msg.subject); });
    await entry.done;
  }

  private async run(msg: Msg): Promise<void> {
    const { lines, bad } = await this.bus.decode(msg.data), event = lines[0]?.event as UnknownEvent & Partial<Work>;
    if (bad || lines.length !== 1 || event.type !== (this.kind === "tool" ? "ToolJob" : "GenerationJob")) throw new Reject(bad?.message ?? "it is no job of this queue");
    const place = placeOf(String(event.conversation), this.bus.shards);
    if (event.subject !== subjectOf("conv", place, this.kind === "tool" ? `call.${event.call}` : "gen")) throw new Reject(`the subject ${event.subject} is not the lane of this job`);
    await this.handle({ event, subject: msg.subject, delivery: delivery(msg.reply!)?.delivered ?? 1, place, signal: this.ending.signal });
  }

  // dead stores a job that cannot be run as a dead letter, and ends what it was for.
  private async dead(msg: Msg, why: Error): Promise<boolean> {
    try {
      await this.bus.publish(`dead.${msg.subject}`, msg.data, { headers: { "Parley-Reason": why.message.replace(/\s+/g, " ").slice(0, 1024) } });
      const [conversation, id] = (msg.headers?.get("Parley-Job") || msg.headers?.get("Nats-Msg-Id") || "").split("/");
      if (!conversation || !id) return true;
      const place = placeOf(conversation, this.bus.shards), lane = subjectOf("conv", place, this.kind === "tool" ? `call.${id}` : "gen"), attempt = newID();
      const content = `the job cannot be run: ${why.message}; it is with the dead letters`;
      const end = this.kind === "tool"
        ? [{ type: "ToolStarted", call: id, attempt, tool: this.name }, { type: "ToolResult", call: id, attempt, tool: this.name, status: "failed", content }]
        : [{ type: "GenerationStarted", attempt, index: 0, generation: id, turn: "", step: 0, provider: this.name, model: "" },
          { type: "GenerationEnded", attempt, index: 1, generation: id, finish: "error", terminated: false, event_count: 2, error: { class: "internal", message: content } }];
      if (this.kind === "llm" && (await lastDecision(this.bus, place))?.decision.state.generation !== id) return true;
      const last = await this.bus.last(place.stream, lane);
      await this.bus.append(lane, last?.sequence ?? 0, new TextEncoder().encode(end.map((e) => JSON.stringify(e)).join("\n"))); return true;
    } catch (err) { this.bus.log(`job ${msg.subject} could not be ended: ${(err as Error).message}`); return false; }
  }

  /**
   * Takes a job's lane with the first event of a new attempt, and returns its position and
   * the attempts before it; undefined if nobody waits for the job any more.
   */
  async takeLane(job: Job & { event: Work }, after: number, first: T.ParleyEvent & { attempt?: string }, ended: (e: UnknownEvent, running: string) => boolean, open: (s: T.State) => boolean, once: boolean) {
    const { event, place } = job, lane = event.subject;
    for (let tries = 1; ; tries++) {
      const position = (await this.bus.last(place.stream, lane))?.sequence ?? 0, past: Attempt[] = [];
      for await (const m of this.bus.all(place.stream, lane, after + 1)) {
        if (m.sequence > position) break;
        for (const l of (await this.bus.decode(m.data)).lines) {
          const e = l.event as UnknownEvent & { attempt?: string; worker?: string; error?: string; generation?: string };
          if (ended(e, past.at(-1)?.id ?? "")) return undefined;
          if (e.type === first.type && (e.type !== "GenerationStarted" || e.generation === (first as T.GenerationStarted).generation)) past.push({ id: e.attempt ?? "", worker: e.worker ?? "", released: false, failure: "" });
          const released = /Released$/.test(e.type) && past.find((a) => a.id === e.attempt);
          if (released) Object.assign(released, { released: true, failure: e.error ?? "" });
        }
      }
      const decision = event.decision > 0 ? await lastDecision(this.bus, place) : undefined;
      if (decision && decision.sequence >= event.decision && !open(decision.decision.state)) return undefined;
      const last = past.at(-1);
      if (last && !last.released && last.worker && last.worker !== this.worker) {
        const wait = await this.untilGone(last.worker, once);
        if (wait > 0) throw new Retry(wait + 50, `worker ${last.worker} has started it and may run it`);
      }
      try {
        return { position: await this.bus.append(lane, position, new TextEncoder().encode(JSON.stringify(first))), past, failures: past.filter((a) => !a.released || a.failure).length };
      } catch (err) { if (!(err instanceof ParleyError) || err.code !== "fenced" || tries >= 100) throw err; }
      if (tries > 1) await pause(Math.min(tries, 20));
    }
  }

  get attemptsMost(): number { return jobAttempts; }

  /** Aborts when a Decision no longer has what a job is for, or a Cancel names it. Decisions go to seen, too. */
  watch(job: Job & { event: Work }, call: string, open: (s: T.State) => boolean, seen: (d: T.Decision) => void = () => {}): { signal: AbortSignal; cancelled: () => boolean; end: () => void } {
    const { event, place } = job, stop = new AbortController();
    let cancelled = false;
    const leave = () => stop.abort(new ParleyError("closed", "the worker stops"));
    const check = async (m: Stored) => {
      const { channel } = channelOf(m.subject), { lines } = channel === "turn" ? await this.bus.decode(m.data) : await this.bus.decode(m.data, 0);
      for (const l of lines) {
        const e = l.event as unknown as T.Cancel | T.Decision;
        if (e.type === "Decision" && channel === "turn" && event.decision > 0) {
          seen(e); cancelled ||= !open(e.state);
        } else if (e.type === "Cancel" && channel === "in" && !(e.turn && e.turn !== event.turn)) {
          const scope = e.scope || (e.call ? "call" : "turn"), named = (event.decision > 0 && e.turn === event.turn) || (call !== "" && e.call === call);
          cancelled ||= named && (scope === "call" ? call !== "" && e.call === call : (scope === "turn" || scope === "all") && event.decision > 0 && e.turn === event.turn);
        }
      }
      if (cancelled) stop.abort(new ParleyError("deleted", "it was cancelled"));
    };
    const subs = ["in", "turn"].map((channel) => this.bus.nc.subscribe(subjectOf("live", place, channel), { callback: (_, msg) => {
      const m = msg && republished(msg); if (m) check(m).catch((err) => this.bus.log(`a message of ${m.subject} was not read: ${err.message}`));
    } }));
    job.signal.aborted ? leave() : job.signal.addEventListener("abort", leave);
    return { signal: stop.signal, cancelled: () => cancelled, end: () => { subs.forEach((s) => s.unsubscribe()); job.signal.removeEventListener("abort", leave); } };
  }

  // untilGone returns 0 if a worker has died: it has announced nothing for as long as its
  // records say, and this one could, for that long. With sure, twice as long.
  private async untilGone(worker: string, sure: boolean): Promise<number> {
    if (!/^[A-Za-z0-9_-]{1,64}$/.test(worker)) return 0;
    const keys = `$KV.PARLEY_PRESENCE.*.*.${worker}`, info = await this.bus.info(presenceStream, undefined, { subjects_filter: keys });
    const ttl = info.config.max_age ? info.config.max_age / 1e6 : presenceTTL, last = await this.bus.last(presenceStream, keys), beats = last && json<{ beat_ms?: number }>(last.data)?.beat_ms;
    let lives = ttl, left = 0;
    if (last && beats) {
      lives = Math.min(4 * Math.max(beats, 100), ttl); left = lives - (new Date(info.ts!).getTime() - last.time.getTime());
    } else if (last) {
      for (const subject of Object.keys(info.state.subjects ?? {})) if ((await this.bus.last(presenceStream, subject))?.data.length) left = ttl / 4;
    }
    if (left > 0) { this.absent.delete(worker); return Math.min(left, ttl / 4); }
    if (!this.absent.has(worker)) this.absent.set(worker, Date.now());
    const steady = this.bus.connected ? Date.now() - Math.max(this.bus.since, this.answered) : 0; left = lives - steady;
    if (sure) left = Math.max(left, ttl - steady, ttl - (Date.now() - this.absent.get(worker)!));
    return left <= 0 ? 0 : Math.min(left, ttl / 4);
  }

  /** Takes no more jobs, withdraws the announcement, and ends running jobs: what may run again is handed back. */
  async stop(): Promise<void> {
    this.stopping = true; this.wake();
    for (const end of [...this.pulls]) end();
    const gone = this.bus.publish(this.key, "", { headers: { "KV-Operation": "DEL" } }).catch((err) => this.bus.log(`cannot withdraw ${this.key}: ${err.message}`));
    const left = () => Promise.all([...this.running.values()].map((r) => r.done));
    const within = (ms: number) => { let timer: ReturnType<typeof setTimeout>; return Promise.race([left(), new Promise<void>((resolve) => { timer = setTimeout(resolve, ms); })]).finally(() => clearTimeout(timer)); };
    if (this.options.drain) await within(this.options.drain);
    this.ending.abort(new ParleyError("closed", "the worker stops")); await within(5000);
    await gone; if (this.bus.connected && !this.bus.closed) await this.bus.nc.flush();
  }
}
