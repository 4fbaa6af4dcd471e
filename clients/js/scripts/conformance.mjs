// Checks the examples with `parley conformance`: npm run conformance. PARLEY names the program.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parley } from "../test/stage.mjs";

const roles = { "tool-worker": "tool", viewer: "viewer", app: "app", "llm-worker": "model", hook: "hook" };
for (const role of process.argv.length > 2 ? process.argv.slice(2) : Object.keys(roles)) {
  console.log(`${role}:`);
  const { status } = spawnSync(parley(), ["conformance", role, "--at-once", "4", "--", process.execPath, fileURLToPath(new URL(`../examples/${roles[role]}.mjs`, import.meta.url))], { stdio: "inherit" });
  if (status) process.exitCode = 1;
}
