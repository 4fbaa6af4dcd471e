// A program that reads events by their type, compiled under strict with what is
// generated from the bundle: each switch is exhaustive, so a new event belongs here too.
import type { CallEvent, Decision, DecisionEvent, Failure, GenEvent, InEvent, OutEvent, ParleyEvent, TurnEvent } from './parley'

function unreachable(e: never): never {
  throw new Error(`an event that this program does not know: ${JSON.stringify(e)}`)
}

export function standsAlone(e: ParleyEvent): string {
  switch (e.type) {
    case 'Settings':
      return e.route ?? ''
    case 'UserMessage':
      return e.text
    case 'Verdict':
    case 'Cancel':
    case 'Delete':
    case 'Compact':
      return e.id
    case 'Decision':
      return inside(e).join()
    case 'GenerationStarted':
    case 'HistoryReduced':
    case 'TextChunk':
    case 'ReasoningChunk':
    case 'ToolCallStart':
    case 'ToolCallDelta':
    case 'ToolCallEnd':
    case 'GenerationEnded':
    case 'GenerationReleased':
      return e.attempt + e.index
    case 'ToolStarted':
    case 'ToolReleased':
    case 'QuestionAsked':
    case 'ToolResult':
    case 'ToolOutput':
      return e.call
    case 'GenerationJob':
      return e.messages[0]?.parts[0]?.kind ?? ''
    case 'ToolJob':
      return e.tool
    case 'HookCall':
      return e.ended ? e.ended.type + e.ended.outcome : e.turn
    case 'HookAnswered':
      return e.hook
    case 'Claim':
      return e.object.sha256
    default:
      return unreachable(e)
  }
}

function inside(d: Decision): string[] {
  return d.events.map(decided)
}

export function decided(e: DecisionEvent): string {
  switch (e.type) {
    case 'TurnStarted':
      return e.inputs.join()
    case 'GenerationRequested':
      return e.route
    case 'AssistantMessage':
      return e.message.parts.map((p) => p.text ?? '').join('')
    case 'AnswerRejected':
      return e.error
    case 'ToolCallRequested':
    case 'ToolCallRefused':
    case 'ToolCallAnswered':
      return e.call + e.tool
    case 'ToolCallsQueued':
      return e.calls.join()
    case 'QuestionAnswered':
      return e.question
    case 'Paused':
      return e.awaiting.map((a) => a.digest).join()
    case 'Resumed':
      return e.turn
    case 'InputAnswered':
      return e.answer
    case 'TurnEnded': {
      const failure: Failure | undefined = e.error
      return failure ? failure.class : e.outcome
    }
    case 'HooksRequested':
      return e.hooks.map((h) => h.name).join()
    case 'HookAnswered':
      return e.hook
    case 'Compacted':
      return e.reason
    case 'DeletionStarted':
      return e.inputs.join()
    case 'ConversationDeleted':
      return String(e.messages)
    default:
      return unreachable(e)
  }
}

// Narrowing must also refuse: these fields are of other events.
export function refused(e: DecisionEvent, g: GenEvent): void {
  if (e.type === 'TurnStarted') {
    // @ts-expect-error a TurnStarted has no outcome
    const outcome: string = e.outcome
    void outcome
  }
  if (g.type === 'TextChunk') {
    const text: string = g.text
    // @ts-expect-error a TextChunk has no finish
    const finish: string = g.finish
    void text, finish
  }
  // @ts-expect-error no event has this type
  if (g.type === 'Decision') void g
}

// Each channel has a union of its own.
export const channels: { in: InEvent['type']; turn: TurnEvent['type']; gen: GenEvent['type']; call: CallEvent['type']; out: OutEvent['type'] } = {
  in: 'UserMessage', turn: 'Decision', gen: 'TextChunk', call: 'ToolResult', out: 'ToolOutput',
}

// A field that must be there is not optional.
// @ts-expect-error state is missing
export const incomplete: Decision = { type: 'Decision', events: [] }
