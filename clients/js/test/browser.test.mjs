// The client in headless Chromium, over a WebSocket. CHROMIUM names the browser; without one
// on the machine there is nothing to test.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createServer } from "node:http";
import { after, test } from "node:test";
import { build } from "esbuild";
import puppeteer from "puppeteer-core";
import { Stage, until } from "./stage.mjs";

const chromium = process.env.CHROMIUM || ["chromium", "chromium-browser", "google-chrome"].map((name) => {
  try { return execFileSync("which", [name], { encoding: "utf8" }).trim(); } catch { return ""; }
}).find(Boolean);

const page = `
import { connect } from "@parleybus/client";
window.run = async (url, text) => {
  const client = await connect({ url }), v = client.conversation();
  const events = (async () => { const all = []; for await (const e of v.events()) { if (!e.decided) all.push([e.cursor, e.body.type]); if (e.body.state?.phase === "idle") return all; } })();
  const answer = await v.send(text);
  let last, longest = 0;
  for await (const view of v.watch()) {
    last = view;
    longest = Math.max(longest, view.open?.parts[0]?.text.length ?? 0);
    if (view.turns === 1 && view.phase === "idle") break;
  }
  window.client = client;
  window.follow = async () => { window.texts = ""; for await (const e of v.events({ from: last.cursor })) if (e.body.type === "TextChunk") window.texts += e.body.text; };
  return { id: v.id, answer, view: last, longest, events: await events };
};
`;

test("the client runs in a browser", { skip: chromium ? false : "there is no Chromium" }, async () => {
  let stage, browser, http;
  after(async () => { await browser?.close(); http?.close(); await stage?.stop(); });
  const bundle = await build({ stdin: { contents: page, resolveDir: new URL("..", import.meta.url).pathname }, bundle: true, format: "esm", platform: "browser", write: false, metafile: true });
  assert.deepEqual(Object.keys(bundle.metafile.inputs).filter((f) => /transport-node|node:/.test(f)), [], "nothing of Node is in the bundle");
  stage = await Stage.start();
  http = createServer((q, r) => { r.setHeader("content-type", q.url === "/page.js" ? "text/javascript" : "text/html"); r.end(q.url === "/page.js" ? bundle.outputFiles[0].text : '<!doctype html><script type="module" src="/page.js"></script>'); });
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  browser = await puppeteer.launch({ executablePath: chromium, headless: true, args: ["--no-sandbox", "--disable-gpu"] });
  const tab = await browser.newPage(), errors = [];
  tab.on("pageerror", (err) => errors.push(err.message));
  await tab.goto(`http://127.0.0.1:${http.address().port}/`);
  await tab.waitForFunction("window.run");
  const got = await tab.evaluate((url) => window.run(url, "something slow"), stage.wsURL);
  assert.equal(got.answer.answer, "accepted");
  assert.ok(got.longest > 100, "the answer was watched while it came");
  const client = await stage.connect(), v = client.conversation(got.id);
  assert.deepEqual(got.view.messages, (await v.view()).messages);
  const log = [];
  for await (const e of v.events({ follow: false })) if (!e.decided) log.push([e.cursor, e.body.type]);
  assert.deepEqual(got.events, log);

  // It goes on after a restart of the server.
  await tab.evaluate(() => { window.follow(); });
  await stage.restartServer();
  await until(async () => (await v.send("hello again").catch(() => undefined))?.answer);
  await until(() => tab.evaluate(() => window.texts?.includes("Hello there.")));
  assert.deepEqual(errors, []);
  await tab.evaluate(() => window.client.close());
});
