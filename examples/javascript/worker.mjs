// A Parley tool worker that needs only a NATS client; docs/tool-workers.md explains it. It runs one call at a time: start more workers for more.
import { setTimeout as pause } from "node:timers/promises";
import { connect } from "@nats-io/transport-node";
import { jetstream } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { Objm } from "@nats-io/obj";

const metres = { mm: 0.001, cm: 0.01, m: 1, km: 1000, in: 0.0254, ft: 0.3048, mi: 1609.344 }, unit = { enum: Object.keys(metres) };
const tool = { name: "convert_units", effect: "pure", timeout_ms: 60_000, description: "Converts a length between mm, cm, m, km, in, ft and mi.",
  schema: { type: "object", required: ["value", "from", "to"], properties: { value: { type: "number" }, from: unit, to: unit, pause_ms: { type: "integer" } } } };
async function run({ value, from, to, pause_ms = 0 }, signal, print) {
  print(`converting ${value} ${from}\n`);
  await pause(pause_ms, null, { signal }); // to try what happens during a call
  if (!metres[from] || !metres[to]) throw new Error(`the units are ${unit.enum.join(", ")}: use two of them`);
  return `${value} ${from} = ${+(value * metres[from] / metres[to]).toPrecision(12)} ${to}`;
}
const { NATS_URL: servers, NATS_USER: user, NATS_PASSWORD: pass, PARLEY_NAME: given = "js" } = process.env, worker = `${given}-${crypto.randomUUID().slice(0, 6)}`;
const token = servers?.match(/^nats:\/\/([^:@,]+)@/)?.[1], nc = await connect({ servers, user, pass, token, name: worker, inboxPrefix: "_INBOX_tool-worker", maxReconnectAttempts: -1 });
const js = jetstream(nc, { checkAPI: false }), jsm = await js.jetstreamManager(), read = async (data) => { // one event per line; the object store has what is too large
  const lines = new TextDecoder().decode(data).trim().split("\n").map((line) => JSON.parse(line)), [{ type, object }] = lines;
  return type === "Claim" ? read(await (await new Objm(js).open(object.bucket)).getBlob(object.name)) : lines;
};
let since = Date.now(); // connected without a break
(async () => { for await (const s of nc.status()) if (s.type === "reconnect") since = Date.now(); })();
const last = (subject) => jsm.direct.getMessage("CONV_" + subject.split(".")[1], { last_by_subj: subject }) // CONV_0 stores conv.0.…
  .then(async (m) => m ? [m.seq, (await read(m.data)).at(-1)] : [0, {}]);
async function lane(subject, after) { // the lane's last sequence, and its events after a position
  for (let seq = 0, events = []; ;) {
    const m = await jsm.direct.getMessage("CONV_" + subject.split(".")[1], { seq: seq + 1, next_by_subj: subject });
    if (!m) return [seq, events];
    if ((seq = m.seq) > after) events.push(...await read(m.data));
  }
}
const missed = new Map(); // workers without a key, and since when
async function gone(other, once) { // reports whether the worker is dead: its key is missing and we were connected for the key's lifetime, twice that for a once call
  if ((await kv.get(`tool.${tool.name}.${other}`))?.operation === "PUT") return missed.delete(other) && false;
  if (!missed.has(other)) missed.set(other, Date.now());
  return Date.now() - Math.max(since, once ? missed.get(other) : 0) >= 12_000;
}
async function call(m, leave, watch) {
  const [job] = await read(m.data), [, shard, conversation] = job.subject.split("."), of = `${shard}.${conversation}.`, stop = new AbortController();
  const open = (decision) => !job.decision || decision.state.calls?.some((c) => c.call === job.call && !c.status);
  const stops = (e) => e.type === "Decision" ? !open(e) : e.type === "Cancel" && (!e.turn || e.turn === job.turn) &&
    { turn: job.decision && e.turn, all: job.decision && e.turn, call: e.call === job.call }[e.scope ?? (e.call ? "call" : "turn")];
  const hear = async (_, msg) => (await read(msg.data)).some(stops) && stop.abort("cancelled");
  watch.push(...["turn", "in"].map((channel) => nc.subscribe(`live.${of}${channel}`, { callback: hear }))); // first, so that no event is missed
  const [seq, events] = await lane(job.subject, job.decision), [at, decision] = await last(`conv.${of}turn`), delivery = m.info.deliveryCount, began = Date.now();
  const starts = events.filter((e) => e.type === "ToolStarted"), before = starts.at(-1), once = job.effect !== "pure" && job.effect !== "idempotent";
  const released = new Map(events.filter((e) => e.type === "ToolReleased").map((e) => [e.attempt, e.error]));
  const done = before && events.some((e) => e.type === "ToolResult" && e.attempt === before.attempt);
  if (done || at >= job.decision && !open(decision)) return m.ack(); // it has a result, or the job is stale
  if (before && !released.has(before.attempt) && before.worker && before.worker !== worker && !await gone(before.worker, once)) return m.nak(3000);
  const failed = starts.filter((s) => !released.has(s.attempt) || released.get(s.attempt)).length, own = { call: job.call, attempt: // a UUIDv7
    began.toString(16).padStart(12, "0").replace(/(.{8})/, "$1-") + "-7" + crypto.randomUUID().slice(15) };
  const append = (type, e, after) => js.publish(job.subject, JSON.stringify({ type, ...own, tool: job.tool, ...e }), { expect: { lastSubjectSequence: after } });
  const end = (status, content, after) => append("ToolResult", { status, content, took_ms: Date.now() - began }, after).then(() => m.ack());
  const started = await append("ToolStarted", { worker, delivery }, seq); // from now on the lane refuses older attempts, and our result counts
  if (before && once) return end("unknown", "a worker died while it ran this call: nobody knows whether it took effect", started.seq);
  if (failed >= 100) return end("failed", "the call was started 100 times and never came to an end", started.seq);
  let index = 0, signal = AbortSignal.any([leave, stop.signal, AbortSignal.timeout(job.timeout_ms || tool.timeout_ms)]);
  const print = (text) => nc.publish(job.output, JSON.stringify({ type: "ToolOutput", ...own, index: index++, text }));
  const [status, content] = await run(job.arguments, signal, print).then((text) => ["ok", text],
    (err) => [!signal.aborted ? "failed" : signal.reason.name ? "timeout" : signal.reason, err.message]);
  if (status === "unknown" && !once) return append("ToolReleased", {}, started.seq).then(() => m.nak()); // another worker may take it at once
  return end(status, content, started.seq);
}
const name = `tool_${tool.name}`, kv = await new Kvm(js).open("PARLEY_PRESENCE"), key = `tool.${tool.name}.${worker}`;
const config = { durable_name: name, filter_subject: `jobs.tool.${tool.name}.*`, ack_policy: "explicit", ack_wait: 6e9, max_deliver: -1, max_ack_pending: 10_000 };
const queue = await jsm.consumers.info("JOBS", name).catch(() => jsm.consumers.add("JOBS", config)), jobs = await js.consumers.get("JOBS", name);
const announce = () => kv.put(key, JSON.stringify({ kind: "tool", name: tool.name, worker, tool })).catch(console.error);
await announce();
const present = setInterval(announce, 3000), leave = new AbortController(), leaving = leave.signal;
process.once("SIGTERM", () => leave.abort("unknown", clearInterval(present)));
while (!leaving.aborted) {
  const m = await jobs.next({ expires: 1000 }), watch = [], beat = setInterval(() => m?.working(), queue.config.ack_wait / 3e6);
  if (m) await (leaving.aborted ? m.nak() : call(m, leaving, watch).catch((err) => { console.error(m.subject, err); m.nak(6000); }));
  [clearInterval(beat), ...watch.map((s) => s.unsubscribe())];
}
await kv.delete(key).then(() => nc.drain());
