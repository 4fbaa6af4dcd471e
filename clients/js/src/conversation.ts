// A conversation: its events, its view, and inputs to it.
import type { Bus } from "./bus.js";
import { type BadEvent, rawAt, type UnknownEvent } from "./json.js";
import { type Call, Fold } from "./fold.js";
import { attach, facts, lastDecision, type Message, type Start } from "./log.js";
import { type Channel, checkID, formatCursor, newID, ParleyError, pause, type Place, placeOf, protocol, subjectOf } from "./names.js";
import type * as T from "./types.js";

/** An event of a log: of a channel, or inside a Decision. */
export type LogEvent = T.InEvent | T.TurnEvent | T.GenEvent | T.CallEvent | T.OutEvent | T.DecisionEvent;

/** One event of a conversation's log. */
export interface Event {
  /** The position after the event: `events({ from: e.cursor })` continues behind it. */
  cursor: string;
  /** When the server stored it. */
  time: Date; channel: Channel;
  /** The call whose channel it is; empty on in, turn and gen. */
  call: string;
  /** The event. Its type may be one that this version does not know; it is "" where `error` is set. */
  body: LogEvent;
  /** The event's JSON, as it is in the log. */
  raw: string;
  /** Why the rest of a message cannot be read. */
  error?: BadEvent;
  /** It came as it happened, not from the log. */
  live: boolean;
  /** It is one of those in a Decision: they come before it, with the position before it as their cursor. */
  decided: boolean;
  /** It does not count: another attempt took over before it was stored. */
  superseded: boolean;
  /** In a GenerationStarted or ToolStarted: the attempt that it replaces, whose events do not count. */
  supersedes: string;
}

/** Where `events` starts. */
export interface EventsOptions {
  /** A cursor: what follows it comes. The beginning when absent. */
  from?: string;
  /** What was stored at or after this time. */
  since?: Date;
  /** Continues with what is left where the log has expired, in place of the error CursorExpired. */
  remaining?: boolean;
  /** false ends at the end of the log. */
  follow?: boolean; signal?: AbortSignal;
}

/** A conversation, folded up to a position of its log. */
export interface View {
  conversation: string; cursor: string; phase: T.Phase; turn: string; turns: number;
  /** The transcript, as a model reads it. */
  messages: T.Message[];
  /** The answer that is being streamed, and its generation. */
  open: T.Message | null; generation: string;
  /** The calls of the step. */
  calls: Call[];
  /** All accepted settings, merged. */
  settings: Partial<T.Settings>;
  /** Ids of messages that wait for a turn, and of inputs without an answer. */
  queue: string[]; inputs: string[];
  /** What the turn has used so far. */
  usage?: T.Usage;
}

export interface SubmitOptions {
  signal?: AbortSignal;
  /** How long the answer may take while there is a connection, in milliseconds; 15,000 when absent. */
  timeout?: number;
}

/** An input without what the client adds: its type, and its id unless it is sent again. */
export type Draft<E> = Partial<Omit<E, "type">>;

/** Something that a conversation waits for. */
export interface Waiting extends T.AwaitedItem {
  conversation: string; since?: Date;
  /** Lets the call run, or the turn continue past a limit. */
  approve(options?: Draft<T.Verdict> & SubmitOptions): Promise<T.InputAnswered>;
  reject(options?: Draft<T.Verdict> & SubmitOptions): Promise<T.InputAnswered>;
  /** Lets the call run with other arguments. */
  edit(args: object, options?: Draft<T.Verdict> & SubmitOptions): Promise<T.InputAnswered>;
  /** Gives the result of the call, or what a tool asks for, as JSON. */
  answer(content: string, options?: Draft<T.Verdict> & SubmitOptions): Promise<T.InputAnswered>;
}

/** What conversations share. */
export interface Shared {
  bus: Bus;
  /** Conversations that were just seen pausing, and when. */
  paused: Map<string, number>; sign?: (conversation: string, line: string) => string;
}

/** Which attempt of each lane counts. */
class Attempts {
  private generation = ""; private done = ""; private calls = new Map<string, string>();

  mark(e: Event): void {
    const b = e.body as UnknownEvent & { attempt?: string; index?: number }, attempt = b.attempt ?? "";
    const other = (current: string | undefined) => (current && current !== attempt ? current : "");
    switch (b.type) {
      case "GenerationStarted": e.supersedes = other(this.generation); this.generation = attempt; break;
      case "HistoryReduced": case "TextChunk": case "ReasoningChunk": case "ToolCallStart": case "ToolCallDelta": case "ToolCallEnd": case "GenerationReleased": case "GenerationEnded":
        e.superseded = other(this.generation) !== "" || (this.done !== "" && attempt === this.done); break;
      case "AssistantMessage": this.done = this.generation; this.generation = ""; break;
      case "ToolStarted": e.supersedes = other(this.calls.get(e.call)); this.calls.set(e.call, attempt); break;
      case "ToolOutput": e.superseded = other(this.calls.get(e.call)) !== ""; break;
      case "ToolResult": e.superseded = other(this.calls.get(e.call)) !== ""; if (!e.superseded) this.calls.delete(e.call); break;
      case "TurnEnded": this.generation = this.done = ""; this.calls.clear();
    }
  }

  *events(m: Message, before: string): Generator<Event> {
    const at = (index: number) => formatCursor({ sequence: m.sequence, index, epoch: m.epoch });
    const base = { time: m.time, channel: m.channel, call: m.call, live: m.live, superseded: false, supersedes: "" };
    for (const [i, l] of m.frame.lines.entries()) {
      const all: Event[] = [];
      if (l.event.type === "Decision") {
        ((l.event as T.Decision).events ?? []).forEach((body, n) => all.push({ ...base, cursor: before, body, raw: rawAt(l.raw, "events", n)!, decided: true }));
      }
      all.push({ ...base, cursor: at(i), body: l.event as LogEvent, raw: l.raw, decided: false });
      for (const e of all) {
        this.mark(e); // also what the viewer had: it may start an attempt
        if (i >= m.skip) yield e;
      }
      before = at(i);
    }
    if (m.frame.bad) yield { ...base, cursor: at(Infinity), body: { type: "" } as unknown as LogEvent, raw: "", decided: false, error: m.frame.bad };
  }
}

/** One conversation, which need not exist yet: it begins with the first message. */
export class Conversation {
  readonly place: Place; private readonly bus: Bus;

  constructor(private readonly shared: Shared, readonly id: string) {
    this.bus = shared.bus; this.place = placeOf(checkID("conversation", id), this.bus.shards);
  }

  /**
   * Yields the conversation's events in the order of the log, first from the log and then
   * live, without gaps or duplicates, across lost connections and restarts of the server.
   * What has expired is never skipped silently: the error is CursorExpired.
   */
  async *events(options: EventsOptions = {}): AsyncGenerator<Event> {
    const { from: after, ...rest } = options;
    let attempts = after || options.since || options.remaining ? undefined : new Attempts(), before = after ?? "";
    for await (const m of this.messages({ after, ...rest })) {
      attempts ??= await this.attemptsBefore(m.sequence, options.signal); yield* attempts.events(m, before);
      before = formatCursor({ sequence: m.sequence, index: Infinity, epoch: m.epoch });
    }
  }

  private async *messages(start: Start): AsyncGenerator<Message> { for await (const m of attach(this.bus, this.place, start)) { this.note(m); yield m; } }

  private note(m: Message): void {
    const d = m.frame.lines[0]?.event as T.Decision | undefined;
    if (d?.type === "Decision" && d.state.phase === "paused") this.shared.paused.set(this.id, Date.now());
  }

  // attemptsBefore returns which attempts count before a message of the log: it reads from
  // the beginning of the turn, or of the answer before last, on.
  private async attemptsBefore(sequence: number, signal?: AbortSignal): Promise<Attempts> {
    const attempts = new Attempts();
    let at = sequence - 1;
    for (let n = 0, answers = 0; n < 32 && at > 0; n++) {
      const d = await lastDecision(this.bus, this.place, at, signal); at = d?.sequence ?? 0;
      const has = (type: string) => d!.decision.events?.some((e) => e.type === type);
      if (!d || !d.decision.state.turn || has("TurnStarted") || (has("AssistantMessage") && ++answers === 2)) break; at--;
    }
    for await (const m of attach(this.bus, this.place, { after: at > 0 ? String(at) : undefined, remaining: true, follow: false, signal })) {
      if (m.sequence >= sequence) break;
      for (const _ of attempts.events(m, ""));
    }
    return attempts;
  }

  /** Yields the conversation as it is now, then each time that it changes. One that is deleted ends it with an error of code deleted. */
  async *watch(options: { signal?: AbortSignal; follow?: boolean } = {}): AsyncGenerator<View> {
    const { signal } = options, fold = new Fold();
    let at: Message | undefined, requested = 0, messages: T.Message[] | undefined;
    const apply = (m: Message) => {
      fold.apply({ ...m, id: m.headers?.get("Nats-Msg-Id")?.replace(`${this.id}/`, "") }); if (!at || m.sequence >= at.sequence) at = m;
      if (m.channel === "gen" || m.channel === "out") return; messages = undefined;
      if (m.frame.lines.some((l) => l.event.type === "Decision" && (l.event as T.Decision).events?.some((e) => e.type === "GenerationRequested"))) requested = m.sequence;
    };
    const cursor = () => (at ? formatCursor({ sequence: at.sequence, index: Infinity, epoch: at.epoch }) : "");
    const view = (): View => {
      if (fold.phase === "deleting" || fold.phase === "deleted") throw new ParleyError("deleted", `conversation ${this.id} ${fold.phase === "deleted" ? "was" : "is being"} deleted`);
      const { phase, turn, turns, generation, calls, settings, queue, usage } = fold;
      return { conversation: this.id, cursor: cursor(), phase: phase || "idle", turn, turns, generation, usage, calls: [...calls], queue: [...queue], settings: settings as Partial<T.Settings>,
        messages: (messages ??= fold.messages()), open: generation && fold.open ? fold.open.message() : null, inputs: fold.inputs.map((i) => i.id) };
    };
    for await (const m of facts(this.bus, this.place, signal)) apply(m);
    fold.drain();
    // The open answer is read from its request on: HISTORY does not have what streams.
    const resume = fold.generation && requested > 0 ? String(requested) : cursor();
    for await (const m of this.messages({ after: resume || undefined, remaining: true, follow: false, signal })) apply(m);
    yield view(); if (options.follow === false) return;
    for await (const m of this.messages({ after: cursor() || undefined, remaining: true, signal })) { apply(m); yield view(); }
  }

  /** Returns the conversation as it is now. */
  async view(options: { signal?: AbortSignal } = {}): Promise<View> {
    for await (const v of this.watch({ ...options, follow: false })) return v;
    throw new ParleyError("unavailable", `conversation ${this.id} has no view`);
  }

  /** Sends a message. The answer says whether a turn started with it (accepted) or it waits (queued). */
  send(message: string | Draft<T.UserMessage>, options: SubmitOptions = {}): Promise<T.InputAnswered> {
    return this.submit({ type: "UserMessage", text: "", ...(typeof message === "string" ? { text: message } : message) } as T.UserMessage, options);
  }

  /** Changes settings from the next turn on: a JSON Merge Patch. */
  settings(patch: { [F in keyof Draft<T.Settings>]: Draft<T.Settings>[F] | null }, options: SubmitOptions = {}): Promise<T.InputAnswered> {
    return this.submit({ type: "Settings", ...patch } as T.Settings, options);
  }

  /** Decides calls that wait. */
  verdict(verdict: Draft<T.Verdict>, options: SubmitOptions = {}): Promise<T.InputAnswered> {
    return this.submit({ type: "Verdict", ...verdict } as T.Verdict, options);
  }

  /** Stops the turn that runs now, or what the fields say: a turn, a call, or what is queued. */
  async cancel(cancel: Draft<T.Cancel> = {}, options: SubmitOptions = {}): Promise<T.InputAnswered> {
    // Without the turn's id it could stop a later turn.
    const turn = cancel.turn ?? (cancel.scope === "queue" ? undefined : (await lastDecision(this.bus, this.place, undefined, options.signal))?.decision.state.turn);
    return this.submit({ type: "Cancel", ...cancel, turn } as T.Cancel, options);
  }
  /** Gives the result of a call that waits for one from outside, and reports whether it is the first. */
  async result(call: string, content: string, options: { status?: T.Status; signal?: AbortSignal } = {}): Promise<boolean> {
    const frame = JSON.stringify({ type: "ToolResult", call: checkID("call", call), status: options.status ?? "ok", content });
    try {
      await this.bus.append(subjectOf("conv", this.place, `call.${call}`), 0, await this.bus.fit(this.id, "ToolResult", frame), options.signal); // the lane is empty
      return true;
    } catch (err) {
      if (err instanceof ParleyError && err.code === "fenced") return false;
      throw err;
    }
  }

  /** Deletes the conversation: its messages, jobs, timers and objects. It resolves when all is done. */
  delete(request: Draft<T.Delete> = {}, options: SubmitOptions = {}): Promise<T.InputAnswered> {
    return this.submit({ type: "Delete", ...request } as T.Delete, options);
  }

  /**
   * Publishes an input until it is stored, and returns the orchestrator's answer to it. An
   * input is the same for good by its id: submit it again with its id after an error.
   */
  async submit(input: T.InEvent, options: SubmitOptions = {}): Promise<T.InputAnswered> {
    const { type, id = newID(), ...fields } = input, { timeout = 15_000, signal } = options; checkID("input", id);
    let line = JSON.stringify({ type, id, ...fields }); if (this.shared.sign) line = this.shared.sign(this.id, line);
    const sequence = await this.publish(type, id, line, signal), stop = new AbortController(), abort = () => stop.abort(signal!.reason);
    signal?.addEventListener("abort", abort);
    let waited = 0;
    const timer = setInterval(() => {
      if (this.bus.connected && (waited += 250) >= timeout) {
        stop.abort(new ParleyError("no_answer", `the ${type} ${id} is in the log of conversation ${this.id} and has no answer after ${timeout} ms: it is answered when an orchestrator runs; submit it again with its id to wait on`));
      }
    }, 250);
    try { return type === "Delete" ? await this.deletion(id, stop.signal) : await this.answerTo(id, sequence, stop.signal); } finally {
      clearInterval(timer); signal?.removeEventListener("abort", abort);
    }
  }

  private async publish(type: string, id: string, line: string, signal?: AbortSignal): Promise<number> {
    const subject = subjectOf("conv", this.place, "in"), message = `${this.id}/${id}`, headers = { "Parley-Protocol": String(protocol) };
    const data = await this.bus.fit(this.id, type, line);
    try {
      const ack = await this.bus.retry(`publish to ${subject}`, signal, () => this.bus.publish(subject, data, { id: message, headers }));
      // The server looks for the message's id in the whole shard: anybody may have used it.
      if (!ack.duplicate || (await this.bus.get(this.place.stream, { seq: ack.seq }, signal))?.subject === subject) return ack.seq;
      return (await this.bus.retry(`publish to ${subject}`, signal, () => this.bus.publish(subject, data, { id: `${message}/${newID()}`, headers }))).seq;
    } catch (err) {
      if (!(err instanceof ParleyError) || err.code !== "unavailable") throw err;
      throw new ParleyError("not_stored", `the ${type} ${id} may not be stored, submit it again with its id: ${err.message}`, { cause: err });
    }
  }

  private async answerTo(id: string, sequence: number, signal: AbortSignal): Promise<T.InputAnswered> {
    for await (const m of this.messages({ after: String(sequence), signal })) {
      const found = m.channel === "turn" && m.frame.lines.flatMap((l) => (l.event as T.Decision).events ?? []).find((e) => e.type === "InputAnswered" && e.input === id);
      if (found) return found as T.InputAnswered;
    }
    throw new ParleyError("unavailable", `the log of conversation ${this.id} ended before the answer`);
  }

  // deletion looks at the last Decision: the log is purged meanwhile.
  private async deletion(id: string, signal: AbortSignal): Promise<T.InputAnswered> {
    for (let wait = 20; ; wait = Math.min(2 * wait, 1000)) {
      const last = await lastDecision(this.bus, this.place, undefined, signal);
      const answer = last?.decision.events?.find((e) => e.type === "InputAnswered" && e.input === id); if (answer) return answer as T.InputAnswered;
      if (last?.decision.state.phase === "deleted") return { type: "InputAnswered", input: id, answer: "deleted", reason: "the conversation was deleted" };
      await pause(wait, signal);
    }
  }

  /** Returns what the conversation waits for, in the model's order, a question at a limit last. */
  async waiting(options: { signal?: AbortSignal } = {}): Promise<Waiting[]> {
    const { signal } = options, last = await lastDecision(this.bus, this.place, undefined, signal);
    if (last?.decision.state.phase !== "paused") return [];
    const { state } = last.decision, listed = new Map<string, T.AwaitedItem>();
    const list = (d: T.Decision) => { for (const e of d.events ?? []) if (e.type === "Paused") for (const a of e.awaiting ?? []) listed.set(a.call, a); };
    const calls = (state.calls ?? []).filter((c) => !c.status && c.waits && c.waits !== "slot" && c.waits !== "limit");
    const complete = () => calls.every((c) => listed.has(c.call) && (listed.get(c.call)!.question ?? "") === (c.question ?? ""));
    list(last.decision);
    if (!complete()) { // an earlier Decision lists some
      for await (const m of facts(this.bus, this.place, signal)) {
        if (m.sequence > last.sequence) break;
        for (const l of m.frame.lines) if (l.event.type === "Decision") list(l.event as T.Decision);
      }
    }
    const all: T.AwaitedItem[] = [];
    for (const c of calls) {
      const a = listed.get(c.call), known = a && (a.question ?? "") === (c.question ?? "") ? a : { ...c, for: c.waits!, digest: c.digest ?? "" };
      const anybody = !c.needs || !(c.needs.approvers?.length || (c.needs.approvals ?? 0) > 1 || c.needs.not_requester);
      if (c.waits === "result" && anybody && (await this.hasResult(c.call, signal))) continue; // no Decision has seen it yet
      all.push({ ...known, needs: c.needs, approved: c.approved });
    }
    const q = state.question;
    if (q) all.push({ for: "limit", call: q.id, arguments: { limit: q.limit }, arguments_text: JSON.stringify({ limit: q.limit }), digest: q.digest, reason: q.limit, deadline_ms: q.deadline_ms });
    return all.map((a) => this.waits(a, state.paused_ms ? new Date(state.paused_ms) : undefined));
  }

  private async hasResult(call: string, signal?: AbortSignal): Promise<boolean> {
    const m = await this.bus.last(this.place.stream, subjectOf("conv", this.place, `call.${call}`), signal);
    return m !== null && (await this.bus.decode(m.data, undefined, signal)).lines.some((l) => l.event.type === "ToolResult");
  }

  private waits(a: T.AwaitedItem, since?: Date): Waiting {
    const decide = (verdict: T.Ruling, fields: Partial<T.CallVerdict>, { signal, timeout, ...draft }: Draft<T.Verdict> & SubmitOptions = {}) =>
      this.verdict({ ...draft, verdict, calls: [{ call: a.call, digest: a.digest, ...fields }] }, { signal, timeout });
    return { ...a, conversation: this.id, since, approve: (o) => decide("approve", {}, o), reject: (o) => decide("reject", {}, o),
      edit: (args, o) => decide("edit", { arguments: args }, o), answer: async (content, o) => {
        if ((a.arguments as { key?: string } | undefined)?.key) throw new ParleyError("invalid", `the answer to ${a.tool} has secrets: it must be sealed for the question's key, which this client does not do`);
        return decide("answer", { content }, o);
      } };
  }
}

