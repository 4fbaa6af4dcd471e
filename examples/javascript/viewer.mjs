// A viewer of a conversation that needs only a NATS client; docs/viewers.md explains it. It prints one JSON object per line for each event.
import { readFileSync } from "node:fs";
import { connect, nkeyAuthenticator } from "@nats-io/transport-node";
import { jetstream } from "@nats-io/jetstream";
const env = process.env, urls = (env.NATS_URL || "nats://127.0.0.1:4222").split(",").map((url) => new URL(url.includes("://") ? url : `nats://${url}`));
const [login, secret] = [urls[0].username, urls[0].password].map(decodeURIComponent), conversation = env.PARLEY_CONVERSATION;
const nc = await connect({ servers: urls.map((url) => url.host), name: "viewer", inboxPrefix: env.NATS_INBOX_PREFIX || "_INBOX_app", maxReconnectAttempts: -1, reconnectTimeWait: 250,
  user: env.NATS_USER || (secret && login), pass: env.NATS_PASSWORD || secret, token: env.NATS_TOKEN || (secret ? "" : login), // the client ignores those in a URL
  authenticator: env.NATS_NKEY && nkeyAuthenticator(Buffer.from(readFileSync(env.NATS_NKEY, "utf8").trim())), ...(env.NATS_CA && { tls: { caFile: env.NATS_CA } }) });
const jsm = await jetstream(nc, { checkAPI: false, apiPrefix: env.NATS_JS_API_PREFIX || "$JS.API" }).jetstreamManager();
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
const print = (line) => process.stdout.write(JSON.stringify(line) + "\n"), exit = (code) => process.stdout.write("", () => process.exit(code)), end = (code) => exit(code) && new Promise(() => {}); // after all lines are written; nothing more is read
const fnv1a = (text) => [...Buffer.from(text)].reduce((hash, byte) => Math.imul(hash ^ byte, 0x01000193) >>> 0, 0x811c9dc5);
const shard = fnv1a(conversation) % +(await jsm.streams.info("HISTORY")).config.metadata["parley.shards"], log = `CONV_${shard}`;
const epochOf = ({ config, created }) => config.metadata?.["parley.epoch"] ?? new Date(created).getTime().toString(36);
const [, fromSeq = 0, fromIndex = Infinity, fromEpoch] = (env.PARLEY_FROM ?? "").match(/^(\d+)(?:-(\d+))?(?:@(.+))?$/) ?? [], from = { seq: +fromSeq, index: +fromIndex };
let high = Math.max(from.seq - 1, 0), at = 0, given = false, busy = false, epoch = fromEpoch; // the last message read, when it was stored, whether it is past the cursor, whether a turn ran then
const expired = (message, resume) => (print({ error: { code: "cursor_expired", message, ...(resume && { resume }) } }), end(3));
async function whole() { // ends if the log is another one by now, or something of the conversation was removed before it was read
  const info = await jsm.streams.info(log), first = Math.max(info.state.first_seq, 1), last = info.state.last_seq, next = given || !from.seq ? high + 1 : from.seq + +(from.index === Infinity);
  if (epochOf(info) !== (epoch ??= epochOf(info)) || (!given && from.seq > last)) await expired("the cursor is of another log: begin without one");
  let lost = next < first && busy; // HISTORY has the facts; each names its place in the log
  if (next < first) for await (const m of all("HISTORY", `history.${shard}.${conversation}.>`)) lost ||= (([, seq]) => +seq > (given ? high : from.seq) && (!given && from.seq > 0 || +seq < first))(m.header.get("Nats-Stream-Source").split(" "));
  if (lost) await expired(`what follows ${env.PARLEY_FROM || "the beginning"} has expired`, `${first - 1}@${epoch}`);
  return last;
}
const attempts = new Map(); // which counts, of the answer and of each call
function mark(e) { // whether the event is of a superseded attempt, or supersedes one
  const lane = e.call && /^Tool(?!Call)/.test(e.type) ? e.call : "answer", before = attempts.get(lane), other = before && before !== e.attempt;
  if (e.events?.some(({ type }) => type === "TurnEnded" || type === "AssistantMessage")) attempts.delete("answer");
  if (!/^(Generation|Tool)Started$/.test(e.type)) return other && e.attempt ? { superseded: true } : {};
  return attempts.set(lane, e.attempt) && (other ? { supersedes: before } : {});
}
const split = (data) => new TextDecoder("utf-8", { fatal: true }).decode(data).split("\n").filter((line) => line.trim());
const parse = (line) => { const e = JSON.parse(line); if (!e?.type) throw new Error("an event has no type"); return e; };
async function show(seq, time, data) { // prints the events of a message, up to one that cannot be read
  let index = 0, seen = () => seq === from.seq && index <= from.index;
  try {
    let lines = split(data);
    if (lines.length === 1 && parse(lines[0]).type === "Claim") lines = split(await load(parse(lines[0]).object)); // the object store has what is too large
    for (lines.length || parse("null"); index < lines.length; index++) {
      const event = parse(lines[index]), marks = mark(event);
      if (!seen()) print({ cursor: `${seq}-${index}@${epoch}`, event, ...marks });
      if (event.type === "Decision") busy = /^(preparing|generating|calling|deleting)$/.test(event.state.phase);
      if (event.state?.phase === "deleted") await end(0);
    }
  } catch (err) {
    if (nc.isClosed() || err.name === "TimeoutError" || err.name === "NoRespondersError") throw err; // to be tried again
    if (!seen()) print({ cursor: `${seq}-${index}@${epoch}`, error: { code: "unreadable", message: err.message } });
  }
  [high, at, given] = [seq, time, true];
}
async function catchUp() { // prints what the log has behind the last message
  const last = await whole();
  for await (const m of all(log, `conv.${shard}.${conversation}.>`, high)) await show(m.seq, m.time.getTime(), m.data);
  await whole().then(() => ([high, given] = [Math.max(high, last), true]));
}
let queue = Promise.resolve(); // one after the other; what fails is tried again at the next message, reconnect or silence
const then = (step) => (queue = queue.then(step).catch((err) => console.error(err.message)));
const read = () => then(catchUp), timer = setInterval(read, 15_000); // a lost last message leaves no hole
nc.subscribe(`live.${shard}.${conversation}.>`, { callback: (_, m) => then(async () => { // first, so that nothing falls between the log and live
  const [seq, time] = [+m.headers.get("Nats-Sequence"), Date.parse(m.headers.get("Nats-Time-Stamp"))];
  if (seq <= high) return time > at && whole(); // the log had it; sequences go back in another log only
  if (seq !== high + 1 || !given) return catchUp(); // another conversation's came in between, or something was lost
  await show(seq, time, m.data);
}) });
process.once("SIGTERM", () => exit(0, clearInterval(timer)));
(async () => { for await (const s of nc.status()) if (s.type === "reconnect") read(); })();
await read();
