// The entry point of Node: TCP, WebSockets, and the environment's variables.
import { readFileSync } from "node:fs";
import { connect as dial } from "@nats-io/transport-node";
import { type Client, type ConnectOptions, open } from "./client.js";

export * from "./index.js";

/**
 * Connects to a deployment. What the options do not say comes from NATS_URL, NATS_CREDS,
 * NATS_NKEY, NATS_TOKEN, NATS_USER, NATS_PASSWORD, NATS_CA, NATS_CERT, NATS_KEY,
 * NATS_INBOX_PREFIX, NATS_JS_API_PREFIX, PARLEY_SIGN_KEY and PARLEY_NAME, or from the file that
 * NAME_FILE names.
 */
export function connect(options: ConnectOptions = {}): Promise<Client> {
  const env = process.env, get = (name: string) => env[name] || (env[`${name}_FILE`] ? readFileSync(env[`${name}_FILE`]!, "utf8").trim() : undefined);
  const file = (name: string) => { const path = get(name); return path && readFileSync(path, "utf8").trim(); };
  const [caFile, certFile, keyFile] = [get("NATS_CA"), get("NATS_CERT"), get("NATS_KEY")];
  return open({
    url: options.servers ? undefined : get("NATS_URL"), creds: file("NATS_CREDS"), nkey: file("NATS_NKEY"), token: get("NATS_TOKEN"), user: get("NATS_USER"), password: get("NATS_PASSWORD"),
    tls: caFile || certFile ? { caFile, certFile, keyFile } : undefined, inboxPrefix: get("NATS_INBOX_PREFIX"), apiPrefix: get("NATS_JS_API_PREFIX"), signKey: file("PARLEY_SIGN_KEY"), worker: env.PARLEY_NAME || undefined,
    ...options,
  }, dial);
}
