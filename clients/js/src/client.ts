// A connection to a deployment.
import { credsAuthenticator, type ConnectionOptions as NatsOptions, type NatsConnection, nkeyAuthenticator, nkeys, wsconnect } from "@nats-io/nats-core";
import { ApiError, Bus } from "./bus.js";
import { Conversation, type Shared, type Waiting } from "./conversation.js";
import { type HookHandler, serveHook } from "./serve/hook.js";
import { encode } from "./json.js";
import { type ModelHandler, type ModelOptions, serveModel } from "./serve/model.js";
import { newID, ParleyError, protocol } from "./names.js";
import { serveTool, type ToolHandler } from "./serve/tool.js";
import type * as T from "./types.js";
import type { Service, ServeOptions } from "./serve/worker.js";

/** How to reach a deployment. */
export interface ConnectOptions {
  /** nats://HOST:PORT, or ws:// and wss:// for a WebSocket, with a token or a user and a password before an @; several separated by commas. */
  url?: string; servers?: string | string[]; token?: string; user?: string; password?: string;
  /** The seed of the user's nkey, or the content of a creds file. */
  nkey?: string; creds?: string; tls?: NatsOptions["tls"];
  /** _INBOX_ and the user's name, for a user with the permissions of a role. */
  inboxPrefix?: string;
  /** PARLEY.API for a user whose role has an account of its own; $JS.API when absent. */
  apiPrefix?: string;
  /** The seed with which inputs are signed; nkey's or creds' when absent. */
  signKey?: string;
  /** The name of the connection, as the server shows it. */
  name?: string;
  /** The name of workers, to which a random part is added; PARLEY_NAME in Node. */
  worker?: string;
  /** The class of WebSockets, where the runtime has none: Node 20 and `import { WebSocket } from "ws"`. */
  webSocket?: unknown;
  /** Receives what goes wrong and is tried again. */
  log?: (text: string) => void;
}

export type Dial = (options: NatsOptions) => Promise<NatsConnection>;

/** Connects through a transport: dial is `connect` of a transport for what is no WebSocket. */
export async function open(options: ConnectOptions, dial?: Dial): Promise<Client> {
  const given = [options.servers ?? options.url ?? "nats://127.0.0.1:4222"].flat().flatMap((s) => s.split(",")).map((s) => s.trim());
  const urls = given.map((s) => new URL(s.includes("://") ? s : `nats://${s}`)), ws = urls.some((u) => u.protocol === "ws:" || u.protocol === "wss:");
  const { username, password } = urls[0]!, secret = decodeURIComponent(password), login = decodeURIComponent(username);
  const creds = options.creds?.trim(), seed = creds ? /-----BEGIN USER NKEY SEED-----\s*(\S+)/.exec(creds)?.[1] : options.nkey?.trim();
  const nats: NatsOptions = {
    // The client takes no credentials from URLs.
    servers: urls.map((u) => (ws ? `${u.protocol}//${u.host}${u.pathname}` : u.host)),
    token: options.token ?? (login && !secret ? login : undefined), user: options.user ?? (secret ? login : undefined), pass: options.password ?? (secret || undefined),
    authenticator: creds ? credsAuthenticator(encode(creds)) : seed ? nkeyAuthenticator(encode(seed)) : undefined,
    tls: options.tls ?? (urls.some((u) => u.protocol === "tls:") ? {} : undefined), inboxPrefix: options.inboxPrefix, name: options.name ?? "parley js client",
    maxReconnectAttempts: -1, reconnectTimeWait: 250, reconnectJitter: 100, pingInterval: 20_000, ignoreAuthErrorAbort: true,
  };
  if (!ws && !dial) throw new ParleyError("invalid", `the servers ${urls.map((u) => u.host)} have no WebSocket: give URLs that begin with ws:// or wss://`);
  const socket = options.webSocket as (new (url: string) => WebSocket) | undefined;
  const nc = await (ws ? wsconnect({ ...nats, ...(socket && { wsFactory: async (url: string) => ({ socket: new socket(url), encrypted: url.startsWith("wss:") }) }) }) : dial!(nats)).catch((err: Error) => {
    throw new ParleyError("no_server", `no NATS server at ${urls.map((u) => u.host)} takes the connection: ${err.message}`, { cause: err });
  });
  const bus = new Bus(nc, (options.apiPrefix ?? "$JS.API").replace(/\.$/, ""), options.inboxPrefix ?? "_INBOX", options.log ?? (() => {}));
  try {
    const { config } = await bus.info("HISTORY"); bus.shards = Number(config.metadata?.["parley.shards"] ?? 1);
    const version = Number(config.metadata?.["parley.protocol"] ?? 1);
    if (version > protocol) bus.log(`the deployment speaks protocol ${version}, this client ${protocol}: update the client`);
  } catch (err) {
    await nc.close();
    if (err instanceof ApiError && err.errCode === 10059) throw new ParleyError("not_set_up", "the server has no Parley streams: start an orchestrator, which creates them", { cause: err });
    throw err;
  }
  const key = options.signKey?.trim() || seed; return new Client(bus, options.worker, key ? signer(key) : undefined);
}

// signer returns a function that signs the line of an input, as docs/people.md says.
function signer(seed: string): (conversation: string, line: string) => string {
  const key = nkeys.fromSeed(encode(/-----BEGIN USER NKEY SEED-----\s*(\S+)/.exec(seed)?.[1] ?? seed)), name = key.getPublicKey();
  return (conversation, line) => {
    const text = encode(`parley input 1\n${conversation}\n${line}`), covered = new Uint8Array(text.length + 1);
    covered[0] = 0xff; covered.set(text, 1);
    const sig = btoa(String.fromCharCode(...key.sign(covered))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
    return `${line.slice(0, -1)},"signature":{"key":"${name}","sig":"${sig}"}}`;
  };
}

/** A connection to a deployment. It reconnects by itself, without limit. */
export class Client {
  private readonly shared: Shared;
  constructor(private readonly bus: Bus, private readonly worker?: string, sign?: Shared["sign"]) { this.shared = { bus, paused: new Map(), sign }; }

  /** Returns the conversation with an id, or a new one. */
  conversation(id: string = newID()): Conversation { return new Conversation(this.shared, id); }

  /** Returns what all conversations wait for, the oldest first. */
  async waiting(options: { signal?: AbortSignal } = {}): Promise<Waiting[]> {
    const { state } = await this.bus.info("TIMERS", options.signal, { subjects_filter: ">" });
    const ids = new Set(Object.keys(state.subjects ?? {}).map((s) => s.split(".")[2]!).filter((id) => /^[0-9a-f-]{36}$/.test(id)));
    // The timer is set after the Decision: who has seen that finds the conversation at once.
    for (const [id, at] of this.shared.paused) Date.now() - at > 10_000 ? this.shared.paused.delete(id) : ids.add(id);
    const all: Waiting[] = [], left = [...ids];
    await Promise.all(Array.from({ length: 16 }, async () => {
      for (let id; (id = left.pop()); ) all.push(...(await this.conversation(id).waiting(options)));
    }));
    return all.sort((a, b) => (a.since?.getTime() ?? 0) - (b.since?.getTime() ?? 0) || (a.conversation < b.conversation ? -1 : 1));
  }

  /** Serves a tool: handler runs its calls. */
  serveTool(tool: T.ToolSpec, handler: ToolHandler, options?: ServeOptions): Promise<Service> { return serveTool(this.bus, tool, handler, { name: this.worker, ...options }); }

  /** Serves a model: handler streams its answers. */
  serveModel(model: string, handler: ModelHandler, options?: ModelOptions): Promise<Service> { return serveModel(this.bus, model, handler, { name: this.worker, ...options }); }

  /** Answers a hook. */
  serveHook(when: T.HookTime, name: string, handler: HookHandler): Promise<Service> { return serveHook(this.bus, when, name, handler); }

  /** Fetches an object: a long result, or an attachment. */
  fetch(object: T.ObjectReference, options: { signal?: AbortSignal } = {}): Promise<Uint8Array> { return this.bus.load(object, options.signal); }

  /** Stores bytes that belong to a conversation, for a message's part. */
  store(conversation: string, data: Uint8Array): Promise<T.ObjectReference> { return this.bus.store(conversation, data); }
  get connected(): boolean { return this.bus.connected; }

  /** Sends what is buffered and closes the connection. Iterators end with an error. */
  async close(): Promise<void> { if (this.bus.closed) return; await (this.bus.connected ? this.bus.nc.drain() : this.bus.nc.close()); }
}
