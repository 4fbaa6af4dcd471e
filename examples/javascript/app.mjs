// An app that speaks and decides for a person and needs only a NATS client; docs/apps.md explains it. It reads a command from each line, and prints what became of it.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { connect, nkeyAuthenticator } from "@nats-io/transport-node";
import { jetstream } from "@nats-io/jetstream";
const env = process.env, urls = (env.NATS_URL || "nats://127.0.0.1:4222").split(",").map((url) => new URL(url.includes("://") ? url : `nats://${url}`));
const [login, secret] = [urls[0].username, urls[0].password].map(decodeURIComponent), conversation = env.PARLEY_CONVERSATION;
const nc = await connect({ servers: urls.map((url) => url.host), name: "app", inboxPrefix: env.NATS_INBOX_PREFIX || "_INBOX_app", maxReconnectAttempts: -1, reconnectTimeWait: 250,
  user: env.NATS_USER || (secret && login), pass: env.NATS_PASSWORD || secret, token: env.NATS_TOKEN || (secret ? "" : login), // the client ignores those in a URL
  authenticator: env.NATS_NKEY && nkeyAuthenticator(Buffer.from(readFileSync(env.NATS_NKEY, "utf8").trim())), ...(env.NATS_CA && { tls: { caFile: env.NATS_CA } }) });
const js = jetstream(nc, { checkAPI: false, apiPrefix: env.NATS_JS_API_PREFIX || "$JS.API", timeout: 2000 }), jsm = await js.jetstreamManager();
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
const fnv1a = (text) => [...Buffer.from(text)].reduce((hash, byte) => Math.imul(hash ^ byte, 0x01000193) >>> 0, 0x811c9dc5);
const shard = fnv1a(conversation) % +(await jsm.streams.info("HISTORY")).config.metadata["parley.shards"], log = `CONV_${shard}`, of = `conv.${shard}.${conversation}.`;
const newId = () => Date.now().toString(16).padStart(12, "0").replace(/(.{8})/, "$1-") + "-7" + crypto.randomUUID().slice(15); // a UUIDv7
async function again(step) { // until it works: an answer may have been lost, and what is published again has the same id
  for (let failed; ; console.error(failed.message), await pause(250))
    try { return await step(); } catch (err) { if ([10071, 10164].includes((failed = err).code)) throw err; } // the lane has moved
}
async function decision(m) { // a message of the orchestrator; null if it is none, or cannot be read
  try {
    const e = JSON.parse(m.string());
    return e.type === "Claim" && e.of === "Decision" ? JSON.parse(Buffer.from(await load(e.object)).toString()) : e.type === "Decision" ? e : null; // the object store has what is too large
  } catch (err) {
    if (err instanceof SyntaxError || /object/.test(err.message)) return null;
    throw err;
  }
}
async function decisions() { // those of the conversation, in order
  const found = []; // HISTORY has what is no longer in the log
  for (const [stream, subject] of [["HISTORY", of.replace("conv", "history")], [log, of]]) for await (const m of all(stream, subject + "turn")) found.push(await decision(m));
  return found.filter(Boolean);
}
async function submit(type, fields) { // publishes an input and waits for its own answer
  const id = newId(), { seq } = await again(() => js.publish(of + "in", JSON.stringify({ type, id, ...fields }), { msgID: `${conversation}/${id}` }));
  for (let after = seq; ; await pause(100)) // asks again and again, also across a lost connection; a viewer follows live.<shard>.<conversation>.turn
    for (let m; (m = await again(() => get(log, { seq: after + 1, next_by_subj: of + "turn" }))); after = m.seq) {
      const answered = (await again(() => decision(m)))?.events.find((e) => e.type === "InputAnswered" && e.input === id);
      if (answered) return { answered };
    }
}
async function waiting(is) { // what waits, as the last Paused shows it: a verdict names its digest
  return (await again(decisions)).flatMap((d) => d.events.filter((e) => e.type === "Paused").flatMap((e) => e.awaiting)).findLast(is) ?? {};
}
const verdict = async (verdict, { call, digest }, fields = {}) => submit("Verdict", { verdict, ...fields, calls: [{ call, digest: digest ?? (await waiting((a) => a.call === call)).digest ?? "" }] });
const commands = {
  send: ({ text }) => submit("UserMessage", { text }),
  settings: ({ settings }) => submit("Settings", settings),
  approve: (c) => verdict("approve", c),
  deny: (c) => verdict("reject", c, { reason: c.reason }),
  cancel: async () => submit("Cancel", { turn: (await again(decisions)).at(-1)?.state.turn }), // one that names no turn may stop a later one
  async answer({ question, content }) {
    const asked = await waiting((a) => a.question === question);
    if (asked.arguments?.key) return { error: { code: "secret", message: "the answer must be sealed for the question's key, which this example cannot: see docs/people.md" } };
    return submit("Verdict", { verdict: "answer", calls: [{ call: asked.call, digest: asked.digest, content: JSON.stringify(content) }] });
  },
  result: ({ call, content }) => again(() => js.publish(`${of}call.${call}`, JSON.stringify({ type: "ToolResult", call, status: "ok", content }), { expect: { lastSubjectSequence: 0 } })) // the lane is empty
    .then(() => true, () => false).then((accepted) => ({ result: { call, accepted } })),
};
process.once("SIGTERM", () => process.stdout.write("", () => process.exit(0)));
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  const result = await (commands[command.do]?.(command) ?? { error: { code: "unknown", message: `there is no command ${command.do}` } });
  process.stdout.write(JSON.stringify(result) + "\n");
}
