// Package llm asks language models. Each adapter lives in a package below and
// turns one provider's wire format into the events of the gen channel, in the
// order the provider sent them, losing nothing that it sent.
//
// The adapters decode the raw response themselves: the vendors' stream decoders
// lose data on real streams (an id that changes, a finish reason that comes
// twice, an error inside HTTP 200). The vendors' libraries make the requests.
package llm

import (
	"context"
	"io"
	"iter"

	"github.com/parleybus/parley/internal/events"
)

// Stream is the answer of a model as it comes. Events are unstamped and calls
// carry no id of ours; Block tells the content blocks apart. The last pair, and
// only the last, holds a [events.GenerationEnded]; when the generation failed,
// its Error says why and the same error stands beside it. After the last
// ToolCallStart and before the end every call has had its ToolCallEnd. A
// consumer may stop early: the connection is then closed.
type Stream = iter.Seq2[events.Event, error]

// Provider asks the models of one vendor or server. It is safe for concurrent
// use. Cancelling ctx closes the connection and ends the stream with class
// cancelled.
type Provider interface {
	// Name is the first part of a model's full name: "anthropic" in
	// "anthropic/claude-sonnet-5".
	Name() string
	// Capabilities tells what a model can do, as far as is known without asking.
	Capabilities(model string) Capabilities
	// Stream asks once, without retries.
	Stream(ctx context.Context, req Request) Stream
}

// Decoder reads the body of a provider's answer. It is the code path that
// Stream uses, and what "parley decode" runs on a recording.
type Decoder func(body io.Reader) Stream

// Capabilities is what a model can do.
type Capabilities struct {
	Tools       bool // calls tools at all
	StreamTools bool // calls tools while streaming; otherwise it is asked without
}

// Request is one question to a model, whole: adapters keep no state.
type Request struct {
	Model      string
	System     string
	Messages   []events.Message
	Tools      []events.ToolSpec
	Parameters events.Parameters
	// Whole asks without streaming. The answer comes as the same events.
	Whole bool
}
