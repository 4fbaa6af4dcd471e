// Package accumulator is the fold: events to answer, answers to conversation.
// It is pure: no I/O, no clock, no randomness. The orchestrator, the gateway,
// the command line and the tests all use this one.
//
// Applying an event twice, or an event of an attempt that was superseded,
// changes nothing. An event of an unknown type is skipped.
package accumulator

import (
	"encoding/json"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/fault"
)

// Generation accumulates the events of one generation into a message. The
// attempt that started last is the only one that counts. The zero value is
// ready.
type Generation struct {
	Started *events.GenerationStarted // of the attempt that counts; nil before it, and for unstamped events
	Ended   *events.GenerationEnded

	attempt string
	next    int
	count   int             // events of the attempt so far
	size    int64           // bytes held, see Size
	omitted events.Omission // what the answered request left out
	old     map[string]bool // attempts that were superseded
	// superseded is the usage of the superseded attempts, lost how many of them were
	// not handed back. released says that the attempt that counts was.
	superseded *events.Usage
	lost       int
	released   bool
	parts      []part
	blocks     map[block]int // index of parts, when there are many
}

// block identifies a part: there is one of each kind and number.
type block struct {
	kind   events.PartKind
	number int
}

// manyParts is the number of parts from which an index replaces the linear
// search.
const manyParts = 16

type part struct {
	kind   events.PartKind
	block  int
	text   []byte // text, or a call's arguments
	head   events.Part
	closed bool // a call whose arguments have ended
}

// Apply applies an event and reports whether it changed the answer. Events
// after the end, a second start of a call, and pieces of a call that has not
// started or has ended change nothing.
func (g *Generation) Apply(e events.Event) bool {
	if s, ok := e.(*events.GenerationStarted); ok {
		return g.start(s)
	}
	stamped, ok := e.(events.Stamped)
	if !ok || g.Ended != nil {
		return false
	}
	attempt, index := stamped.Position()
	if attempt != g.attempt {
		return false
	}
	if attempt != "" {
		if index < g.next {
			return false
		}
		g.next, g.count = index+1, g.count+1
	}
	g.size += events.AnswerSize(e)
	switch e := e.(type) {
	case *events.HistoryReduced:
		g.omitted = e.Omitted
	case *events.TextChunk:
		kind := events.PartText
		if e.Refusal {
			kind = events.PartRefusal
		}
		p := g.part(kind, e.Block)
		p.text = append(p.text, e.Text...)
	case *events.ReasoningChunk:
		p := g.part(events.PartReasoning, e.Block)
		p.text = append(p.text, e.Text...)
		p.head.Summary = p.head.Summary || e.Summary
		g.carry(p, e.Carry)
	case *events.ToolCallStart:
		if g.call(e.Block) != nil {
			return false
		}
		p := g.part(events.PartCall, e.Block)
		p.head.Call, p.head.ProviderID, p.head.Name, p.head.Custom = e.Call, e.ProviderID, e.Name, e.Custom
		p.head.Invalid = "the call was not completed"
	case *events.ToolCallDelta:
		p := g.call(e.Block)
		if p == nil || p.closed {
			return false
		}
		p.text = append(p.text, e.Arguments...)
	case *events.ToolCallEnd:
		p := g.call(e.Block)
		if p == nil || p.closed {
			return false
		}
		p.closed, p.head.Invalid = true, e.Invalid
		g.carry(p, e.Carry)
	case *events.GenerationReleased:
		g.released = e.Error == ""
		return false
	case *events.GenerationEnded:
		g.Ended = e
	default:
		return false
	}
	return true
}

func (g *Generation) start(s *events.GenerationStarted) bool {
	if g.Ended != nil || s.Attempt == g.attempt && g.Started != nil {
		return false
	}
	if g.old[s.Attempt] {
		return false
	}
	old := g.old
	if g.Started != nil {
		if old == nil {
			old = map[string]bool{}
		}
		old[g.attempt] = true
	}
	spent, lost, kept := g.Spent(), g.lost, g.parts
	if g.Started != nil && !g.released {
		lost++
	}
	*g = Generation{Started: s, attempt: s.Attempt, next: s.Index + 1, count: 1, old: old, superseded: spent, lost: lost}
	if fault.Planted(fault.ForgetSupersede) {
		g.parts = kept
	}
	return true
}

func (g *Generation) carry(p *part, carry json.RawMessage) {
	if len(carry) > 0 {
		p.head.Carry = carry
	}
}

// part returns the part of a block that holds a kind of content, and creates
// it if needed.
func (g *Generation) part(kind events.PartKind, number int) *part {
	if p := g.find(kind, number); p != nil {
		return p
	}
	g.parts = append(g.parts, part{kind: kind, block: number})
	g.size += events.BlockSize
	if g.blocks != nil {
		g.blocks[block{kind, number}] = len(g.parts) - 1
	}
	return &g.parts[len(g.parts)-1]
}

// call returns a call that has started; nil when there is none.
func (g *Generation) call(block int) *part { return g.find(events.PartCall, block) }

func (g *Generation) find(kind events.PartKind, number int) *part {
	if len(g.parts) >= manyParts {
		return g.lookUp(kind, number)
	}
	for i := len(g.parts) - 1; i >= 0; i-- {
		if p := &g.parts[i]; p.block == number && p.kind == kind {
			return p
		}
	}
	return nil
}

// lookUp finds a part by index.
func (g *Generation) lookUp(kind events.PartKind, number int) *part {
	if g.blocks == nil {
		g.blocks = make(map[block]int, 2*len(g.parts))
		for i, p := range g.parts {
			g.blocks[block{p.kind, p.block}] = i
		}
	}
	if last := &g.parts[len(g.parts)-1]; last.block == number && last.kind == kind {
		return last
	}
	if i, ok := g.blocks[block{kind, number}]; ok {
		return &g.parts[i]
	}
	return nil
}

// Size returns how much the answer has so far, in bytes: its content, and
// [events.BlockSize] for each part.
func (g *Generation) Size() int64 { return g.size }

// CallCount returns the number of calls so far.
func (g *Generation) CallCount() int64 {
	var n int64
	for i := range g.parts {
		if g.parts[i].kind == events.PartCall {
			n++
		}
	}
	return n
}

// LongestArguments returns the bytes of the longest arguments of a call so far.
func (g *Generation) LongestArguments() int64 {
	most := 0
	for i := range g.parts {
		if g.parts[i].kind == events.PartCall {
			most = max(most, len(g.parts[i].text))
		}
	}
	return int64(most)
}

// Empty reports whether the answer has no content yet.
func (g *Generation) Empty() bool { return len(g.parts) == 0 }

// Text returns the answer's text so far, without refusals.
func (g *Generation) Text() string { return g.join(events.PartText, false) }

// Refusal returns the text of the model's refusal.
func (g *Generation) Refusal() string { return g.join(events.PartRefusal, false) }

// Reasoning returns the reasoning that the provider showed; with summary,
// the provider's summary of it instead.
func (g *Generation) Reasoning(summary bool) string { return g.join(events.PartReasoning, summary) }

func (g *Generation) join(kind events.PartKind, summary bool) string {
	var all []byte
	for _, p := range g.parts {
		if p.kind == kind && p.head.Summary == summary {
			all = append(all, p.text...)
		}
	}
	return string(all)
}

// Calls returns the answer's calls, in the model's order.
func (g *Generation) Calls() []events.Part {
	var calls []events.Part
	for _, p := range g.Message().Parts {
		if p.Kind == events.PartCall {
			calls = append(calls, p)
		}
	}
	return calls
}

// Complete returns the call of a block whose arguments are complete; false when there
// is none.
func (g *Generation) Complete(block int) (events.Part, bool) {
	p := g.call(block)
	if p == nil || !p.closed {
		return events.Part{}, false
	}
	out := p.head
	out.Kind, out.Arguments = p.kind, string(p.text)
	return out, true
}

// Arguments returns the arguments of a call; false when the answer does not have it or
// they are not complete.
func (g *Generation) Arguments(call string) (string, bool) {
	for i := range g.parts {
		if p := &g.parts[i]; p.kind == events.PartCall && p.closed && p.head.Call == call {
			return string(p.text), true
		}
	}
	return "", false
}

// Attempt returns the attempt that counts; empty before it has started.
func (g *Generation) Attempt() string { return g.attempt }

// Message returns the answer so far as an entry of the transcript.
func (g *Generation) Message() events.Message {
	m := events.Message{Role: events.RoleAssistant, Omitted: g.omitted, Parts: make([]events.Part, 0, len(g.parts))}
	if g.Started != nil {
		m.Provider, m.Model = g.Started.Provider, g.Started.Model
	}
	for _, p := range g.parts {
		out := p.head
		out.Kind = p.kind
		if p.kind == events.PartCall {
			out.Arguments = string(p.text)
		} else {
			out.Text = string(p.text)
		}
		m.Parts = append(m.Parts, out)
	}
	return m
}

// Result is an accumulated answer as one JSON object: what "parley decode
// --result" prints.
type Result struct {
	Text             string        `json:"text"`
	Reasoning        string        `json:"reasoning"`
	ReasoningSummary string        `json:"reasoning_summary,omitempty"`
	Refusal          string        `json:"refusal"`
	ToolCalls        []ResultCall  `json:"tool_calls"`
	FinishReason     *string       `json:"finish_reason"` // the provider's own word; null when there was none
	Usage            *events.Usage `json:"usage"`
	Error            *ResultError  `json:"error"`
	Terminated       bool          `json:"terminated"` // the provider's terminal sign was seen
}

// ResultCall is a call of a [Result]. Its id is the provider's.
type ResultCall struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Arguments string `json:"arguments"` // as the model wrote them
	Invalid   string `json:"invalid,omitempty"`
}

// ResultError is the provider's error. An answer that was merely cut has
// none: it has neither Terminated nor a FinishReason.
type ResultError struct {
	Class   events.ErrorClass `json:"class"`
	Message string            `json:"message"`
}

// Result returns the answer as a [Result].
func (g *Generation) Result() Result {
	r := Result{
		Text: g.Text(), Refusal: g.Refusal(), ToolCalls: []ResultCall{},
		Reasoning: g.Reasoning(false), ReasoningSummary: g.Reasoning(true),
	}
	for _, c := range g.Calls() {
		r.ToolCalls = append(r.ToolCalls, ResultCall{ID: c.ProviderID, Name: c.Name, Arguments: c.Arguments, Invalid: c.Invalid})
	}
	if end := g.Ended; end != nil {
		if end.FinishWord != "" {
			r.FinishReason = &end.FinishWord
		}
		r.Usage, r.Terminated = end.Usage, end.Terminated
		if end.Error != nil && end.Error.Class != events.ErrCut {
			r.Error = &ResultError{Class: end.Error.Class, Message: end.Error.Message}
		}
	}
	return r
}
