// Models, tools and hooks that this client serves, in a real deployment.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { pause, Stage, until } from "./stage.mjs";

let stage, client;
before(async () => {
  stage = await Stage.start();
  client = await stage.connect();
});
after(() => stage.stop());

const textOf = (m) => m.parts.filter((p) => p.kind === "text").map((p) => p.text).join("");
async function ended(v) {
  for await (const e of v.events()) if (e.body.type === "TurnEnded") return e.body;
}

/** A conversation whose turns are answered by a model that the test serves. */
async function conversation(route, more = {}) {
  const v = client.conversation();
  assert.equal((await v.settings({ route, ...more })).answer, "accepted");
  return v;
}

test("a model streams text, reasoning and calls, and a tool answers them", async () => {
  const jobs = [], output = [];
  const model = await client.serveModel("js/echo", async function* (job) {
    jobs.push(job);
    const last = job.messages.at(-1);
    if (last.role === "tool") {
      yield "The tool says ";
      yield textOf({ parts: last.parts.map((p) => ({ ...p, kind: "text" })) });
      yield { type: "GenerationEnded", finish: "stop", terminated: true, usage: { input_tokens: 3, output_tokens: 4 } };
      return;
    }
    yield { type: "ReasoningChunk", text: "It must be reversed." };
    yield "I turn it. ";
    yield { call: "turn_text", arguments: { text: textOf(last) } };
  });
  const tool = await client.serveTool({ name: "turn_text", description: "Reverses text.", effect: "pure", schema: { type: "object", properties: { text: { type: "string" } } } },
    ({ text }, { print }) => { print("turning\n"); return [...text].reverse().join(""); });
  const v = await conversation("js/echo");
  await v.send("abc");
  for await (const e of v.events()) {
    if (e.body.type === "ToolOutput") output.push(e.body.text);
    if (e.body.type === "TurnEnded") { assert.equal(e.body.outcome, "completed"); break; }
  }
  const { messages } = await v.view();
  assert.deepEqual(messages.map((m) => m.parts.map((p) => `${p.kind} ${p.text ?? p.arguments ?? ""}`)), [
    ["text abc"], ["reasoning It must be reversed.", "text I turn it. ", 'call {"text":"abc"}'], ["result cba"], ["text The tool says cba"]]);
  assert.deepEqual(output, ["turning\n"]);
  assert.equal(jobs.length, 2);
  assert.ok(jobs[0].tools.some((t) => t.name === "turn_text"));
  await tool.stop();
  await model.stop();
});

test("a model's error has its class, and a Cancel ends a generation", async () => {
  let aborted = false;
  const model = await client.serveModel("js2/slow", async function* (job, { signal }) {
    if (textOf(job.messages.at(-1)) === "fail") throw Object.assign(new Error("the key is not valid"), { class: "auth" });
    signal.addEventListener("abort", () => (aborted = true));
    for (let n = 0; ; n++) { yield `${n} `; await pause(20); }
  });
  const v = await conversation("js2/slow");
  await v.send("fail");
  const failed = await ended(v);
  assert.deepEqual([failed.outcome, failed.error.class, failed.error.message], ["failed", "auth", "the key is not valid"]);
  const w = await conversation("js2/slow"), { turn } = await w.send("count");
  await until(async () => (await w.view()).open?.parts[0]?.text.length > 10);
  assert.equal((await w.cancel({ turn })).answer, "accepted");
  await until(() => aborted);
  assert.equal((await ended(w)).outcome, "cancelled");
  await model.stop();
});

test("a worker that stops releases its generation, and another one starts it again at once", async () => {
  const answer = (name) => async function* () { for (let n = 0; n < (name === "first" ? 1000 : 3); n++) { yield `${name} `; await pause(20); } };
  const first = await client.serveModel("js3/m", answer("first"));
  const v = await conversation("js3/m");
  await v.send("go");
  await until(async () => (await v.view()).open?.parts[0]?.text.includes("first first"));
  const other = await stage.connect("ws"), second = await other.serveModel("js3/m", answer("second"));
  const began = Date.now();
  await first.stop();
  assert.equal((await ended(v)).outcome, "completed");
  assert.ok(Date.now() - began < 3000, `it took ${Date.now() - began} ms`);
  const { messages } = await v.view(), marks = [];
  assert.equal(textOf(messages[1]), "second second second ");
  for await (const e of v.events({ follow: false })) if (e.body.type === "GenerationStarted") marks.push(e.supersedes !== "");
  assert.deepEqual(marks, [false, true]);
  await second.stop();
});

test("a model that exceeds a ceiling is stopped", async () => {
  let pulled = 0;
  const model = await client.serveModel("js4/m", async function* () { for (;;) { pulled++; yield "x".repeat(1 << 20); await pause(1); } });
  const v = await conversation("js4/m");
  await v.send("go");
  const end = await ended(v);
  assert.equal(end.outcome, "failed");
  assert.equal(end.error.class, "ceiling");
  assert.ok(pulled < 100);
  await model.stop();
});

test("a tool asks a person, is tried again after an error that passes, and has long results", async () => {
  let tries = 0;
  const tools = await Promise.all([
    client.serveTool({ name: "ask_person", effect: "once", schema: { type: "object" } }, async (_, { ask }) => `They said ${JSON.stringify(await ask("Which colour?", { type: "object", properties: { colour: { type: "string" } } }))}`),
    client.serveTool({ name: "flaky", effect: "pure", schema: { type: "object" } }, () => { if (++tries < 3) throw Object.assign(new Error("busy"), { retryAfter: 10 }); return "x".repeat(300_000); }),
    client.serveTool({ name: "broken", effect: "pure", schema: { type: "object" } }, () => { throw new Error("the file is missing"); }),
  ]);
  const model = await client.serveModel("js5/m", async function* (job) {
    if (job.messages.at(-1).role === "user") for (const call of ["ask_person", "flaky", "broken"]) yield { call, arguments: {} };
    else yield "Done.";
  });
  const v = await conversation("js5/m", { policy: { rules: [{ action: "auto" }] } });
  await v.send("go");
  const w = await until(async () => (await v.waiting())[0]);
  assert.deepEqual([w.for, w.tool, w.arguments.message], ["answer", "ask_person", "Which colour?"]);
  assert.equal((await w.answer('{"colour":"blue"}')).answer, "accepted");
  assert.equal((await ended(v)).outcome, "completed");
  const results = (await v.view()).messages.filter((m) => m.role === "tool").map((m) => m.parts[0]);
  assert.equal(results[0].text, 'They said {"colour":"blue"}');
  assert.deepEqual([results[1].status, results[1].text.length, results[1].object.size], ["ok", 16384, 300_000]);
  assert.equal((await client.fetch(results[1].object)).length, 300_000);
  assert.deepEqual([results[2].status, results[2].text], ["failed", "the file is missing"]);
  assert.equal(tries, 3);
  await Promise.all([...tools, model].map((s) => s.stop()));
});

test("a worker runs as many calls at once as it has slots", async () => {
  let now = 0, most = 0;
  const tool = await client.serveTool({ name: "one_by_one", effect: "pure", schema: { type: "object" } }, async () => { most = Math.max(most, ++now); await pause(1500); now--; return "ok"; }, { slots: 1 });
  const model = await client.serveModel("js7/m", async function* (job) {
    if (job.messages.at(-1).role === "user") for (let n = 0; n < 3; n++) yield { call: "one_by_one", arguments: { n } };
    else yield "Done.";
  });
  const v = await conversation("js7/m");
  await v.send("go");
  assert.equal((await ended(v)).outcome, "completed");
  assert.equal(most, 1);
  await Promise.all([tool, model].map((s) => s.stop()));
});

test("hooks add to the system prompt, refuse turns, and learn how they ended", async () => {
  const systems = [], ends = [];
  const services = await Promise.all([
    client.serveHook("before", "profile", (call) => (textOf(call.message) === "secret" ? { refuse: "not that" } : { context: "The user is Ann." })),
    client.serveHook("after", "archive", (call) => { ends.push([call.ended.outcome, call.answer]); }),
    client.serveModel("js6/m", async function* (job) { systems.push(job.system); yield "Hello Ann."; }),
  ]);
  const v = await conversation("js6/m", { system: "Be kind.", hooks: [{ name: "profile", when: "before" }, { name: "archive", when: "after" }] });
  await v.send("hi");
  assert.equal((await ended(v)).outcome, "completed");
  assert.match(systems[0], /Be kind\.[^]*The user is Ann\./);
  await until(() => ends.length === 1);
  assert.deepEqual(ends[0], ["completed", "Hello Ann."]);
  const w = await conversation("js6/m", { hooks: [{ name: "profile", when: "before" }] });
  await w.send("secret");
  const end = await ended(w);
  assert.equal(end.outcome, "failed");
  assert.match(JSON.stringify(end), /not that/);
  await Promise.all(services.map((s) => s.stop()));
});

test("a tool that another worker serves otherwise is not served", async () => {
  const spec = { name: "contested", effect: "pure", schema: { type: "object" } }, log = [];
  const one = await client.serveTool(spec, () => "one");
  const other = await stage.connect("tcp", { log: (text) => log.push(text) });
  const two = await other.serveTool({ ...spec, schema: { type: "object", required: ["x"] } }, () => "two");
  assert.ok(log.some((l) => /contested is not served/.test(l)), log.join("\n"));
  await two.stop();
  await one.stop();
});
