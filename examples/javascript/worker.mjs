// A Parley tool worker that needs only a NATS client; docs/tool-workers.md explains it. It runs one call at a time: start more workers for more.
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { connect, MsgHdrsImpl, nkeyAuthenticator } from "@nats-io/transport-node";
import { jetstream } from "@nats-io/jetstream";
const metres = { mm: 0.001, cm: 0.01, m: 1, km: 1000, in: 0.0254, ft: 0.3048, mi: 1609.344 }, unit = { enum: Object.keys(metres) };
const tool = { name: "convert_units", effect: "pure", timeout_ms: 60_000, description: "Converts a length between mm, cm, m, km, in, ft and mi.",
  schema: { type: "object", required: ["value", "from", "to"], properties: { value: { type: "number" }, from: unit, to: unit, pause_ms: { type: "integer" } } } };
async function run({ value, from, to, pause_ms = 0 }, signal, print) {
  print(`converting ${value} ${from}\n`);
  await pause(pause_ms, null, { signal }); // to try what happens during a call
  if (!metres[from] || !metres[to]) throw new Error(`the units are ${unit.enum.join(", ")}: use two of them`);
  return `${value} ${from} = ${+(value * metres[from] / metres[to]).toPrecision(12)} ${to}`;
}
const env = process.env, urls = (env.NATS_URL || "nats://127.0.0.1:4222").split(",").map((url) => new URL(url.includes("://") ? url : `nats://${url}`));
const [login, secret] = [urls[0].username, urls[0].password].map(decodeURIComponent), worker = `${env.PARLEY_NAME || "js"}-${crypto.randomUUID().slice(0, 6)}`;
const nc = await connect({ servers: urls.map((url) => url.host), name: worker, inboxPrefix: env.NATS_INBOX_PREFIX || "_INBOX_tool-worker", maxReconnectAttempts: -1,
  user: env.NATS_USER || (secret && login), pass: env.NATS_PASSWORD || secret, token: env.NATS_TOKEN || (secret ? "" : login), // the client ignores those in a URL
  authenticator: env.NATS_NKEY && nkeyAuthenticator(Buffer.from(readFileSync(env.NATS_NKEY, "utf8").trim())), ...(env.NATS_CA && { tls: { caFile: env.NATS_CA } }) });
const js = jetstream(nc, { checkAPI: false, apiPrefix: env.NATS_JS_API_PREFIX || "$JS.API" }), jsm = await js.jetstreamManager();
const get = (stream, which) => jsm.streams.getMessage(stream, which); // from the stream's leader; null if there is none
async function* all(stream, subject, seq = 0) { // the messages of a subject, in order
  for (let m; (m = await get(stream, { seq: seq + 1, next_by_subj: subject })); seq = m.seq) yield m;
}
async function load({ name, size, sha256 }) { // an object; the first description whose content has the digest counts: others may be forged
  for await (const m of all("OBJ_PARLEY_OBJECTS", "$O.PARLEY_OBJECTS.M." + Buffer.from(name).toString("base64").replaceAll("+", "-").replaceAll("/", "_"))) {
    let [, id] = m.string().match(/"nuid": *"(\w+)"/) ?? [], left = size, chunks = [];
    for await (const { data } of all("OBJ_PARLEY_OBJECTS", `$O.PARLEY_OBJECTS.C.${id}`)) if (chunks.push(data) && (left -= data.length) <= 0) break;
    if (Buffer.from(await crypto.subtle.digest("SHA-256", Buffer.concat(chunks))).toString("hex") === sha256) return Buffer.concat(chunks);
  }
  throw new Error(`object ${name} is missing, or is not what was stored`);
}
const parse = (data) => new TextDecoder().decode(data).trim().split("\n").map((line) => JSON.parse(line)); // one event per line
const read = async (data) => parse(data)[0].type === "Claim" ? read(await load(parse(data)[0].object)) : parse(data); // the object store has what is too large
let since = Date.now(), missed = {}; // connected without a break since; workers without a key, since when
(async () => { for await (const s of nc.status()) if (s.type === "reconnect") since = Date.now(); })();
async function gone(other, once) { // reports whether the worker is dead: its key is missing and we were connected for the key's lifetime, twice that for a once call
  if ((await get("KV_PARLEY_PRESENCE", { last_by_subj: `$KV.PARLEY_PRESENCE.tool.${tool.name}.${other}` }))?.data.length) return delete missed[other] && false;
  return Date.now() - Math.max(since, once ? missed[other] ??= Date.now() : 0) >= 12_000;
}
async function call(m, leave, watch) {
  const [job] = await read(m.data), [, shard, conversation] = job.subject.split("."), of = `${shard}.${conversation}.`, log = `CONV_${shard}`, stop = new AbortController();
  const open = (decision) => !job.decision || decision.state.calls?.some((c) => c.call === job.call && !c.status);
  const stops = (e) => e.type === "Decision" ? !open(e) : e.type === "Cancel" && (!e.turn || e.turn === job.turn) &&
    { turn: job.decision && e.turn, all: job.decision && e.turn, call: e.call === job.call }[e.scope ?? (e.call ? "call" : "turn")];
  const callback = async (_, msg) => (await read(msg.data).catch(() => [])).some(stops) && stop.abort("cancelled"); // subscribe first, so that no event is missed
  watch.push(...["turn", "in"].map((channel) => nc.subscribe(`live.${of}${channel}`, { callback })));
  let seq = 0, events = [], index = 0, began = Date.now(), once = job.effect !== "pure" && job.effect !== "idempotent";
  for await (const m of all(log, job.subject)) if ((seq = m.seq) > job.decision) events.push(...await read(m.data));
  const typed = (type) => events.filter((e) => e.type === type), starts = typed("ToolStarted"), before = starts.at(-1), turn = await get(log, { last_by_subj: `conv.${of}turn` });
  const released = new Map(typed("ToolReleased").map((e) => [e.attempt, e.error])), done = before && typed("ToolResult").some((e) => e.attempt === before.attempt);
  if (done || turn?.seq >= job.decision && !open((await read(turn.data)).at(-1))) return m.ack(); // it has a result, or the job is stale
  if (before && !released.has(before.attempt) && before.worker && before.worker !== worker && !await gone(before.worker, once)) return m.nak(3000);
  const failed = starts.filter((s) => !released.has(s.attempt) || released.get(s.attempt)).length, own = { call: job.call, attempt: // a UUIDv7
    began.toString(16).padStart(12, "0").replace(/(.{8})/, "$1-") + "-7" + crypto.randomUUID().slice(15) };
  const append = (type, e, after) => js.publish(job.subject, JSON.stringify({ type, ...own, tool: job.tool, ...e }), { expect: { lastSubjectSequence: after } });
  const end = (status, content, after) => append("ToolResult", { status, content, took_ms: Date.now() - began }, after).then(() => m.ack());
  const started = await append("ToolStarted", { worker, delivery: m.info.deliveryCount }, seq); // from now on the lane refuses older attempts, and our result counts
  if (before && once || failed >= 100) return end(once ? "unknown" : "failed", "it was tried before, and came to no end", started.seq);
  const signal = AbortSignal.any([leave, stop.signal]), late = setTimeout(() => stop.abort(new DOMException("", "TimeoutError")), job.timeout_ms || tool.timeout_ms); // Node 20 loses an AbortSignal.timeout in any()
  const print = (text) => nc.publish(job.output, JSON.stringify({ type: "ToolOutput", ...own, index: index++, text }));
  const [status, content] = await run(job.arguments, signal, print).then((text) => ["ok", text],
    (err) => [!signal.aborted ? "failed" : signal.reason.name ? "timeout" : signal.reason, err.message]).finally(() => clearTimeout(late));
  return status !== "unknown" || once ? end(status, content, started.seq) : append("ToolReleased", {}, started.seq).then(() => m.nak()); // for another worker
}
const name = `tool_${tool.name}`, key = `$KV.PARLEY_PRESENCE.tool.${tool.name}.${worker}`, leave = new AbortController(), leaving = leave.signal;
let queue; // an orchestrator creates a missing one
while (!(queue = await jsm.consumers.info("JOBS", name).catch((err) => console.error(`queue ${name}: ${err.message}, it is requested`))))
  await pause(500, await nc.request(`queue.${name}`, "", { timeout: 5000 }).then((m) => console.error(m.string()), (err) => console.error(err.message)));
const announce = () => js.publish(key, JSON.stringify({ kind: "tool", name: tool.name, worker, beat_ms: 1000, tool })).catch(console.error);
await announce();
const present = setInterval(announce, 1000), jobs = js.consumers.getConsumerFromInfo(queue);
process.once("SIGTERM", () => leave.abort("unknown", clearInterval(present)));
while (!leaving.aborted) {
  const m = await jobs.next({ expires: 1000 }).catch(console.error), watch = [], beat = setInterval(() => m?.working(), queue.config.ack_wait / 3e6);
  if (m) await (leaving.aborted ? m.nak() : call(m, leaving, watch).catch((err) => { console.error(m.subject, err); m.nak(6000); }));
  [clearInterval(beat), ...watch.map((s) => s.unsubscribe())];
}
await js.publish(key, "", { headers: MsgHdrsImpl.fromRecord({ "KV-Operation": ["DEL"] }) }).then(() => nc.drain());
