// Speaks and decides for a person: reads a command from each line, and prints what became of it. PARLEY_CONVERSATION=… node app.mjs
import { createInterface } from "node:readline";
import { connect } from "@parleybus/client";

const client = await connect({ log: console.error }), conversation = client.conversation(process.env.PARLEY_CONVERSATION), options = { timeout: 3_600_000 };
process.once("SIGTERM", () => process.exit(0));
const find = async (is) => (await conversation.waiting()).find(is);
const verdict = async (verdict, { call, digest, reason }) =>
  conversation.verdict({ verdict, reason, calls: [{ call, digest: digest ?? (await find((w) => w.call === call))?.digest ?? "" }] }, options);
const commands = {
  send: ({ text }) => conversation.send(text, options),
  settings: ({ settings }) => conversation.settings(settings, options),
  cancel: () => conversation.cancel({}, options),
  approve: (command) => verdict("approve", command),
  deny: (command) => verdict("reject", command),
  answer: async ({ question, content }) => (await find((w) => w.question === question)).answer(JSON.stringify(content), options),
};
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  let said;
  try {
    said = command.do === "result" ? { result: { call: command.call, accepted: await conversation.result(command.call, command.content) } } : { answered: await commands[command.do](command) };
  } catch (err) {
    said = { error: { code: err.code ?? "unknown", message: err.message } };
  }
  process.stdout.write(JSON.stringify(said) + "\n");
}
