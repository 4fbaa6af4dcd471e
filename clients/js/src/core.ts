// What needs no connection: the fold, frames, cursors, digests.
export { type BadEvent, compact, decodeFrame, digest, type Frame, type Line, rawAt, sha256, type UnknownEvent } from "./json.js";
export { type Channel, type Code, CursorExpired, formatCursor, newID, ParleyError, parseCursor, type Position, protocol, shardOf } from "./names.js";
export { type Call, Fold, type Folded, Generation } from "./fold.js";
export type * from "./types.js";
