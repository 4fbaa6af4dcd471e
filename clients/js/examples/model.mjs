// Serves a model: node model.mjs
import { setTimeout as pause } from "node:timers/promises";
import { connect } from "@parleybus/client";

const client = await connect({ log: console.error });
const service = await client.serveModel(`${process.env.PARLEY_ROUTE || "parrot"}/1`, async function* ({ messages, parameters }, { signal }) {
  const { pause_ms = 0, fail, cut, call } = parameters?.extra ?? {}; // how this model is told to behave, to try it
  if (fail) throw Object.assign(new Error("the model was told to fail"), { class: fail });
  yield "You said: ";
  await pause(pause_ms, null, { signal });
  if (cut && !call) throw Object.assign(new Error("the answer has no terminal sign"), { class: "cut" });
  if (call) {
    const text = JSON.stringify(call.arguments ?? {}), half = text.length >> 1;
    yield { type: "ToolCallStart", block: 1, name: call.tool, provider_id: "provider_1" };
    yield { type: "ToolCallDelta", block: 1, arguments: text.slice(0, half) };
    if (cut) throw Object.assign(new Error("the answer has no terminal sign"), { class: "cut" });
    yield { type: "ToolCallDelta", block: 1, arguments: text.slice(half) };
    yield { type: "ToolCallEnd", block: 1 };
  } else yield messages.at(-1)?.parts.map((p) => p.text ?? "").join(" ") || "nothing";
});
for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, async () => { await service.stop(); await client.close(); });
