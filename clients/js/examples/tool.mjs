// Serves a tool: node tool.mjs
import { setTimeout as pause } from "node:timers/promises";
import { connect } from "@parleybus/client";

const metres = { mm: 0.001, cm: 0.01, m: 1, km: 1000, in: 0.0254, ft: 0.3048, mi: 1609.344 }, unit = { enum: Object.keys(metres) };
const client = await connect({ log: console.error });
const service = await client.serveTool({
  name: "convert_units", effect: "pure", timeout_ms: 60_000, description: "Converts a length between mm, cm, m, km, in, ft and mi.",
  schema: { type: "object", required: ["value", "from", "to"], properties: { value: { type: "number" }, from: unit, to: unit, pause_ms: { type: "integer" } } },
}, async ({ value, from, to, pause_ms = 0 }, { signal, print }) => {
  print(`converting ${value} ${from}\n`);
  await pause(pause_ms, null, { signal }); // to try what happens during a call
  if (!metres[from] || !metres[to]) throw new Error(`the units are ${unit.enum.join(", ")}: use two of them`);
  return `${value} ${from} = ${+(value * metres[from] / metres[to]).toPrecision(12)} ${to}`;
});
for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, async () => { await service.stop(); await client.close(); });
