// Serving a model.
import type { Bus } from "../bus.js";
import { encode, type UnknownEvent } from "../json.js";
import { newID, ParleyError } from "../names.js";
import type * as T from "../types.js";
import { type Job, Retry, type Service, type ServeOptions, Worker } from "./worker.js";

type Unstamped<E> = Omit<E, "attempt" | "index">;

/** A piece of an answer: text, a whole call, or an event of the gen channel, which gets its attempt, index and call. */
export type ModelPiece = string | { call: string; arguments: object | string }
  | Unstamped<T.TextChunk> | Unstamped<T.ReasoningChunk> | Unstamped<T.ToolCallStart> | Unstamped<T.ToolCallDelta> | Unstamped<T.ToolCallEnd> | Partial<Unstamped<T.GenerationEnded>> & { type: "GenerationEnded" };

/** Streams an answer. An error with a field `class`, one of the classes of errors, fails with that class. */
export type ModelHandler = (job: T.GenerationJob, context: { signal: AbortSignal; model: string }) => AsyncIterable<ModelPiece>;

export interface ModelOptions extends ServeOptions {
  /** It is asked where nothing names a model. */
  default?: boolean;
}

const frameBytes = 64 << 10, mostTokensWait = 4 << 20;

/** Writes a lane: one append at a time, each of all that came meanwhile. */
class Lane {
  private lines: string[] = []; private size = 0; private writing?: Promise<void>; private error?: unknown;

  constructor(private bus: Bus, private job: Job, private subject: string, private position: number) {}

  async append(e: object): Promise<void> {
    if (this.error) throw this.error; const line = JSON.stringify(e).toWellFormed();
    this.lines.push(line); this.size += line.length;
    this.writing ??= this.write().finally(() => { this.writing = undefined; });
    if (this.size > mostTokensWait) await this.flush();
  }

  private async write(): Promise<void> {
    while (this.lines.length > 0 && !this.error) {
      let n = 0;
      for (let size = 0; n < this.lines.length && n < 4096 && (n === 0 || size + this.lines[n]!.length <= frameBytes); n++) size += this.lines[n]!.length;
      const frame = this.lines.splice(0, n).join("\n"); this.size -= frame.length - n + 1;
      try {
        this.position = await this.bus.append(this.subject, this.position, await this.bus.fit(this.job.place.conversation, JSON.parse(frame.slice(0, frame.indexOf("\n") >>> 0)).type, frame));
        if (/"type":"(?:GenerationEnded|ToolCallEnd)"/.test(frame)) this.bus.nc.publish(`wake.${this.job.place.shard}`);
      } catch (err) { this.error = err; }
    }
  }

  async flush(): Promise<void> { await this.writing; if (this.error) throw this.error; }
}

/** Serves the models of a provider: name is that of the route, or route/model with the model to ask when a job names none. */
export async function serveModel(bus: Bus, name: string, handler: ModelHandler, options: ModelOptions = {}): Promise<Service> {
  const [route, ...rest] = name.split("/") as [string, ...string[]], model = rest.join("/");
  const worker: Worker = new Worker(bus, "llm", route, { model: `${route}/${model}`, ...(options.default && { default: true }) },
    (job) => handle(worker, route, model, handler, job as Job & { event: UnknownEvent & T.GenerationJob }), options);
  return worker.start();
}

async function handle(w: Worker, provider: string, usual: string, handler: ModelHandler, job: Job & { event: UnknownEvent & T.GenerationJob }): Promise<void> {
  const { event } = job, { generation, turn, step } = event, model = event.route.split("/").slice(1).join("/") || usual, attempt = newID();
  if (event.delay_ms && job.delivery === 1) throw new Retry(event.delay_ms, "the job is for later");
  const open = (s: T.State) => s.generation === generation, watch = w.watch(job, "", open);
  try {
    const first = { type: "GenerationStarted", attempt, index: 0, generation, turn, step, provider, model, worker: w.worker, estimated_input_tokens: estimate(event) } as const;
    const taken = await w.takeLane(job, event.lane_sequence, first, (e) => e.type === "GenerationEnded" && (e as unknown as T.GenerationEnded).generation === generation, open, false);
    if (!taken) return;
    const lane = new Lane(w.bus, job, event.subject, taken.position), answer = new Answer(event.ceilings ?? {});
    let index = 1;
    const append = (e: { type: string }) => { const { type, ...rest } = e; return lane.append({ type, attempt, index: index++, ...rest }); };
    const end = async (e: Partial<T.GenerationEnded>) => {
      await append({ type: "GenerationEnded", generation, finish: "other", terminated: false, ...e, event_count: index + 1 } as { type: string });
      await lane.flush();
    };
    const fail = (cls: string, message: string, more: Partial<T.GenerationEnded> = {}) => end({ finish: "error", error: { class: cls as T.ErrorClass, message }, ...more });
    const most = Math.min(event.requests || Infinity, w.attemptsMost);
    if (taken.failures >= most) return await fail("internal", `the generation was started ${taken.failures} times and never came to an end: see the logs of the llm-workers`);
    if (!model) return await fail("invalid_request", `route ${JSON.stringify(event.route)} names no model: write provider/model`);
    const aborted = new Promise<never>((_, reject) => { const stop = () => reject(watch.signal.reason); watch.signal.aborted ? stop() : watch.signal.addEventListener("abort", stop); });
    aborted.catch(() => {});
    let last: Partial<T.GenerationEnded> = {};
    const pieces = handler(event, { signal: watch.signal, model })[Symbol.asyncIterator]();
    try {
      for (let r; !(r = await Promise.race([pieces.next(), aborted])).done; ) {
        for (const e of answer.events(r.value)) { if (e.type === "GenerationEnded") last = e as Partial<T.GenerationEnded>; else await append(e); }
      }
      for (const e of answer.cut("the answer ended before the call was complete")) await append(e);
      const { type: _, ...said } = last as { type?: string };
      await end({ finish: answer.calls > 0 ? "tool_calls" : "stop", terminated: true, ...said });
    } catch (err) {
      void Promise.resolve(pieces.return?.()).catch(() => {});
      if (err instanceof ParleyError && err.code === "fenced") throw err;
      if (watch.cancelled()) return await fail("cancelled", "the turn was stopped", { finish: "cancelled" });
      if (job.signal.aborted) {
        await append({ type: "GenerationReleased", generation } as { type: string }); await lane.flush(); throw new Retry(0, "the worker stops");
      }
      for (const e of answer.cut("the answer was stopped before the call was complete")) await append(e);
      const { class: cls = "internal", code, retryAfter } = err as { class?: string; code?: unknown; retryAfter?: number };
      await end({ finish: "error", error: { class: cls as T.ErrorClass, message: String((err as Error)?.message ?? err), ...(typeof code === "string" && { code }), ...(retryAfter && { retry_after_ms: retryAfter }) } });
    }
  } finally { watch.end(); }
}

/** Numbers the calls of an answer, gives them ids, and bounds it. */
class Answer {
  calls = 0; private bytes = 0;
  private block = 0; private ids = new Map<number, { call: string; open: boolean; bytes: number }>();

  constructor(private most: T.AnswerCeilings) {}

  *events(piece: ModelPiece): Generator<{ type: string }> {
    if (typeof piece === "string") piece = { type: "TextChunk", text: piece, ...(this.block && { block: this.block }) };
    if (!("type" in piece)) {
      const args = typeof piece.arguments === "string" ? piece.arguments : JSON.stringify(piece.arguments), block = ++this.block;
      yield* this.events({ type: "ToolCallStart", block, name: piece.call } as ModelPiece);
      yield* this.events({ type: "ToolCallDelta", block, arguments: args } as ModelPiece);
      yield* this.events({ type: "ToolCallEnd", block, ...invalid(args) } as ModelPiece); this.block++; return;
    }
    const e = piece as { type: string; block?: number; text?: string; arguments?: string }, n = encode((e.text ?? "") + (e.arguments ?? "")).length, block = e.block ?? 0;
    if ((e.type === "TextChunk" && !e.text) || (e.type === "ToolCallDelta" && !e.arguments)) return; // never empty
    if (e.type === "ToolCallStart") { this.ids.set(block, { call: newID(), open: true, bytes: 0 }); this.calls++; }
    const id = /^ToolCall/.test(e.type) ? this.ids.get(block) : undefined;
    if (id) { id.bytes += n; id.open = e.type !== "ToolCallEnd"; }
    this.bytes += n; this.bound("answer_bytes", this.bytes);
    this.bound("answer_calls", this.calls); this.bound("argument_bytes", id?.bytes ?? 0);
    yield (id ? { ...e, call: id.call } : e) as { type: string };
  }

  private bound(code: keyof T.AnswerCeilings, n: number): void {
    const most = this.most[code];
    if (most && n > most) throw Object.assign(new Error(`the answer exceeds the ceiling ${code} of ${most}`), { class: "ceiling", code });
  }

  /** Ends the calls that have no end. */
  *cut(invalid: string): Generator<{ type: string }> {
    for (const [block, c] of this.ids) if (c.open) yield { type: "ToolCallEnd", block, call: c.call, invalid } as { type: string };
    this.ids.clear();
  }
}

function invalid(args: string): { invalid?: string } {
  try {
    const v: unknown = JSON.parse(args || "{}");
    return typeof v === "object" && v !== null && !Array.isArray(v) ? {} : { invalid: "the arguments are not a JSON object" };
  } catch (err) { return { invalid: `the arguments are not valid JSON: ${(err as Error).message}` }; }
}

// estimate counts the tokens of a request at four bytes each, for answers without a count.
function estimate(job: T.GenerationJob): number {
  let n = (job.system ?? "").length + JSON.stringify(job.tools ?? []).length;
  for (const m of job.messages ?? []) for (const p of m.parts) n += (p.text ?? "").length + (p.arguments ?? "").length + (p.kind === "image" || p.kind === "file" ? 6000 : 0);
  return Math.ceil(n / 4);
}
