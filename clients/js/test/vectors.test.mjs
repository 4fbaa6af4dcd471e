// The test vectors of the repository: this client agrees with Parley's own code on all.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { compact, decodeFrame, digest, Fold, formatCursor, parseCursor, shardOf } from "../dist/core.js";

const dir = new URL("../../../schemas/vectors/", import.meta.url);
const read = (name) => JSON.parse(readFileSync(new URL(name, dir), "utf8"));
const payload = (e) => (e.data_base64 === undefined ? Buffer.from(e.data, "utf8") : Buffer.from(e.data_base64, "base64"));

test("shards", () => {
  for (const v of read("shards.json")) assert.equal(shardOf(v.conversation, v.shards), v.shard, `${v.conversation} of ${v.shards}`);
});

test("digests", async () => {
  for (const v of read("digests.json")) {
    assert.equal(await digest(v.arguments), v.digest, v.name);
    if (v.arguments.trim() && v.arguments.trim() !== "null") assert.equal(compact(v.arguments), v.compact, v.name);
  }
});

test("cursors", () => {
  for (const v of read("cursors.json")) {
    if (!v.valid) {
      assert.throws(() => parseCursor(v.text), { code: "invalid" }, v.text);
      continue;
    }
    const p = parseCursor(v.text);
    assert.deepEqual([p.index, p.epoch], [v.index ?? Infinity, v.epoch ?? ""], v.text);
    if (!Number.isSafeInteger(+v.sequence)) continue; // no server has so many messages
    assert.equal(p.sequence, +v.sequence, v.text);
    assert.equal(formatCursor(p), v.canonical ?? v.text);
  }
});

test("frames", () => {
  for (const v of read("frames.json")) {
    const f = decodeFrame(payload(v));
    assert.deepEqual(f.lines.map((l) => l.event.type), v.types, v.name);
    assert.equal(f.bad !== undefined, v.bad, `${v.name}: ${f.bad?.message}`);
    assert.deepEqual(f.lines.filter((l) => l.event.type === "TextChunk").map((l) => l.event.text), v.texts ?? [], v.name);
  }
});

const files = ["folds.json", ...(existsSync(new URL("logs/", dir)) ? readdirSync(new URL("logs/", dir)).map((f) => `logs/${f}`) : [])];
for (const file of files) {
  for (const v of [read(file)].flat()) {
    test(`fold ${file}: ${v.name}`, () => {
      const f = new Fold();
      for (const m of v.log) f.apply({ channel: m.channel, call: m.call ?? "", sequence: m.sequence, id: m.id, frame: decodeFrame(payload(m)) });
      f.drain();
      const pick = ({ call, tool, status, waits }) => ({ call, tool, ...(status && { status }), ...(waits && { waits }) });
      const open = f.generation && f.open ? f.open : null;
      const got = JSON.parse(JSON.stringify({
        phase: f.phase, turn: f.turn, turns: f.turns, generation: f.generation, messages: f.messages(), open: open ? open.message() : null, ended: Boolean(open?.ended), failed: Boolean(open?.ended?.error),
        calls: f.calls.map(pick), settings: f.settings, queue: f.queue, inputs: f.inputs.map((i) => i.id), deleted: f.deleted !== undefined, usage: f.usage }));
      for (const field of Object.keys(v.view)) assert.deepEqual(got[field], v.view[field], `${v.name}: ${field}. ${v.says ?? ""}`);
    });
  }
}
