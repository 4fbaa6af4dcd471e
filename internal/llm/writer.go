package llm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/parleybus/parley/internal/events"
)

// Writer yields the events of one answer and enforces the rules of [Stream]:
// block numbers, one start and one end per call, one GenerationEnded. The
// adapter identifies content blocks by a key of its choice; a new key starts a
// new block.
//
// Every method reports whether the consumer continues; after false the adapter
// must return.
type Writer struct {
	yield   func(events.Event, error) bool
	blocks  map[string]int
	calls   map[string]*openCall
	order   []*openCall
	halves  map[string]waiting // first halves of surrogate pairs, by block
	stopped bool
	wrote   bool
}

type openCall struct {
	block  int
	custom bool
	args   strings.Builder
	carry  json.RawMessage
	ended  bool
}

// waiting is the first half of a surrogate pair at the end of a piece.
type waiting struct {
	mark             string
	kind             events.PartKind
	refusal, summary bool
}

// join returns a piece of a block with the halves of its surrogate pairs joined. A
// first half at its end waits for the next piece.
func (w *Writer) join(key, piece string, of waiting) string {
	if had, ok := w.halves[key]; ok {
		piece = had.mark + piece
		delete(w.halves, key)
	}
	joined, rest := joinHalves(piece)
	if rest != "" {
		if w.halves == nil {
			w.halves = map[string]waiting{}
		}
		of.mark = rest
		w.halves[key] = of
	}
	return joined
}

// flush sends a replacement for the half of a block whose other half has not come.
func (w *Writer) flush(key string) bool {
	had, ok := w.halves[key]
	if !ok {
		return !w.stopped
	}
	delete(w.halves, key)
	const lost = "\uFFFD"
	switch had.kind {
	case events.PartCall:
		return w.CallDelta(key, lost)
	case events.PartReasoning:
		return w.Reasoning(key, lost, had.summary, nil)
	}
	if had.refusal {
		return w.Refusal(key, lost)
	}
	return w.Text(key, lost)
}

// cutOff returns ErrCut for an answer without terminal event, finish reason or
// error. An answer is complete if the provider sent its terminal sign, or if it
// sent its finish reason and the body then ended normally: several hosts never
// send more.
func cutOff(end *events.GenerationEnded) *events.Error {
	if end.Error != nil || end.Terminated || end.FinishWord != "" {
		return end.Error
	}
	return &events.Error{Class: events.ErrCut,
		Message: "the answer ended without the provider's terminal sign or finish reason: it was cut; try again"}
}

// NewWriter returns a writer of one answer that yields to the given consumer.
func NewWriter(yield func(events.Event, error) bool) *Writer {
	return &Writer{yield: yield, blocks: map[string]int{}, calls: map[string]*openCall{}}
}

// Wrote reports whether any content was yielded.
func (w *Writer) Wrote() bool { return w.wrote }

func (w *Writer) send(e events.Event, err error) bool {
	if w.stopped {
		return false
	}
	w.wrote = true
	w.stopped = !w.yield(e, err)
	return !w.stopped
}

func (w *Writer) block(key string) int {
	n, ok := w.blocks[key]
	if !ok {
		n = len(w.blocks)
		w.blocks[key] = n
	}
	return n
}

// Text yields a piece of text; an empty piece is skipped.
func (w *Writer) Text(key, text string) bool {
	if text = w.join(key, text, waiting{kind: events.PartText}); text == "" {
		return !w.stopped
	}
	return w.send(&events.TextChunk{Block: w.block(key), Text: text}, nil)
}

// Refusal yields a piece of a refusal.
func (w *Writer) Refusal(key, text string) bool {
	if text = w.join(key, text, waiting{kind: events.PartText, refusal: true}); text == "" {
		return !w.stopped
	}
	return w.send(&events.TextChunk{Block: w.block(key), Text: text, Refusal: true}, nil)
}

// Reasoning yields a piece of reasoning, opaque data to send back with its
// block, or both; nothing if both are empty.
func (w *Writer) Reasoning(key, text string, summary bool, carry json.RawMessage) bool {
	carry = unmarked(carry)
	if text = w.join(key, text, waiting{kind: events.PartReasoning, summary: summary}); text == "" && len(carry) == 0 {
		return !w.stopped
	}
	return w.send(&events.ReasoningChunk{Block: w.block(key), Text: text, Summary: summary, Carry: carry}, nil)
}

// CallStart opens a call. A second start under the same key is ignored.
func (w *Writer) CallStart(key, providerID, name string, custom bool) bool {
	if w.calls[key] != nil {
		return !w.stopped
	}
	c := &openCall{block: w.block(key), custom: custom}
	w.calls[key] = c
	w.order = append(w.order, c)
	return w.send(&events.ToolCallStart{Block: c.block, ProviderID: Unmark(providerID), Name: Unmark(name), Custom: custom}, nil)
}

// CallDelta yields a piece of the arguments of an open call. A piece for a call
// that is not open is dropped.
func (w *Writer) CallDelta(key, args string) bool {
	c := w.calls[key]
	if c == nil || c.ended {
		return !w.stopped
	}
	if args = w.join(key, args, waiting{kind: events.PartCall}); args == "" {
		return !w.stopped
	}
	c.args.WriteString(args)
	return w.send(&events.ToolCallDelta{Block: c.block, Arguments: args}, nil)
}

// CallArguments returns the arguments that CallDelta has collected for a call.
func (w *Writer) CallArguments(key string) string {
	if c := w.calls[key]; c != nil {
		return c.args.String()
	}
	return ""
}

// CallCarry sets the opaque data to send back with a call; ToolCallEnd contains
// it.
func (w *Writer) CallCarry(key string, carry json.RawMessage) {
	if c := w.calls[key]; c != nil {
		c.carry = unmarked(carry)
	}
}

// CallEnd closes a call that the provider reports as complete.
func (w *Writer) CallEnd(key string) bool {
	c := w.calls[key]
	if c == nil {
		return !w.stopped
	}
	return w.flush(key) && w.endCall(c, "")
}

func (w *Writer) endCall(c *openCall, cut string) bool {
	if c.ended {
		return !w.stopped
	}
	c.ended = true
	e := &events.ToolCallEnd{Block: c.block, Carry: c.carry}
	if !c.custom {
		args := c.args.String()
		if cut != "" && strings.TrimSpace(args) == "" {
			e.Invalid = cut
		} else if err := events.CheckArguments(args); err != nil {
			e.Invalid = err.Error()
			if cut != "" {
				e.Invalid = cut
			}
		}
	} else {
		e.Invalid = cut
	}
	return w.send(e, nil)
}

// End closes open calls and ends the answer. An answer with neither Terminated,
// nor a FinishWord, nor an Error was cut; an adapter whose body did not end
// normally sets an Error. If the adapter left Finish empty, End sets it: error,
// else tool calls, else other. If the answer was cut, failed or reached its
// length limit, an open call is complete only if its arguments already are.
func (w *Writer) End(end events.GenerationEnded) {
	end.Error = cutOff(&end)
	if end.Error != nil {
		end.Finish = finishOf(end.Error)
	}
	var cut string
	switch {
	case end.Error != nil && end.Error.Class == events.ErrCut:
		cut = "the answer was cut before the arguments were complete"
	case end.Error != nil:
		cut = fmt.Sprintf("the answer failed before the arguments were complete (%s)", end.Error.Class)
	case end.Finish == events.FinishLength:
		cut = "the output limit was reached before the arguments were complete"
	case end.Finish == events.FinishContentFilter:
		cut = "the provider's content filter stopped the answer before the arguments were complete"
	}
	for _, key := range slices.Sorted(maps.Keys(w.halves)) {
		if !w.flush(key) {
			return
		}
	}
	end.FinishWord, end.Model, end.ResponseID = Unmark(end.FinishWord), Unmark(end.Model), Unmark(end.ResponseID)
	if end.Error != nil && strings.ContainsRune(end.Error.Message+end.Error.Code, mark) {
		said := *end.Error
		said.Message, said.Code = Unmark(said.Message), Unmark(said.Code)
		end.Error = &said
	}
	for _, c := range w.order {
		if !w.endCall(c, cut) {
			return
		}
	}
	if len(w.order) > 0 && (end.Finish == "" || end.Finish == events.FinishStop || end.Finish == events.FinishOther) {
		end.Finish = events.FinishToolCalls
	}
	if end.Finish == "" {
		end.Finish = events.FinishOther
	}
	if end.Error != nil {
		w.send(&end, end.Error)
	} else {
		w.send(&end, nil)
	}
	w.stopped = true
}

// unmarked is [Unmark] for JSON.
func unmarked(raw json.RawMessage) json.RawMessage {
	if !bytes.ContainsRune(raw, mark) {
		return raw
	}
	return json.RawMessage(Unmark(string(raw)))
}

func finishOf(e *events.Error) events.Finish {
	if e.Class == events.ErrCancelled {
		return events.FinishCancelled
	}
	return events.FinishError
}
