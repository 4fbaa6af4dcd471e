package model

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"strconv"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

// Provider calls the models of one vendor or server. It is safe for concurrent use.
// Cancelling ctx ends the stream.
type Provider = llm.Provider

// Stream is a model's answer as it comes. The last pair, and only that, has a
// GenerationEnded; when the generation failed, its Error is the reason and the same error
// is beside it. [Func] makes one without these rules.
type Stream = llm.Stream

// Request is a question to a model: everything that the model reads.
type Request = llm.Request

// Capabilities are what a model can do.
type Capabilities = llm.Capabilities

// Failure is an error with a class, which decides whether a retry can help. A
// provider that returns any other error fails with class internal.
type Failure = events.Error

// Usage is what a generation cost, in tokens; a nil field was not counted.
type Usage = events.Usage

// AnswerFunc answers a request. An answer whose function returns nil is complete.
type AnswerFunc func(ctx context.Context, request Request, w *Writer) error

// Func returns a provider whose answers are written by a function. Its models call
// tools, also while they stream. The name is the first part of a model's full name:
// letters, digits, _ and -.
func Func(name string, answer AnswerFunc) Provider { return &function{name, answer} }

type function struct {
	name   string
	answer AnswerFunc
}

// Name implements [Provider].
func (f *function) Name() string { return f.name }

// Capabilities implements [Provider].
func (f *function) Capabilities(string) Capabilities {
	return Capabilities{Tools: true, StreamTools: true}
}

// Stream implements [Provider].
func (f *function) Stream(ctx context.Context, request Request) iter.Seq2[events.Event, error] {
	return func(yield func(events.Event, error) bool) {
		w := &Writer{w: llm.NewWriter(yield)}
		end := events.GenerationEnded{Finish: events.FinishStop, Terminated: true}
		if err := f.answer(ctx, request, w); err != nil {
			end = events.GenerationEnded{Error: failure(ctx, err)}
		}
		end.Usage = w.usage
		w.w.End(end)
	}
}

// failure is an error of a function as it crosses the wire.
func failure(ctx context.Context, err error) *Failure {
	if ctx.Err() != nil {
		return &Failure{Class: events.ErrCancelled, Message: "the generation was cancelled"}
	}
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	return &Failure{Class: events.ErrInternal, Message: err.Error()}
}

// Writer writes an answer piece by piece. Its methods return false when the answer is not
// needed any more, because the turn was cancelled: the function returns then.
type Writer struct {
	w     *llm.Writer
	block int
	last  string // kind of the open block
	usage *Usage
}

// key is that of the block that a piece belongs to: a new kind starts a new block.
func (w *Writer) key(kind string) string {
	if kind != w.last {
		w.block, w.last = w.block+1, kind
	}
	return strconv.Itoa(w.block)
}

// Text writes a piece of the answer's text. It is published at once.
func (w *Writer) Text(piece string) bool { return w.w.Text(w.key("text"), piece) }

// Reasoning writes a piece of the model's reasoning.
func (w *Writer) Reasoning(piece string) bool {
	return w.w.Reasoning(w.key("reasoning"), piece, false, nil)
}

// Call writes a call of a tool; arguments is a JSON object. The turn continues with
// the call's result, in another request, when the answer is complete.
func (w *Writer) Call(tool string, arguments json.RawMessage) bool {
	w.last = "" // each call is a block of its own
	key := w.key("call")
	return w.w.CallStart(key, "", tool, false) && w.w.CallDelta(key, string(arguments)) && w.w.CallEnd(key)
}

// Used sets what the generation cost.
func (w *Writer) Used(u Usage) { w.usage = &u }
