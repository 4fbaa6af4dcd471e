// Kills the client 30 times and the server 5 times while a conversation runs, over TCP and
// over a WebSocket, and compares what the client saw with the log: npm run survive.
import { fork } from "node:child_process";
import { createHash } from "node:crypto";
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { connect as nats } from "@nats-io/transport-node";
import { WebSocket } from "ws";

const clientKills = Number(process.env.CLIENT_KILLS ?? 30), serverKills = Number(process.env.SERVER_KILLS ?? 5);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const hash = (text) => createHash("sha256").update(text).digest("hex").slice(0, 16);
const lines = (file) => (existsSync(file) ? readFileSync(file, "utf8").split("\n").slice(0, -1) : []); // the last one may be cut

// The client: it notes each event behind the ones before, resumes behind the last one, and
// sends a message whenever a turn has ended, under an id that it notes first.
async function client(dir, url, id) {
  const { connect, newID } = await import("../dist/node.js");
  const events = join(dir, "events"), inputs = join(dir, "inputs");
  const c = await connect({ servers: url, webSocket: WebSocket }), v = c.conversation(id);
  const send = async (input) => {
    const answer = await v.send({ id: input, text: "something long" }, { timeout: 60_000 });
    appendFileSync(inputs, `answered ${input} ${answer.answer}\n`);
  };
  const sent = lines(inputs).map((l) => l.split(" ")), open = sent.filter(([what, i]) => what === "sends" && !sent.some(([w, j]) => w === "answered" && j === i)).map(([, i]) => i);
  const next = () => {
    const input = newID();
    appendFileSync(inputs, `sends ${input}\n`);
    void send(input);
  };
  for (const input of open) void send(input);
  if (sent.length === 0) next();
  writeFileSync(events, lines(events).map((l) => l + "\n").join("")); // without a line that was cut
  let decided = [];
  for await (const e of v.events({ from: lines(events).at(-1)?.split(" ")[0] })) {
    if (e.error) throw e.error;
    if (e.decided) { decided.push(e.body.type); continue; } // they come with their Decision
    appendFileSync(events, `${e.cursor} ${hash(e.raw)} ${decided.length} ${e.live ? "live" : "log"}\n`);
    if (decided.includes("TurnEnded")) next();
    decided = [];
  }
}

// The log as it is: message by message from the stream, without this client's code.
async function log(url, id) {
  const nc = await nats({ servers: url }), all = [], inputs = new Map();
  const ask = async (subject, body) => JSON.parse((await nc.request(subject, JSON.stringify(body), { timeout: 5000 })).string());
  for (let seq = 1; ; ) {
    const { message, error } = await ask("$JS.API.STREAM.MSG.GET.CONV_0", { seq, next_by_subj: `conv.0.${id}.>` });
    if (error) break;
    for (const [i, line] of Buffer.from(message.data, "base64").toString("utf8").split("\n").entries()) {
      const e = JSON.parse(line);
      all.push(`${message.seq}-${i} ${hash(line)} ${e.type === "Decision" ? e.events.length : 0}`);
      for (const d of e.events?.filter?.((d) => d.type === "TurnStarted") ?? []) for (const input of d.inputs) inputs.set(input, (inputs.get(input) ?? 0) + 1);
    }
    seq = message.seq + 1;
  }
  await nc.close();
  return { all, inputs };
}

async function run(transport) {
  const { Stage, stopped } = await import("../test/stage.mjs");
  const { newID } = await import("../dist/node.js");
  const stage = await Stage.start(), id = newID(), dir = stage.dir, events = join(dir, "events");
  const begin = () => fork(fileURLToPath(import.meta.url), ["client", dir, transport === "tcp" ? stage.url : stage.wsURL, id], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  let child = begin(), killed = 0, servers = 0, crashed = 0;
  const watch = () => child.once("exit", (code) => { if (code) crashed++; });
  watch();
  try {
    while (killed < clientKills || servers < serverKills) {
      const before = lines(events).length;
      for (let n = 0; lines(events).length <= before + 20 && n < 3000; n++) await pause(10); // it gets on
      await pause(Math.random() * 400);
      if (servers < serverKills && servers * clientKills <= killed * serverKills) {
        await stage.restartServer();
        servers++;
        continue; // the client lives on, and is not killed before it has got on
      }
      if (killed < clientKills) {
        await stopped(child, "SIGKILL");
        killed++;
        child = begin();
        watch();
      }
    }
    const until = lines(events).length + 300;
    for (let n = 0; lines(events).length < until && n < 2000; n++) await pause(20);
    await stopped(child, "SIGKILL");
    const saw = lines(events).map((l) => l.split(" ")), live = saw.filter((s) => s[3] === "live").length;
    const got = saw.map(([cursor, h, n]) => `${cursor.split("@")[0]} ${h} ${n}`), end = got.at(-1);
    const { all, inputs } = await log(stage.url, id), want = all.slice(0, all.indexOf(end) + 1);
    const doubled = got.length - new Set(got).size, missing = want.filter((l) => !new Set(got).has(l)).length, strange = got.filter((l) => !new Set(want).has(l)).length;
    const order = new Map(want.map((l, i) => [l, i])), inverted = got.filter((l, i) => i > 0 && order.get(l) < order.get(got[i - 1])).length;
    const answered = lines(join(dir, "inputs")).filter((l) => l.startsWith("answered")).map((l) => l.split(" ")[1]);
    const once = answered.filter((i) => inputs.get(i) === 1).length;
    console.log(`${transport}: ${killed} kills of the client, ${servers} of the server; ${got.length} events (${live} live), ${doubled} doubled, ${missing} missing, ${strange} not in the log, ${inverted} out of order; ` +
      `${answered.length} inputs answered, ${once} in exactly one turn; ${crashed} crashes of the client`);
    return doubled + missing + strange + inverted + crashed === 0 && once === answered.length && got.length > 300 && want.length === got.length && killed === clientKills && servers === serverKills;
  } finally {
    await stopped(child, "SIGKILL");
    await stage.stop();
  }
}

if (process.argv[2] === "client") {
  await client(...process.argv.slice(3));
} else {
  let good = true;
  for (const transport of process.argv[2] ? [process.argv[2]] : ["tcp", "ws"]) good = (await run(transport)) && good;
  process.exitCode = good ? 0 : 1;
}
