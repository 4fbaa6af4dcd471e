// The entry point of browsers, and of other runtimes with WebSockets.
import { type Client, type ConnectOptions, open } from "./client.js";

export * from "./index.js";

/** Connects to a deployment over a WebSocket: the URL begins with ws:// or wss://. */
export function connect(options: ConnectOptions & { url: string }): Promise<Client> { return open(options); }
