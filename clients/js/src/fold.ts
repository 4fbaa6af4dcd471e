// The fold: from the messages of a log to a conversation. It is pure, and agrees with
// Parley's own (internal/accumulator) on every log. Names follow it.
import { type Frame, type Line, rawAt } from "./json.js";
import type { Channel } from "./names.js";
import type * as T from "./types.js";

/** A message of the log, as the fold takes it. */
export interface Folded {
  channel: Channel; call: string; sequence: number; frame: Frame;
  /** the publisher's message id, without the conversation before it */
  id?: string;
}

export type Call = T.CallState;
type Any = { type: string; [field: string]: any };
interface Input { id: string; sequence: number; event?: Any; raw?: string }

const statuses = new Set(["ok", "failed", "invalid_arguments", "unknown_tool", "timeout", "too_large", "crashed", "cancelled", "refused", "expired", "superseded", "unknown", "weak_effect"]);
const bytes = new TextEncoder();

/** The answer that is being streamed. The attempt that started last is the only one that counts. */
export class Generation {
  attempt = ""; next = 0; count = 0; started?: T.GenerationStarted; ended?: Any; private omitted = ""; private old = new Set<string>();
  private parts = new Map<string, { text: string; closed: boolean; head: T.Part }>();
  writes(attempt: string): boolean { return this.started !== undefined && this.attempt === attempt; }
  replaced(attempt: string): boolean { return this.old.has(attempt); }

  start(e: T.GenerationStarted): void {
    const attempt = e.attempt ?? ""; if (this.ended || (this.started && this.attempt === attempt) || this.old.has(attempt)) return;
    if (this.started) this.old.add(this.attempt);
    this.started = e; this.attempt = attempt; this.next = (e.index ?? 0) + 1; this.count = 1; this.omitted = ""; this.parts = new Map();
  }

  apply(e: Any): void {
    if (this.ended) return; this.next = (e.index ?? 0) + 1; this.count++;
    const block: number = e.block ?? 0, call = this.parts.get(`call ${block}`);
    switch (e.type) {
      case "HistoryReduced": this.omitted = e.omitted ?? ""; break;
      case "TextChunk": this.part(e.refusal ? "refusal" : "text", block).text += e.text ?? ""; break;
      case "ReasoningChunk": {
        const p = this.part("reasoning", block); p.text += e.text ?? "";
        if (e.summary) p.head.summary = true;
        carry(p.head, e); break;
      }
      case "ToolCallStart":
        if (!call) this.part("call", block).head = { kind: "call", call: e.call, provider_id: e.provider_id, name: e.name, custom: e.custom, invalid: "the call was not completed" };
        break;
      case "ToolCallDelta": if (call && !call.closed) call.text += e.arguments ?? ""; break;
      case "ToolCallEnd":
        if (call && !call.closed) { call.closed = true; call.head.invalid = e.invalid; carry(call.head, e); }
        break;
      case "GenerationEnded": this.ended = e;
    }
  }

  private part(kind: T.PartKind, block: number) {
    const key = `${kind} ${block}`;
    let p = this.parts.get(key); if (!p) this.parts.set(key, (p = { text: "", closed: false, head: { kind } })); return p;
  }

  message(): T.Message {
    const parts = [...this.parts.values()].map((p) => part({ ...p.head, [p.head.kind === "call" ? "arguments" : "text"]: p.text }));
    return message({ role: "assistant", parts, provider: this.started?.provider, model: this.started?.model, omitted: this.omitted as T.Omission });
  }

}

const carry = (head: T.Part, e: Any) => { if (e.carry !== undefined) head.carry = e.carry; };

// part and message have the known fields that say something, in the order of the schemas.
function part(p: T.Part): T.Part {
  const out: Record<string, unknown> = { kind: p.kind ?? "" };
  for (const f of ["text", "summary", "call", "provider_id", "name", "arguments", "custom", "invalid", "status", "mime", "data"] as const) if (p[f]) out[f] = p[f];
  if (p.object) out.object = reference(p.object);
  if (p.attachments?.length) out.attachments = p.attachments.map((a) => ({ ...(a.name && { name: a.name }), ...(a.mime && { mime: a.mime }), object: a.object ? reference(a.object) : null }));
  if (p.carry !== undefined) out.carry = p.carry;
  return out as unknown as T.Part;
}

const reference = ({ bucket, name, size, sha256 }: T.ObjectReference) => ({ bucket: bucket ?? "", name: name ?? "", size: size ?? 0, sha256: sha256 ?? "" });

function message(m: T.Message): T.Message {
  const out: Record<string, unknown> = { role: m.role ?? "", parts: (m.parts ?? []).map(part) };
  for (const f of ["by", "provider", "model", "omitted"] as const) if (m[f]) out[f] = m[f];
  return out as unknown as T.Message;
}

interface Entry { message: T.Message; turn: string }

/** A conversation, folded up to a position of its log. */
export class Fold {
  phase: T.Phase | "" = ""; turn = ""; turns = 0; generation = ""; calls: Call[] = []; queue: string[] = []; usage?: T.Usage; question?: T.Question;
  grants: T.Grant[] = []; deleted?: T.DeletionReceipt;
  /** Inputs without an answer, in log order. */
  inputs: Input[] = []; open?: Generation;
  /** The accepted Settings, merged. */
  settings: Record<string, unknown> = {};
  private turnLane = 0; private inLane = 0; private genLane = 0; private lastCall = 0;
  private requestedAt = 0; // the Decision that requested the open generation
  private callAt = new Map<string, number>();
  private attempts = new Map<string, string>(); // the attempt that runs, by call
  private behind: Folded[] = []; // what follows an input without an answer

  private entries: Entry[] = [];
  private unjoined = new Map<string, T.UserMessage>();
  private results = new Map<string, T.Part>();
  private inTurn = new Map<string, string>(); // turns by the ids of their messages
  private pending = new Map<string, string>(); // Settings that are not answered
  private replies = new Map<string, { answered: boolean; sequence: number }>(); private edits = new Map<string, string>();
  private early: string[] = [];

  /** Applies a message. Messages of a channel come in log order; one that comes again changes nothing. */
  apply(m: Folded): void {
    switch (m.channel) {
      case "in": if (m.sequence <= this.inLane) return; this.inLane = m.sequence; return this.take(m);
      case "turn":
        if (m.sequence <= this.turnLane) return; this.turnLane = m.sequence;
        for (const l of m.frame.lines) {
          if (l.event.type !== "Decision") continue;
          ((l.event as T.Decision).events ?? []).forEach((e, i) => this.decided(e as Any, l, i)); this.catchUp();
        }
        return;
      case "gen": if (m.sequence <= this.genLane) return; this.genLane = m.sequence; return this.streamed(m);
      case "call": if (m.sequence <= this.lastCall) return; this.lastCall = m.sequence; return this.take(m);
    }
  }

  /** Applies what is kept behind inputs without an answer: for readers at the end of the facts. */
  drain(): void { const behind = this.behind; this.behind = []; for (const m of behind) m.channel === "in" ? this.input(m) : this.called(m); }

  private take(m: Folded): void {
    if (this.behind.length > 0 || (m.channel === "call" && this.inputs.length > 0)) this.behind.push(m);
    else if (m.channel === "in") this.input(m);
    else this.called(m);
  }

  private catchUp(): void {
    while (this.behind[0] && (this.behind[0].channel === "in" || this.inputs.length === 0)) {
      const [m, ...rest] = this.behind; this.behind = []; this.take(m!); this.behind = rest;
    }
  }

  // --- inputs

  private input(m: Folded): void {
    m.frame.lines.forEach((l, i) => this.await({ id: inputID(m, i, (l.event as Any).id), sequence: m.sequence, event: l.event as Any, raw: l.raw }));
    if (m.frame.bad) this.await({ id: inputID(m, m.frame.lines.length, m.frame.bad.id), sequence: m.sequence });
  }

  private await(input: Input): void {
    const reply = this.replies.get(input.id); if (this.inputs.some((o) => o.id === input.id) || (reply && reply.sequence > input.sequence)) return;
    this.inputs.push(input);
    if (this.inTurn.has(input.id) || reply?.answered) return; // published again after its answer
    if (input.event?.type === "Settings") this.pending.set(input.id, input.raw!);
    if (input.event?.type === "UserMessage") this.unjoined.set(input.id, input.event as unknown as T.UserMessage);
  }

  private answered(e: T.InputAnswered): void {
    this.inputs = this.inputs.filter((o) => o.id !== e.input);
    if (e.answer === "queued" && !this.queue.includes(e.input)) this.queue.push(e.input);
    const dropped = e.dropped ?? []; this.queue = this.queue.filter((id) => !dropped.includes(id));
    for (const g of e.granted ?? []) if (!this.grants.some((o) => o.id === g.id)) this.grants.push(g);
    if (e.revoked?.length) this.grants = this.grants.filter((g) => !e.revoked!.includes(g.id));

    const again = this.replies.get(e.input)?.answered;
    this.replies.set(e.input, { answered: true, sequence: this.turnLane });
    for (const id of dropped) this.replies.set(id, { answered: true, sequence: this.replies.get(id)?.sequence ?? 0 });
    if (again) return; const patch = this.pending.get(e.input);
    if (patch !== undefined) { if (e.answer === "accepted") this.settings = merge(this.settings, patch); this.pending.delete(e.input); }
    if (e.answer === "accepted" && e.turn && this.unjoined.has(e.input)) this.join(e.input, e.turn);
    if (e.answer === "refused" || e.answer === "invalid") this.unjoined.delete(e.input);
    for (const id of dropped) this.unjoined.delete(id);
  }

  private join(id: string, turn: string): void {
    const m = this.unjoined.get(id), entry = this.entries.find((e) => e.turn === turn && e.message.role === "user");
    if (!this.inTurn.has(id)) {
      this.inTurn.set(id, turn); if (!entry || !m) return;
      if (m.text || !m.parts?.length) entry.message.parts.push(part({ kind: "text", text: m.text }));
      for (const p of m.parts ?? []) entry.message.parts.push(part(p as T.Part));
    }
    this.unjoined.delete(id);
  }

  // --- the orchestrator's decisions

  private lasting(): void { this.phase = "idle"; this.turn = this.generation = ""; this.usage = this.question = this.deleted = undefined; this.clearCalls(); }
  private clearCalls(): void { this.calls = []; this.callAt.clear(); this.attempts.clear(); }

  private decided(e: Any, line: Line, index: number): void {
    this.phase ||= "idle";
    switch (e.type) {
      case "InputAnswered": this.answered({ ...(e as unknown as T.InputAnswered), input: e.input ?? "" }); break;
      case "TurnStarted":
        this.turns++; this.lasting(); this.phase = "generating"; this.turn = e.turn ?? "";
        this.queue = this.queue.filter((id) => !e.inputs?.includes(id));
        this.entries.push({ message: { role: "user", parts: [] }, turn: this.turn });
        for (const id of e.inputs ?? []) this.join(id, this.turn);
        break;
      case "HooksRequested": if (e.when === "before") this.phase = "preparing"; break;
      case "GenerationRequested":
        if (this.open) this.spend(e.usage ?? ((e.try ?? 0) > 1 ? this.open.ended?.usage : undefined));
        this.phase = "generating"; this.generation = e.generation ?? ""; this.open = undefined; this.requestedAt = this.turnLane;
        this.clearCalls(); this.settle(); break;
      case "AssistantMessage": {
        const m = message(e.message ?? { parts: [] }); this.spend(e.usage); this.phase = "calling"; this.generation = "";
        this.open = undefined; this.complete(m);
        if (m.parts.length > 0) this.entries.push({ message: m, turn: e.turn ?? "" });
        this.settle(m); break;
      }
      case "AnswerRejected":
        this.entries.push({ turn: e.turn ?? "", message: { role: "user", by: "parley", parts: [{ kind: "text",
          text: `Your answer was rejected, because it does not fit the required JSON Schema: ${e.error ?? ""}. Answer again, with one JSON object that fits it and nothing else.` }] } });
        break;
      case "ToolCallRequested": this.requested(e, line, index); break;
      case "ToolCallsQueued": for (const c of this.calls) if (e.calls?.includes(c.call) && !c.status) c.waits = "slot"; break;
      case "ToolCallRefused": {
        const early = this.calls.some((c) => c.call === e.call && c.generation_attempt); this.end(e.call, e.status);
        if (early) this.attempts.delete(e.call);
        this.results.set(e.call, { kind: "result", call: e.call, text: e.content, status: e.status }); break;
      }
      case "ToolCallAnswered": this.end(e.call, "ok"); this.results.set(e.call, { kind: "result", call: e.call, text: e.content, status: "ok" }); break;
      case "QuestionAnswered": this.change(e.call, (c) => (!c.status && (c.question ?? "") === (e.question ?? "") ? bare(c) : c)); break;
      case "Paused": this.paused(e as unknown as T.Paused); break;
      case "Resumed":
        this.phase = "calling"; this.question = undefined;
        for (const c of this.calls) if (c.waits === "limit") delete c.waits;
        break;
      case "TurnEnded": this.lasting(); this.open = undefined; this.settle(); break;
      case "DeletionStarted":
        this.forget("deleting");
        for (const id of e.inputs ?? []) this.inputs = this.inputs.filter((o) => o.id !== id);
        break;
      case "ConversationDeleted":
        this.phase = "deleted"; this.turn = this.generation = ""; this.turns = 0; this.usage = this.question = undefined;
        this.calls = []; this.queue = []; this.grants = [];
        const { type: _, ...receipt } = e; this.deleted = receipt as unknown as T.DeletionReceipt;
    }
  }

  private forget(phase: T.Phase): void {
    this.lasting(); this.phase = phase; this.turns = 0; this.queue = [];
    this.grants = []; this.open = undefined; this.settings = {}; this.entries = []; this.early = [];
    for (const m of [this.unjoined, this.results, this.inTurn, this.pending, this.replies, this.edits]) m.clear();
  }

  private spend(usage?: T.Usage): void {
    if (!usage) return; const sum: T.Usage = { ...this.usage };
    for (const f of ["input_tokens", "output_tokens", "total_tokens", "cached_input_tokens", "reasoning_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"] as const) {
      if (usage[f] !== undefined && usage[f] !== null) sum[f] = (sum[f] ?? 0) + usage[f]!;
    }
    if (usage.estimated) sum.estimated = true;
    this.usage = sum;
  }

  private change(call: string, to: (c: Call) => Call): void { this.calls = this.calls.map((c) => (c.call === call ? to(c) : c)); }
  private end(call: string, status: T.Status): void { this.change(call, (c) => ({ ...bare(c), status })); }

  // requested applies the request of a call: it may come before the answer with the call
  // is complete.
  private requested(e: Any, line: Line, index: number): void {
    this.callAt.set(e.call, this.turnLane);
    if (e.generation_attempt && this.phase === "generating" && !this.calls.some((c) => c.call === e.call)) {
      this.calls.push({ call: e.call, tool: e.tool, generation_attempt: e.generation_attempt });
    }
    this.change(e.call, (c) => (c.status ? { ...bare(c), status: c.status } : bare(c)));
    if (e.arguments !== undefined && e.arguments !== null) this.edits.set(e.call, rawAt(line.raw, "events", index, "arguments")!);
    if (e.generation_attempt) this.early.push(e.call);
  }

  // complete makes the calls of an answer those of the step.
  private complete(m: T.Message): void {
    const early = this.calls;
    this.calls = m.parts.filter((p) => p.kind === "call").map((p) => early.find((c) => c.call === p.call) ?? { call: p.call ?? "", tool: p.name ?? "" });
    for (const c of early) { if (this.calls.some((o) => o.call === c.call)) continue; this.callAt.delete(c.call); this.attempts.delete(c.call); }
  }

  // settle forgets results of calls that were requested early and are not in the answer.
  private settle(m?: T.Message): void {
    for (const call of this.early) if (!m?.parts.some((p) => p.kind === "call" && p.call === call)) this.results.delete(call);
    this.early = [];
  }

  private paused(e: T.Paused): void {
    this.phase = "paused";
    for (const a of e.awaiting ?? []) {
      if (a.for === "limit") {
        this.question = { id: a.call, limit: a.reason ?? "", digest: a.digest, ...(a.deadline_ms && { deadline_ms: a.deadline_ms }) };
        for (const c of this.calls) if (!c.status && !c.waits && !c.generation_attempt) c.waits = "limit";
        continue;
      }
      this.change(a.call, (c) => {
        if (c.status || (a.for === "answer" && (c.question ?? "") !== (a.question ?? ""))) return c;
        return { ...c, waits: a.for, effect: a.effect, digest: a.digest, rule: a.rule, due_ms: a.due_ms, deadline_ms: a.deadline_ms, needs: a.needs, approved: a.approved };
      });
    }
  }

  // --- the lanes of calls

  // called applies a message of a call's lane: only that of a call that was requested
  // before, or that waits for a result from outside, counts.
  private called(m: Folded): void { for (const { event } of m.frame.lines) if (this.expects(m.call, m.sequence)) this.happened(event as Any, m.call); }

  private expects(call: string, sequence: number): boolean {
    const c = this.calls.find((c) => c.call === call); if (!this.calls.some((c) => c.call === call && !c.status)) return false;
    if (c!.waits === "result") return !this.calls.some((c) => c.call === call && c.needs && (c.needs.approvers?.length || (c.needs.approvals ?? 0) > 1 || c.needs.not_requester));
    return (!c!.waits || c!.waits === "answer") && sequence > (this.callAt.get(call) ?? 0);
  }

  private happened(e: Any, call: string): void {
    const runs = this.attempts.has(call) && this.attempts.get(call) === (e.attempt ?? "");
    if (e.type === "ToolStarted") this.attempts.set(call, e.attempt ?? "");
    else if (e.type === "QuestionAsked" && runs) this.change(call, (c) => ({ ...bare(c), waits: "answer", question: e.question }));
    else if (e.type === "ToolResult" && (runs || this.calls.find((c) => c.call === call)?.waits === "result")) {
      const status: T.Status = statuses.has(e.status) ? e.status : "unknown"; this.end(call, status);
      const attachments = e.attachments?.filter((a: T.Attachment) => a.object);
      if (!this.results.has(call)) this.results.set(call, { kind: "result", call, text: e.content, status, object: e.object, attachments });
    }
  }

  // --- the gen lane

  private streamed(m: Folded): void {
    if (!this.generation || m.sequence <= this.requestedAt) return;
    for (const l of m.frame.lines) this.piece(l.event as Any);
    if (m.frame.bad) this.fail("cut", "a part of the answer cannot be read: " + m.frame.bad.message);
  }

  private piece(e: Any): void {
    const attempt: string = e.attempt ?? "", index: number = e.index ?? 0, g = this.open;
    if (!stamped.has(e.type)) { // a type that this version does not know
      if (g?.writes(attempt) && Number.isInteger(index) && index >= g.next) { g.next = index + 1; g.count++; }
      return;
    }
    if (e.type === "GenerationStarted") {
      if (!e.generation) return this.incomplete(e, "generation"); if (e.generation !== this.generation) return;
      if (!attempt) return this.incomplete(e, "attempt");
      return (this.open ??= new Generation()).start(e as unknown as T.GenerationStarted);
    }
    if (e.type === "GenerationEnded" && attempt && e.generation === this.generation && !g?.writes(attempt) && !g?.replaced(attempt)) {
      return this.fail("cut", "the beginning of the answer is missing from the log", e);
    }
    if (!attempt) return this.incomplete(e, "attempt");
    if (!g?.writes(attempt)) return; // a worker that was replaced
    if (index < g.next) return this.fail("internal", `a worker wrote a ${e.type} with "index" ${index} after an event with "index" ${g.next - 1}`);
    if (e.type === "ToolCallStart" && !e.call) return this.incomplete(e, "call");
    if (e.type === "GenerationEnded" && !e.error && (e.event_count ?? e.events ?? 0) - g.count - 1 > 0) return this.fail("cut", "events of the answer are missing from the log", e);
    g.apply(e);
  }

  private incomplete(e: Any, field: string): void { this.fail("internal", `a worker wrote a ${e.type} without "${field}", so the answer cannot be used`); }

  private fail(cls: T.ErrorClass, text: string, end?: Any): void {
    this.open ??= new Generation();
    this.open.ended ??= { type: "GenerationEnded", generation: this.generation, ...end, finish: "error", terminated: false, error: { class: cls, message: text } };
  }

  // --- the transcript

  /** Returns the transcript as a model reads it: after a message with calls, one result for each. */
  messages(): T.Message[] {
    const all: T.Message[] = [];
    for (const { message: m } of this.entries) {
      if (m.parts.length === 0) continue; // a turn whose messages are not known
      all.push({ ...m, parts: m.parts.map((p) => (p.kind === "call" && this.edits.has(p.call!) ? { ...p, arguments: this.edits.get(p.call!)! } : p)) });
      for (const p of m.parts) {
        if (p.kind !== "call") continue;
        const r = this.results.get(p.call ?? "") ?? { kind: "result" as const, call: p.call, status: "unknown" as const, text: "there is no result: the outcome of the call is unknown" };
        all.push({ role: "tool", parts: [part({ ...r, name: p.name, provider_id: p.provider_id, custom: p.custom })] });
      }
    }
    return all;
  }
}

const stamped = new Set(["GenerationStarted", "HistoryReduced", "TextChunk", "ReasoningChunk", "ToolCallStart", "ToolCallDelta", "ToolCallEnd", "GenerationReleased", "GenerationEnded"]);

// bare returns the state of a call that neither waits nor has ended.
const bare = (c: Call): Call => ({ call: c.call, tool: c.tool, ...(c.generation_attempt && { generation_attempt: c.generation_attempt }) });

// inputID returns the id of an input: its own, that of the message, or its cursor.
function inputID(m: Folded, line: number, own: unknown): string {
  const fits = (id: unknown): id is string => typeof id === "string" && id !== "" && bytes.encode(id).length <= 256; if (fits(own)) return own;
  if (!fits(m.id)) return `${m.sequence}-${line}`;
  return line === 0 ? m.id : `${m.id}-${line}`;
}

/** Merges Settings into those before them: a JSON Merge Patch (RFC 7396), but for the answer's schema and added rules. */
function merge(before: Record<string, unknown>, raw: string): Record<string, unknown> {
  const { add_rules: added, signature: _, answer_schema: schema, ...fields } = JSON.parse(raw) as Record<string, unknown>, next = patched(before, fields);
  if (schema === null) delete next.answer_schema;
  else if (schema !== undefined) next.answer_schema = schema; // whole: two schemas merged are no schema
  if (Array.isArray(added) && added.length > 0) {
    const policy = isObject(next.policy) ? next.policy : {}, have = new Set<string>();
    const rules = [...added, ...(Array.isArray(policy.rules) ? policy.rules : [])].filter((r) => !have.has(sorted(r)) && have.add(sorted(r)));
    next.policy = { ...policy, rules };
  }
  return next;
}

const isObject = (v: unknown): v is Record<string, unknown> => typeof v === "object" && v !== null && !Array.isArray(v);
const sorted = (v: unknown): string => JSON.stringify(v, (_, o) => (isObject(o) ? Object.fromEntries(Object.entries(o).sort(([a], [b]) => (a < b ? -1 : 1))) : o));

function patched(target: unknown, patch: Record<string, unknown>): Record<string, unknown> {
  const next: Record<string, unknown> = isObject(target) ? { ...target } : {};
  for (const [name, v] of Object.entries(patch)) { if (v === null) delete next[name]; else next[name] = isObject(v) ? patched(next[name], v) : v; }
  return next;
}
