// A program that answers a hook of Parley's turns and needs only a NATS client; docs/apps.md explains it. It adds to the system prompt, or refuses the turn.
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { connect, nkeyAuthenticator } from "@nats-io/transport-node";
import { jetstream } from "@nats-io/jetstream";
async function answer({ message, ended }) { // put your app here; a repeated call must get the same answer: use its turn as the key of effects
  const text = message?.parts?.map((p) => p.text ?? "").join(" ") ?? ended?.outcome ?? "", [, ms] = text.match(/^pause (\d+)/) ?? [];
  if (ms) await pause(+ms); // to try what happens meanwhile
  return text.startsWith("refuse") ? { refuse: "the message asks for it" } : { context: `The message is: ${text.slice(0, 1000)}` };
}
const env = process.env, urls = (env.NATS_URL || "nats://127.0.0.1:4222").split(",").map((url) => new URL(url.includes("://") ? url : `nats://${url}`));
const [login, secret] = [urls[0].username, urls[0].password].map(decodeURIComponent), when = env.PARLEY_HOOK_WHEN || "before", hook = env.PARLEY_HOOK || "memory";
const nc = await connect({ servers: urls.map((url) => url.host), name: `hook ${hook}`, inboxPrefix: env.NATS_INBOX_PREFIX || "_INBOX_app", maxReconnectAttempts: -1, reconnectTimeWait: 250,
  user: env.NATS_USER || (secret && login), pass: env.NATS_PASSWORD || secret, token: env.NATS_TOKEN || (secret ? "" : login), // the client ignores those in a URL
  authenticator: env.NATS_NKEY && nkeyAuthenticator(Buffer.from(readFileSync(env.NATS_NKEY, "utf8").trim())), ...(env.NATS_CA && { tls: { caFile: env.NATS_CA } }) });
const jsm = await jetstream(nc, { checkAPI: false, apiPrefix: env.NATS_JS_API_PREFIX || "$JS.API" }).jetstreamManager();
async function* all(stream, subject, seq = 0) { // the messages of a subject, in order, from the stream's leader
  for (let m; (m = await jsm.streams.getMessage(stream, { seq: seq + 1, next_by_subj: subject })); seq = m.seq) yield m;
}
async function load({ name, size, sha256 }) { // an object; the first description whose content has the digest counts: others may be forged
  for await (const m of all("OBJ_PARLEY_OBJECTS", "$O.PARLEY_OBJECTS.M." + Buffer.from(name).toString("base64").replaceAll("+", "-").replaceAll("/", "_"))) {
    let [, id] = m.string().match(/"nuid": *"(\w+)"/) ?? [], left = size, chunks = [];
    for await (const { data } of all("OBJ_PARLEY_OBJECTS", `$O.PARLEY_OBJECTS.C.${id}`)) if (chunks.push(data) && (left -= data.length) <= 0) break;
    if (Buffer.from(await crypto.subtle.digest("SHA-256", Buffer.concat(chunks))).toString("hex") === sha256) return Buffer.concat(chunks);
  }
  throw new Error(`object ${name} is missing, or is not what was stored`);
}
async function respond(m) {
  const began = Date.now(), request = JSON.parse(m.string()), call = request.type === "Claim" ? JSON.parse(await load(request.object)) : request; // the object store has what is too large
  if (call.type !== "HookCall") throw new Error(`a ${call.type} is no HookCall`);
  const { turn, timeout_ms } = call, reply = await answer(call).catch((err) => ({ error: err.message }));
  if (Date.now() - began < timeout_ms) m.respond(JSON.stringify({ type: "HookAnswered", turn, when, hook, ...reply })); // later nobody waits for it
}
const running = new Set();
const sub = nc.subscribe(`hooks.${when}.${hook}`, { queue: "hooks", callback: (_, m) => { // the queue group shares the calls between the processes of an app
  const one = respond(m).catch((err) => console.error(err.message)).finally(() => running.delete(one));
  running.add(one);
} });
process.once("SIGTERM", async () => {
  await sub.drain(); // no more calls
  await Promise.all(running);
  await nc.drain();
});
