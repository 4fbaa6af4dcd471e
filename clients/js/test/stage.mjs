// A deployment for tests: a NATS server with TCP and WebSocket, and `parley up` with the
// scripted model. PARLEY and NATS_SERVER name the programs; without them they are built.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WebSocket } from "ws";
import { connect } from "../dist/node.js";

const root = new URL("../../../", import.meta.url).pathname, programs = join(tmpdir(), `parley-js-programs-${process.getuid?.() ?? 0}`);
const built = {};
function program(variable, name, pkg) {
  built[name] ??= process.env[variable] || (execFileSync("go", ["build", "-o", join(programs, name), pkg], { cwd: root, stdio: "inherit" }), join(programs, name));
  return built[name];
}

export const parley = () => program("PARLEY", "parley", "./cmd/parley");
export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export async function freePort() {
  const s = createServer();
  await new Promise((resolve) => s.listen(0, "127.0.0.1", resolve));
  const { port } = s.address();
  await new Promise((resolve) => s.close(resolve));
  return port;
}

export const script = `
pace: 2
rules:
  - contains: "long"
    steps: [{ text: "${Array.from({ length: 200 }, (_, i) => `w${i}`).join(" ")}" }]
  - contains: "slow"
    steps: [{ pace: 50, text: "${Array.from({ length: 100 }, (_, i) => `s${i}`).join(" ")}" }]
  - contains: "mail"
    steps: [{ text: "I write it.", calls: [{ tool: send_mail, raw: '{"to":"ann","amount":1.50,"name":"caf\\u00e9"}' }] }, { text: "It is sent." }]
  - contains: "reverse"
    steps: [{ calls: [{ tool: reverse, arguments: { text: "abc" } }] }, { text: "Reversed." }]
  - contains: "wait"
    steps: [{ calls: [{ tool: wait_long, arguments: {} }] }, { text: "Waited." }]
  - steps: [{ text: "Hello there." }]
`;

/** Starts a process and waits for it to be ready. */
export class Stage {
  static async start({ up = true, rules } = {}) {
    const s = new Stage();
    s.dir = mkdtempSync(join(tmpdir(), "parley-js-"));
    [s.port, s.wsPort] = [await freePort(), await freePort()];
    s.url = `nats://127.0.0.1:${s.port}`;
    s.wsURL = `ws://127.0.0.1:${s.wsPort}`;
    writeFileSync(join(s.dir, "nats.conf"), `port: ${s.port}\nhost: 127.0.0.1\njetstream { store_dir: "${join(s.dir, "js")}", limits: { } }\nwebsocket { host: 127.0.0.1, port: ${s.wsPort}, no_tls: true }\n`);
    writeFileSync(join(s.dir, "script.yaml"), script);
    if (rules) writeFileSync(join(s.dir, "rules.yaml"), rules);
    s.rules = rules;
    s.clients = [];
    await s.startServer();
    if (up) await s.startParley();
    return s;
  }

  async startServer() {
    this.server = spawn(program("NATS_SERVER", "nats-server", "github.com/nats-io/nats-server/v2"), ["-c", join(this.dir, "nats.conf")], { stdio: ["ignore", "ignore", "pipe"] });
    await ready(this.server, /Server is ready/);
  }

  /** Kills the server, as a crash does, and starts it again. */
  async restartServer() {
    await stopped(this.server, "SIGKILL");
    await this.startServer();
  }

  async startParley(...flags) {
    this.parley = spawn(parley(), ["up", "--nats", this.url, "--data", join(this.dir, "data"), "--script", join(this.dir, "script.yaml"), "--model", "scripted/demo", "--log-level", "info",
      ...(this.rules ? ["--rules", join(this.dir, "rules.yaml")] : []), ...flags], { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, OPENAI_API_KEY: "", ANTHROPIC_API_KEY: "", GEMINI_API_KEY: "", OLLAMA_HOST: "" } });
    this.output = "";
    for (const o of [this.parley.stdout, this.parley.stderr]) o.on("data", (d) => (this.output += d));
    for (let n = 0; n < 200; n++) { // it is ready when an orchestrator has made the streams and owns them
      const c = await connect({ servers: this.url }).catch(() => undefined);
      const a = await c?.conversation().cancel({}, { timeout: 1000 }).catch(() => undefined);
      await c?.close();
      if (a) return;
      await pause(50);
    }
    throw new Error(`parley up is not ready:\n${this.output}`);
  }

  async connect(transport = "tcp", options = {}) {
    const c = await connect({ servers: transport === "tcp" ? this.url : this.wsURL, webSocket: WebSocket, ...options });
    this.clients.push(c);
    return c;
  }

  async stop() {
    for (const c of this.clients) await c.close().catch(() => {});
    if (this.parley) await stopped(this.parley, "SIGTERM");
    await stopped(this.server, "SIGTERM");
    rmSync(this.dir, { recursive: true, force: true });
  }
}

export function stopped(child, signal) {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => { child.once("exit", resolve); child.kill(signal); });
}

function ready(child, pattern) {
  return new Promise((resolve, reject) => {
    let text = "";
    child.stderr.on("data", (d) => { if (text.length < 1e5 && pattern.test((text += d))) resolve(); });
    child.once("exit", (code) => reject(new Error(`it ended with ${code}:\n${text}`)));
  });
}

/** Waits until fn returns something true. */
export async function until(fn, ms = 20_000) {
  for (const end = Date.now() + ms; ; ) {
    const v = await fn();
    if (v) return v;
    if (Date.now() > end) throw new Error(`it did not come within ${ms} ms: ${fn}`);
    await pause(25);
  }
}
