// A Parley llm-worker that needs only a NATS client; docs/llm-workers.md explains it. It runs one generation at a time: start more workers for more.
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { connect, MsgHdrsImpl, nkeyAuthenticator } from "@nats-io/transport-node";
import { jetstream } from "@nats-io/jetstream";
const env = process.env, route = env.PARLEY_ROUTE || "parrot", queueName = `llm_${route}`;
async function* model({ messages, parameters: { extra: { pause_ms = 0, fail, cut, call } = {} } = {} }, signal) { // put your provider here: it yields pieces and a finish, and throws {class, message}
  if (fail) throw { class: fail, message: "the model was told to fail" }; // parameters.extra is how this one is told to behave, to try it
  yield { text: "You said: " };
  const args = JSON.stringify(call?.arguments ?? {}), half = args.length >> 1, finish = call ? "tool_calls" : "stop", said = messages.at(-1)?.parts.map((p) => p.text ?? "").join(" ");
  await pause(pause_ms, null, { signal });
  if (call) yield* [{ call: call.tool, id: "provider_1" }, { args: args.slice(0, half) }];
  if (!cut) yield* [call ? { args: args.slice(half) } : { text: said || "nothing" }, { finish }]; // otherwise the answer ends without a terminal sign
}
const urls = (env.NATS_URL || "nats://127.0.0.1:4222").split(",").map((url) => new URL(url.includes("://") ? url : `nats://${url}`)), worker = `${env.PARLEY_NAME || "js"}-${crypto.randomUUID().slice(0, 6)}`,
  [login, secret] = [urls[0].username, urls[0].password].map(decodeURIComponent);
const nc = await connect({ servers: urls.map((url) => url.host), name: worker, inboxPrefix: env.NATS_INBOX_PREFIX || "_INBOX_llm-worker", maxReconnectAttempts: -1,
  user: env.NATS_USER || (secret && login), pass: env.NATS_PASSWORD || secret, token: env.NATS_TOKEN || (secret ? "" : login), // the client ignores those in a URL
  authenticator: env.NATS_NKEY && nkeyAuthenticator(Buffer.from(readFileSync(env.NATS_NKEY, "utf8").trim())), ...(env.NATS_CA && { tls: { caFile: env.NATS_CA } }) });
const js = jetstream(nc, { checkAPI: false, apiPrefix: env.NATS_JS_API_PREFIX || "$JS.API" }), jsm = await js.jetstreamManager();
const get = (stream, which) => jsm.streams.getMessage(stream, which); // from the stream's leader; null if there is none
async function* all(stream, subject, seq = 0) { for (let m; (m = await get(stream, { seq: seq + 1, next_by_subj: subject })); seq = m.seq) yield m; } // in order
async function load({ name, size, sha256 }) { // an object; the first description whose content has the digest counts: others may be forged
  for await (const m of all("OBJ_PARLEY_OBJECTS", "$O.PARLEY_OBJECTS.M." + Buffer.from(name).toString("base64").replaceAll("+", "-").replaceAll("/", "_"))) {
    let [, id] = m.string().match(/"nuid": *"(\w+)"/) ?? [], left = size, chunks = [];
    for await (const { data } of all("OBJ_PARLEY_OBJECTS", `$O.PARLEY_OBJECTS.C.${id}`)) if (chunks.push(data) && (left -= data.length) <= 0) break;
    if (Buffer.from(await crypto.subtle.digest("SHA-256", Buffer.concat(chunks))).toString("hex") === sha256) return Buffer.concat(chunks);
  }
  throw new Error(`object ${name} is missing, or is not what was stored`);
}
const parse = (data) => new TextDecoder().decode(data).trim().split("\n").map((line) => JSON.parse(line)), // one event per line
  read = async (data) => parse(data)[0].type === "Claim" ? read(await load(parse(data)[0].object)) : parse(data); // the object store has what is too large
const key = `$KV.PARLEY_PRESENCE.llm.${route}.${worker}`, leave = new AbortController(), leaving = leave.signal, newId = () => Date.now().toString(16).padStart(12, "0").replace(/(.{8})/, "$1-") + "-7" + crypto.randomUUID().slice(15); // a UUIDv7
let since = Date.now(), queue; (async () => { for await (const s of nc.status()) if (s.type === "reconnect") since = Date.now(); })(); // connected without a break since
const gone = async (other) => !(await get("KV_PARLEY_PRESENCE", { last_by_subj: `$KV.PARLEY_PRESENCE.llm.${route}.${other}` }))?.data.length && Date.now() - since >= 12_000; // dead: its key has expired while we were connected
async function generate(m, leave, watch) {
  const [job] = await read(m.data), [, shard, conversation] = job.subject.split("."), of = `${shard}.${conversation}.`, log = `CONV_${shard}`, stop = new AbortController();
  if (job.delay_ms && m.info.deliveryCount === 1) return m.nak(job.delay_ms); // for later
  const stops = (e) => e.type === "Decision" ? e.state.generation !== job.generation : e.type === "Cancel" && e.turn === job.turn && ["turn", "all"].includes(e.scope || (e.call ? "call" : "turn"));
  watch.push(...["turn", "in"].map((channel) => nc.subscribe(`live.${of}${channel}`, // first, so that no event is missed
    { callback: async (_, msg) => (await read(msg.data).catch(() => [])).some(stops) && stop.abort("cancelled") })));
  let signal = AbortSignal.any([leave, stop.signal]), seq = (await get(log, { last_by_subj: job.subject }))?.seq ?? 0, events = [], index = 0, finish, call, error;
  for await (const msg of all(log, job.subject, job.lane_sequence)) events.push(...await read(msg.data)), (seq = msg.seq);
  const typed = (type) => events.filter((e) => e.type === type && e.generation === job.generation), starts = typed("GenerationStarted"), before = starts.at(-1);
  const released = new Set(typed("GenerationReleased").filter((e) => !e.error).map((e) => e.attempt)), base = { generation: job.generation }, attempt = newId(), turn = await get(log, { last_by_subj: `conv.${of}turn` });
  if (typed("GenerationEnded").length || turn?.seq >= job.decision && (await read(turn.data)).at(-1).state.generation !== job.generation) return m.ack(); // it has ended, or the job is stale
  if (before && !released.has(before.attempt) && before.worker && before.worker !== worker && !await gone(before.worker)) return m.nak(3000);
  const append = async (type, fields) => // one at a time: each message follows the one before it
    (seq = (await js.publish(job.subject, JSON.stringify({ type, attempt, index: index++, ...fields }), { expect: { lastSubjectSequence: seq } })).seq);
  const end = (fields) => append("GenerationEnded", { ...base, terminated: false, ...fields, event_count: index + 1 }).then(() => m.ack());
  await append("GenerationStarted", { ...base, turn: job.turn, step: job.step, provider: route, model: job.route.split("/").slice(1).join("/"), worker }); // from now on the lane refuses older attempts
  if (starts.filter((s) => !released.has(s.attempt)).length >= (job.requests || 100)) return end({ finish: "error", error: { class: "internal", message: "too many workers died on this generation" } });
  try {
    for await (const piece of model(job, signal)) {
      if (piece.text) await append("TextChunk", { text: piece.text });
      if (piece.call) await append("ToolCallStart", { block: 1, call: (call = newId()), provider_id: piece.id, name: piece.call });
      if (piece.args) await append("ToolCallDelta", { block: 1, call, arguments: piece.args });
      finish ??= piece.finish;
    }
    error = finish ? undefined : { class: "cut", message: "the answer ended without its terminal event" };
  } catch (err) {
    if (err.code === 10071 || err.code === 10164 || !(signal.aborted || err.class)) throw err; // another worker has the generation, or the lane cannot be written
    error = signal.aborted ? { class: "cancelled", message: "the turn was stopped" } : err;
  }
  if (call) await append("ToolCallEnd", { block: 1, call, ...(!finish && { invalid: `the arguments are incomplete: ${error.message}` }) }); // half a call never runs
  if (signal.aborted && signal.reason !== "cancelled") return append("GenerationReleased", base).then(() => m.nak()); // for another worker
  return end(error ? { finish: error.class === "cancelled" ? "cancelled" : "error", error } : { finish, finish_word: finish, terminated: true });
}
while (!(queue = await jsm.consumers.info("JOBS", queueName).catch((err) => console.error(`queue ${queueName}: ${err.message}, it is requested`)))) // an orchestrator creates a missing one
  await pause(500, await nc.request(`queue.${queueName}`, "", { timeout: 5000 }).then((m) => console.error(m.string()), (err) => console.error(err.message)));
const announce = () => js.publish(key, JSON.stringify({ kind: "llm", name: route, worker, beat_ms: 1000, model: `${route}/one` })).catch(console.error);
const present = (await announce(), setInterval(announce, 1000)), jobs = js.consumers.getConsumerFromInfo(queue);
process.once("SIGTERM", () => leave.abort("stopped", clearInterval(present)));
while (!leaving.aborted) {
  const m = await jobs.next({ expires: 1000 }).catch(console.error), watch = [], beat = setInterval(() => m?.working(), queue.config.ack_wait / 3e6);
  if (m) await (leaving.aborted ? m.nak() : generate(m, leaving, watch).catch((err) => { console.error(m.subject, err); m.nak(4000); }));
  [clearInterval(beat), ...watch.map((s) => s.unsubscribe())];
}
await js.publish(key, "", { headers: MsgHdrsImpl.fromRecord({ "KV-Operation": ["DEL"] }) }).then(() => nc.drain());
