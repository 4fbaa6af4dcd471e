// The examples of the README run and print what it says, and the package has what it needs.
import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { Stage } from "./stage.mjs";

const home = new URL("..", import.meta.url).pathname, run = promisify(execFile);
const examples = [...readFileSync(join(home, "README.md"), "utf8").matchAll(/^## (.+)\n\n```js\n([^]+?)```\n```text\n([^]+?)```/gm)];
let stage, dir;
before(async () => {
  stage = await Stage.start({ rules: "policy:\n  rules:\n    - { tool: send_mail, action: approve }\n" });
  dir = mkdtempSync(join(home, "test", "readme-"));
});
after(async () => {
  rmSync(dir, { recursive: true, force: true });
  await stage.stop();
});

test("there are five examples", () => assert.equal(examples.length, 5));
for (const [, title, code, expected] of examples) {
  test(`the example "${title}"`, async () => {
    const file = join(dir, `${title.replace(/\W+/g, "-")}.mjs`);
    writeFileSync(file, code);
    const { stdout } = await run(process.execPath, [file], { env: { ...process.env, NATS_URL: stage.url }, timeout: 30_000 });
    assert.equal(stdout.trim(), expected.trim());
  });
}

test("the types are those of the schemas", () => {
  execFileSync(process.execPath, [join(home, "scripts/generate.mjs")], { env: { ...process.env, OUT: dir } });
  for (const file of ["types.ts", "shapes.ts"]) assert.equal(readFileSync(join(home, "src", file), "utf8"), readFileSync(join(dir, file), "utf8"), `${file}: npm run generate`);
});

test("the client has under 1,500 lines of code, without what serves workers, and its own dependencies", () => {
  const code = (text) => text.split("\n").filter((l) => l.trim() && !/^\s*(\/\/|\/?\*)/.test(l)).length, of = (dir) => readdirSync(join(home, dir)).filter((f) => f.endsWith(".ts") && !/^(types|shapes)\.ts$/.test(f));
  const count = (dir) => of(dir).reduce((n, f) => n + code(readFileSync(join(home, dir, f), "utf8")), 0);
  assert.ok(count("src") < 1500, `${count("src")} lines`);
  assert.ok(count("src/serve") < 600, `${count("src/serve")} lines`);
  assert.deepEqual(Object.keys(JSON.parse(readFileSync(join(home, "package.json"), "utf8")).dependencies).filter((d) => !d.startsWith("@nats-io/")), []);
});

test("the package has the code, the types, the README and the licence", () => {
  const [pack] = JSON.parse(execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], { cwd: home, encoding: "utf8" }));
  const files = pack.files.map((f) => f.path), of = (ending) => files.filter((f) => f.startsWith("dist/") && f.endsWith(ending)).map((f) => f.slice(5, -ending.length)).sort();
  const sources = readdirSync(join(home, "src"), { recursive: true }).filter((f) => f.endsWith(".ts")).map((f) => f.slice(0, -3)).sort();
  assert.deepEqual(of(".d.ts"), sources);
  assert.deepEqual(of(".js"), sources);
  assert.deepEqual(files.filter((f) => !f.startsWith("dist/")).sort(), ["LICENSE", "README.md", "package.json"]);
  assert.equal(readFileSync(join(home, "LICENSE"), "utf8"), readFileSync(join(home, "../../LICENSE"), "utf8"));
});
