// Conversations of a real deployment, over TCP and over a WebSocket.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, before, test } from "node:test";
import { CursorExpired, digest, newID, parseCursor, rawAt } from "../dist/node.js";
import { parley, pause, Stage, stopped, until } from "./stage.mjs";

let stage;
before(async () => {
  stage = await Stage.start({ rules: 'policy:\n  rules:\n    - { tool: send_mail, action: approve }\n' });
});
after(() => stage.stop());

/** An event as text that does not change from one reading to another: the cursor of one in a Decision is that before it. */
const line = (e) => `${e.decided ? "" : e.cursor} ${e.channel} ${e.call} ${e.body.type} ${e.decided} ${e.superseded} ${e.raw}`;

async function all(iterator, until) {
  const events = [];
  for await (const e of iterator) {
    events.push(e);
    if (until?.(e)) break;
  }
  return events;
}

for (const transport of ["tcp", "ws"]) {
  test(`${transport}: a turn is followed from the beginning, from every cursor, and live`, async () => {
    const c = await stage.connect(transport), v = c.conversation();
    const live = all(v.events(), (e) => e.body.type === "Decision" && e.body.state.phase === "idle");
    const answer = await v.send("something long");
    assert.equal(answer.answer, "accepted");
    const seen = await live, log = await all(v.events({ follow: false }));
    assert.deepEqual(seen.map(line), log.map(line));
    assert.ok(seen.filter((e) => e.live).length > 100, "most of it came live");
    const text = log.filter((e) => e.body.type === "TextChunk").map((e) => e.body.text).join("");
    assert.match(text, /^w0 w1 .* w199$/);
    for (const i of [0, 5, 50, log.length - 1]) {
      if (log[i].decided) continue; // its cursor is that before the Decision
      const rest = await all(v.events({ from: log[i].cursor, follow: false }));
      assert.deepEqual(rest.map(line), log.slice(i + 1).map(line), `from ${log[i].cursor}`);
    }
  });

  test(`${transport}: watch yields views that grow and agree with the command line`, async () => {
    const c = await stage.connect(transport), v = c.conversation();
    await v.send("something long");
    let last, open = 0;
    for await (const view of v.watch()) {
      if (view.open?.parts[0]) open = Math.max(open, view.open.parts[0].text.length);
      last = view;
      if (view.turns === 1 && view.phase === "idle") break;
    }
    assert.ok(open > 20, `the open answer had ${open} characters at most`);
    assert.equal(last.open, null);
    const shown = JSON.parse(execFileSync(parley(), ["show", v.id, "-o", "json", "--nats", stage.url], { encoding: "utf8" }));
    assert.deepEqual(last.messages, shown.messages);
    assert.deepEqual((await v.view()).messages, last.messages);
    assert.deepEqual(last.messages.map((m) => m.role), ["user", "assistant"]);
  });
}

test("an input is the same by its id, and answered again", async () => {
  const c = await stage.connect(), v = c.conversation(), id = newID();
  const [a, b] = await Promise.all([v.send({ id, text: "hello" }), v.send({ id, text: "hello" })]);
  assert.equal(a.input, id);
  assert.equal(b.input, id);
  await until(async () => (await v.view()).phase === "idle");
  await pause(150); // the server drops what comes twice within 100 ms
  const again = await v.send({ id, text: "hello" });
  assert.equal(again.answer, "already_ended");
  assert.equal((await v.view()).turns, 1);
});

test("settings are merged, and what is wrong with them is answered", async () => {
  const c = await stage.connect(), v = c.conversation();
  assert.equal((await v.settings({ system: "Be brief.", limits: { steps: 3 }, parameters: { temperature: 0.5 } })).answer, "accepted");
  assert.equal((await v.settings({ system: null, limits: { tokens: 1000 } })).answer, "accepted");
  const { settings } = await v.view();
  assert.deepEqual([settings.system, settings.limits, settings.parameters], [undefined, { steps: 3, tokens: 1000 }, { temperature: 0.5 }]);
  const bad = await v.settings({ limits: { steps: "three" } });
  assert.equal(bad.answer, "invalid");
  assert.match(bad.reason, /steps/);
});

test("a turn is cancelled, and a conversation deleted", async () => {
  const c = await stage.connect(), v = c.conversation();
  const { turn } = await v.send("something slow");
  assert.equal((await v.cancel({ turn })).answer, "accepted");
  assert.equal((await v.cancel({ turn })).answer, "already_ended");
  const ended = await all(v.events(), (e) => e.body.type === "TurnEnded");
  assert.equal(ended.at(-1).body.outcome, "cancelled");
  const watching = assert.rejects(all(v.watch()), { code: "deleted" });
  assert.equal((await v.delete({ reason: "a test" })).answer, "accepted");
  await watching;
  assert.equal((await v.delete()).answer, "deleted");
  assert.equal((await v.send("hello")).answer, "deleted");
});

test("a message that arrives during a turn is queued, and told so", async () => {
  const c = await stage.connect(), v = c.conversation();
  await v.send("something slow");
  const second = await v.send("hello");
  assert.equal(second.answer, "queued");
  assert.deepEqual((await v.view()).queue, [second.input]);
  const images = await v.send({ text: "", arrival: "refuse" });
  assert.equal(images.answer, "invalid"); // it is empty
});

test("a call waits for a person, who sees its arguments as they were written", async () => {
  const c = await stage.connect(), v = c.conversation(), ran = [];
  const service = await c.serveTool({ name: "send_mail", description: "Sends mail.", effect: "once", schema: { type: "object" } }, (args) => { ran.push(args); return "sent"; });
  await v.send("a mail");
  const paused = (await all(v.events(), (e) => e.body.type === "Paused")).at(-1);
  const raw = rawAt(paused.raw, "awaiting", 0, "arguments");
  assert.equal(raw, '{"to":"ann","amount":1.50,"name":"caf\\u00e9"}');
  assert.equal(await digest(raw), paused.body.awaiting[0].digest);
  const everywhere = await c.waiting();
  const [w] = everywhere.filter((w) => w.conversation === v.id);
  assert.deepEqual([w.for, w.tool, w.digest], ["approval", "send_mail", paused.body.awaiting[0].digest]);
  assert.ok(Date.now() - w.since.getTime() < 60_000);
  const wrong = await v.verdict({ verdict: "approve", calls: [{ call: w.call, digest: await digest('{"to":"ann"}') }] });
  assert.equal(wrong.answer, "arguments_changed");
  assert.equal((await w.approve({ from: "ann" })).answer, "accepted");
  await until(async () => (await v.view()).phase === "idle");
  assert.deepEqual(ran, [{ to: "ann", amount: 1.5, name: "café" }]);
  assert.deepEqual(await v.waiting(), []);
  assert.equal((await w.reject()).answer, "already_decided");
  assert.deepEqual((await v.view()).messages.map((m) => m.parts.map((p) => p.text).join("|")), ["a mail", "I write it.|", "sent", "It is sent."]);
  await service.stop();
});

test("a large message is stored as an object, and read again", async () => {
  const c = await stage.connect(), v = c.conversation(), text = "x".repeat(1 << 20);
  assert.equal((await v.send(text)).answer, "accepted");
  const [first] = await all(v.events(), () => true);
  assert.equal(first.body.type, "UserMessage");
  assert.equal(first.body.text, text);
});

test("cursors of another log, and errors of use", async () => {
  const c = await stage.connect(), v = c.conversation();
  await v.send("hello");
  await assert.rejects(all(v.events({ from: "1@other" })), (err) => err instanceof CursorExpired && err.otherLog && err.resume === "");
  await assert.rejects(all(v.events({ from: "99999999" })), { code: "cursor_expired", otherLog: true });
  await assert.rejects(all(v.events({ from: "x" })), { code: "invalid" });
  assert.throws(() => c.conversation("not-an-id"), { code: "invalid" });
  await assert.rejects(c.conversation().send({ id: "x", text: "hello" }), { code: "invalid" });
  const stop = new AbortController();
  setTimeout(() => stop.abort(new Error("enough")), 50);
  await assert.rejects(all(v.events({ signal: stop.signal })), { message: "enough" });
});

test("what has expired is an error that says where to resume", async () => {
  const c = await stage.connect(), v = c.conversation();
  await v.send("hello");
  await until(async () => (await v.view()).phase === "idle");
  const log = await all(v.events({ follow: false })), end = parseCursor(log.at(-1).cursor);
  const { connect } = await import("@nats-io/transport-node");
  const nc = await connect({ servers: stage.url });
  await nc.request("$JS.API.STREAM.PURGE.CONV_0", JSON.stringify({ seq: end.sequence }), { timeout: 5000 }); // as if it had expired
  await nc.close();
  await assert.rejects(all(v.events({ follow: false })), (err) => err instanceof CursorExpired && !err.otherLog && parseCursor(err.resume).sequence === end.sequence - 1);
  const rest = await all(v.events({ remaining: true, follow: false }));
  assert.deepEqual(rest.filter((e) => !e.decided).map((e) => e.cursor), [log.at(-1).cursor]);
  assert.equal((await v.view()).messages.length, 2, "HISTORY has it");
});

test("without an orchestrator an input is stored, and waits for its answer", async () => {
  const lone = await Stage.start();
  try {
    const c = await lone.connect(), v = c.conversation(), id = newID();
    await stopped(lone.parley, "SIGKILL");
    await assert.rejects(v.send({ id, text: "hello" }, { timeout: 500 }), { code: "no_answer" });
    const answer = v.send({ id, text: "hello" }, { timeout: 30_000 });
    await lone.startParley();
    assert.equal((await answer).input, id);
    assert.equal((await v.view()).turns, 1);
  } finally {
    await lone.stop();
  }
});
