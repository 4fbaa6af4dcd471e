// Answering hooks: an app is called before or after a turn.
import type { Msg } from "@nats-io/nats-core";
import type { Bus } from "../bus.js";
import { checkName, ParleyError } from "../names.js";
import type * as T from "../types.js";
import type { Service } from "./worker.js";

/** Answers a hook: what to add to the system prompt, or why the turn must not continue. Its error is the answer's. */
export type HookHandler = (call: T.HookCall, context: { signal: AbortSignal }) => Promise<{ context?: string; refuse?: string } | void> | { context?: string; refuse?: string } | void;

const atOnce = 64, drain = 10_000;

/** Answers the calls of a hook, as one of the queue group in which an app's processes share them. */
export async function serveHook(bus: Bus, when: T.HookTime, name: string, handler: HookHandler): Promise<Service> {
  const subject = `hooks.${when}.${checkName("hook", name)}`, running = new Set<Promise<void>>(), waiting: Msg[] = [];
  if (when !== "before" && when !== "after") throw new ParleyError("invalid", `hooks are called before or after a turn, not ${JSON.stringify(when)}`);
  const next = () => {
    while (running.size < atOnce && waiting.length > 0) {
      const one = answer(bus, waiting.shift()!, handler).finally(() => { running.delete(one); next(); });
      running.add(one);
    }
  };
  const sub = bus.nc.subscribe(subject, { queue: "hooks", callback: (err, m) => {
    if (err) bus.log(`hook ${name}: ${err.message}`);
    else if (m.reply && waiting.length < 1024) { waiting.push(m); next(); }
  } });
  await bus.nc.flush();
  return { stop: async () => {
    await sub.drain().catch(() => {});
    let timer: ReturnType<typeof setTimeout>;
    const late = new Promise((resolve) => { timer = setTimeout(resolve, drain); });
    while (running.size > 0 && (await Promise.race([Promise.all(running).then(() => true), late.then(() => false)])));
    clearTimeout(timer!);
  } };
}

async function answer(bus: Bus, m: Msg, handler: HookHandler): Promise<void> {
  let call: Partial<T.HookCall> = {}, said: { context?: string; refuse?: string; error?: string } = {};
  const stop = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    const { lines, bad } = await bus.decode(m.data);
    if (bad || lines.length !== 1 || lines[0]!.event.type !== "HookCall") throw bad ?? new Error("the request is not one HookCall");
    call = lines[0]!.event as T.HookCall;
    timer = setTimeout(() => stop.abort(new DOMException("the hook's time is over", "TimeoutError")), Math.min(call.timeout_ms ?? 5000, 2 ** 31 - 1));
    said = (await handler(call as T.HookCall, { signal: stop.signal })) ?? {};
  } catch (err) { said = { error: String((err as Error)?.message ?? err).replace(/\s+/g, " ").slice(0, 1024) }; }
  clearTimeout(timer);
  if (stop.signal.aborted) return; // the turn has gone on
  const { turn, when, hook, conversation } = call, { context, refuse, error } = said;
  try {
    m.respond(await bus.fit(conversation ?? "", "HookAnswered", JSON.stringify({ type: "HookAnswered", turn, when, hook, context, refuse, error })));
  } catch (err) { bus.log(`a hook could not be answered on ${m.subject}: ${(err as Error).message}`); }
}
