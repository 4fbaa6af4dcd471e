// Serving a tool.
import { type Bus, json } from "../bus.js";
import { compact, encode, rawAt, type UnknownEvent } from "../json.js";
import { newID, ParleyError, pause, subjectOf } from "../names.js";
import type * as T from "../types.js";
import { type Job, Retry, type Service, type ServeOptions, Worker } from "./worker.js";

/** What a tool gives: text for the model, and the result as JSON for programs. */
export type ToolOutcome = string | { content: string; structured?: unknown };

/** A call that runs. */
export interface ToolContext {
  call: string; conversation: string; turn: string;
  /** Aborted when the call is cancelled, takes too long, or the worker stops. */
  signal: AbortSignal;
  /** Shows output to people while the tool runs. */
  print(text: string): void;
  /** Asks a person and waits for the answer, however long that takes; null if they decline. */
  ask(message: string, schema?: object): Promise<unknown>;
}

/**
 * Runs a call. An error is the result failed, and its message is what the model reads.
 * One with a field `retryAfter` (milliseconds) may pass: a tool that is not `once` runs again.
 */
export type ToolHandler = (args: any, context: ToolContext) => Promise<ToolOutcome> | ToolOutcome;

const inline = 256 << 10, preview = 16 << 10, outputBytes = 64 << 10, mostTries = 6, usualTimeout = 120_000;
const rank = (effect: string | undefined) => ["pure", "idempotent"].indexOf(effect ?? "") + 1 || 3;

export async function serveTool(bus: Bus, tool: T.ToolSpec, handler: ToolHandler, options: ServeOptions = {}): Promise<Service> {
  const worker: Worker = new Worker(bus, "tool", tool.name, { tool }, (job) => handle(worker, tool, handler, job as Job & { event: UnknownEvent & T.ToolJob }), options,
    (revision) => conflict(worker, tool, revision));
  return worker.start();
}

// conflict says why the tool must not be served: another tool of its name is known or
// served. A milder class than the known one never is.
async function conflict(w: Worker, tool: T.ToolSpec, revision: number): Promise<string> {
  type Record = { kind?: string; name?: string; worker?: string; tool?: T.ToolSpec; withdrawn?: boolean };
  const same = (a: T.ToolSpec, raw: string) => compact(raw) === JSON.stringify(tool.schema) && rank(a.effect) === rank(tool.effect);
  const stored = await w.bus.last("KV_PARLEY_TOOLS", `$KV.PARLEY_TOOLS.${tool.name}`).catch((err) => { if (err instanceof ParleyError && err.code === "denied") return null; throw err; });
  const known = stored?.data.length ? json<{ tool: T.ToolSpec }>(stored.data)?.tool : undefined, knownRaw = known && (rawAt(new TextDecoder().decode(stored!.data), "tool", "schema") ?? "");
  if (known && rank(tool.effect) < rank(known.effect)) return `it is known with the effect class ${known.effect || "once"}, which is stricter: \`parley tools forget ${tool.name}\` accepts another`;
  if (known && same(known, knownRaw!)) return "";
  for await (const m of w.bus.all("KV_PARLEY_PRESENCE", `$KV.PARLEY_PRESENCE.tool.${tool.name}.*`)) {
    const r = json<Record>(m.data), raw = r?.tool && (rawAt(new TextDecoder().decode(m.data), "tool", "schema") ?? "");
    if (!r?.tool || r.withdrawn || r.worker === w.worker || m.subject !== `$KV.PARLEY_PRESENCE.tool.${tool.name}.${r.worker}`) continue;
    if (known ? compact(raw!) === compact(knownRaw!) && rank(r.tool.effect) === rank(known.effect) : m.sequence < revision && !same(r.tool, raw!)) {
      return `worker ${r.worker} serves another tool of this name`;
    }
  }
  return "";
}

async function handle(w: Worker, tool: T.ToolSpec, handler: ToolHandler, job: Job & { event: UnknownEvent & T.ToolJob }): Promise<void> {
  const { event, place } = job, { bus } = w, call = event.call, once = rank(event.effect) === 3, attempt = newID();
  const open = (s: T.State) => !!s.calls?.some((c) => c.call === call && !c.status), answers = new Map<string, (a: T.QuestionAnswered) => void>();
  const seen = (d: T.Decision) => { for (const e of d.events ?? []) if (e.type === "QuestionAnswered") answers.get(e.question)?.(e); };
  const watch = w.watch(job, call, open, seen); // before the lane is read: a later Decision is not missed
  try {
    const first = { type: "ToolStarted", call, attempt, tool: tool.name, worker: w.worker, delivery: job.delivery } as const;
    const ended = (e: UnknownEvent, running: string) => e.type === "ToolResult" && running !== "" && (e as unknown as T.ToolResult).attempt === running;
    const taken = await w.takeLane(job, event.decision, first, ended, open, once); if (!taken) return;
    let position = taken.position;
    const append = async (e: UnknownEvent) => { position = await bus.append(event.subject, position, await bus.fit(place.conversation, e.type, JSON.stringify(e))); };
    const end = async (status: T.Status, content: string, more: Partial<T.ToolResult> = {}) => {
      const data = encode(content.toWellFormed());
      if (data.length > inline) {
        more.object = await bus.store(place.conversation, data);
        content = new TextDecoder().decode(data.subarray(0, preview)).replace(/\ufffd+$/, "");
      }
      await append({ type: "ToolResult", call, attempt, tool: tool.name, status, content, ...more });
    };
    const release = async (error: string | undefined, after: number, why: string) => {
      await append({ type: "ToolReleased", call, attempt, tool: tool.name, error }); throw new Retry(after, why);
    };
    if (taken.past.length > 0 && once) return await end("unknown", "a worker died while it ran this call; it is not known whether it took effect, and it must not be run again on its own");
    if (rank(event.effect) < rank(tool.effect)) {
      return await (taken.past.length > 0 ? end("unknown", `a worker died while it ran this call as ${event.effect}; the tool is ${tool.effect ?? "once"}, so it is not known whether it took effect`)
        : end("weak_effect", `the call was not run: it was requested with the effect class ${event.effect}, and the tool has ${tool.effect ?? "once"}. Make the call again if it is still needed`));
    }
    if (taken.failures >= w.attemptsMost) return await end("failed", `the call was started ${taken.failures} times and never came to an end`);
    const began = Date.now(), clock = new Clock(Math.min(tool.timeout_ms || usualTimeout, event.timeout_ms || Infinity)), stop = () => clock.abort(watch.signal.reason);
    watch.signal.aborted ? stop() : watch.signal.addEventListener("abort", stop);
    let index = 0, over = false;
    const context: ToolContext = { call, conversation: place.conversation, turn: event.turn, signal: clock.signal,
      print: (text) => {
        for (let rest = encode(text.toWellFormed()); rest.length > 0 && !over && !bus.closed; ) {
          let n = Math.min(rest.length, outputBytes);
          while (n < rest.length && (rest[n]! & 0xc0) === 0x80) n--; // between characters
          bus.nc.publish(event.output, JSON.stringify({ type: "ToolOutput", call, attempt, index: index++, text: new TextDecoder().decode(rest.subarray(0, n)) }));
          rest = rest.subarray(n);
        }
      },
      ask: async (message, schema) => {
        const question = newID(), resume = clock.pause();
        try {
          const answer = new Promise<T.QuestionAnswered>((resolve) => answers.set(question, resolve));
          await append({ type: "QuestionAsked", call, attempt, question, message, schema });
          const a = await answered(w, job, position, answer, seen, clock.signal);
          return a.declined ? null : (a.content ?? true);
        } finally { answers.delete(question); resume(); }
      } };
    const aborted = new Promise<never>((_, reject) => clock.signal.addEventListener("abort", () => reject(clock.signal.reason)));
    aborted.catch(() => {});
    try {
      const given = await Promise.race([(async () => handler(event.arguments ?? {}, context))(), aborted]), outcome = typeof given === "string" ? { content: given } : given;
      over = true; await end("ok", String(outcome?.content ?? ""), { structured: outcome?.structured, took_ms: Date.now() - began });
    } catch (err) {
      if (err instanceof ParleyError && err.code === "fenced") throw err; over = true;
      const text = String((err as Error)?.message ?? err), took_ms = Date.now() - began, retry = (err as { retryAfter?: number })?.retryAfter;
      if (watch.cancelled()) return await end("cancelled", "the call was cancelled", { took_ms });
      if (job.signal.aborted && !once) return await release(undefined, 0, "the worker stops");
      if (job.signal.aborted) return await end("unknown", "the worker was stopped while it ran this call: it is not known whether it took effect", { took_ms });
      if (clock.late) return await end("timeout", `the tool ${tool.name} did not finish in time`, { took_ms });
      const tried = taken.failures + 1;
      if (retry !== undefined && !once && tried < mostTries) return await release(text.slice(0, 4096), retry || 250 * 2 ** tried, text);
      await end("failed", retry !== undefined && !once ? `tried ${tried} times, the last time: ${text}` : text, { took_ms });
    } finally { clock.stop(); watch.signal.removeEventListener("abort", stop); }
  } finally { watch.end(); }
}

// answered waits for the answer to a question: live, and from the log after a lost connection.
async function answered(w: Worker, job: Job, from: number, answer: Promise<T.QuestionAnswered>, seen: (d: T.Decision) => void, signal: AbortSignal): Promise<T.QuestionAnswered> {
  for (let found: T.QuestionAnswered | undefined; ; ) {
    const stop = new AbortController(), off = w.bus.onLink(() => stop.abort()), abort = () => stop.abort();
    signal.addEventListener("abort", abort);
    await Promise.race([answer.then((a) => { found = a; stop.abort(); }), pause(15_000, stop.signal).catch(() => {})]);
    off(); signal.removeEventListener("abort", abort); signal.throwIfAborted(); if (found) return found;
    for await (const m of w.bus.all(job.place.stream, subjectOf("conv", job.place, "turn"), from + 1, signal)) {
      for (const l of (await w.bus.decode(m.data)).lines) if (l.event.type === "Decision") seen(l.event as T.Decision);
    }
  }
}

/** A deadline that stands still while the tool waits for a person. */
class Clock extends AbortController {
  late = false; private timer?: ReturnType<typeof setTimeout>; private since = 0; private paused = 0;

  constructor(private left: number) { super(); this.run(); }

  private run(): void {
    this.since = Date.now();
    this.timer = setTimeout(() => { this.late = true; this.abort(new DOMException("the call takes too long", "TimeoutError")); }, Math.min(this.left, 2 ** 31 - 1));
  }

  pause(): () => void {
    if (this.paused++ === 0) { this.stop(); this.left -= Date.now() - this.since; }
    return () => { if (--this.paused === 0 && !this.signal.aborted) { this.left = Math.max(this.left, 1); this.run(); } };
  }

  stop(): void { clearTimeout(this.timer); }
}
