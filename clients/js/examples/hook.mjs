// Adds to the system prompt before each turn, or refuses the turn: node hook.mjs
import { setTimeout as pause } from "node:timers/promises";
import { connect } from "@parleybus/client";

const client = await connect({ log: console.error });
const service = await client.serveHook(process.env.PARLEY_HOOK_WHEN || "before", process.env.PARLEY_HOOK || "memory", async ({ message, ended }) => {
  const text = message?.parts?.map((p) => p.text ?? "").join(" ") ?? ended?.outcome ?? "", ms = /^pause (\d+)/.exec(text)?.[1];
  if (ms) await pause(+ms); // to try what happens meanwhile
  return text.startsWith("refuse") ? { refuse: "the message asks for it" } : { context: `The message is: ${text.slice(0, 1000)}` };
});
for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, async () => { await service.stop(); await client.close(); });
