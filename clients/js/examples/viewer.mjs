// Prints the events of a conversation, one JSON object per line: PARLEY_CONVERSATION=… node viewer.mjs
import { connect, CursorExpired } from "@parleybus/client";

const client = await connect({ log: console.error }), stop = new AbortController();
process.once("SIGTERM", () => stop.abort());
const print = (line) => process.stdout.write(JSON.stringify(line) + "\n");
try {
  for await (const e of client.conversation(process.env.PARLEY_CONVERSATION).events({ from: process.env.PARLEY_FROM || undefined, signal: stop.signal })) {
    if (e.decided) continue; // the Decision itself has it
    if (e.error) print({ cursor: e.cursor, error: { code: "unreadable", message: e.error.message } });
    else print({ cursor: e.cursor, event: JSON.parse(e.raw), ...(e.superseded && { superseded: true }), ...(e.supersedes && { supersedes: e.supersedes }) });
    if (e.body.type === "Decision" && e.body.state.phase === "deleted") break;
  }
} catch (err) {
  if (err instanceof CursorExpired) {
    print({ error: { code: "cursor_expired", message: err.message, ...(err.resume && { resume: err.resume }) } });
    process.exitCode = 3;
  } else if (!stop.signal.aborted) throw err;
}
await client.close();
