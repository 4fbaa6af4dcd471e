// What both entry points have.
export * from "./core.js";
export { Client, type ConnectOptions, type Dial, open } from "./client.js";
export { Conversation, type Draft, type Event, type EventsOptions, type LogEvent, type SubmitOptions, type View, type Waiting } from "./conversation.js";
export type { HookHandler } from "./serve/hook.js";
export type { ModelHandler, ModelOptions, ModelPiece } from "./serve/model.js";
export type { ToolContext, ToolHandler, ToolOutcome } from "./serve/tool.js";
export type { Service, ServeOptions } from "./serve/worker.js";
