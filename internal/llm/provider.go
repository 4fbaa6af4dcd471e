// Package llm calls language models. Each adapter is a package below and
// converts one provider's wire format into the events of the gen channel, in
// the provider's order, without losing data.
//
// The adapters decode the raw response themselves: the vendors' stream decoders
// lose data on real streams (an id that changes, a finish reason that is sent
// twice, an error inside HTTP 200). The vendors' libraries make the requests.
package llm

import (
	"context"
	"encoding/json"
	"io"
	"iter"

	"github.com/parleybus/parley/internal/events"
)

// Stream yields a model's answer as it arrives. Events are not stamped and
// calls have no Parley id yet; Block identifies the content blocks. The last
// pair, and only the last, holds a [events.GenerationEnded]; if the generation
// failed, its Error says why and is also the error of the pair. Every call has
// its ToolCallEnd before the end. If a consumer stops early, the connection is
// closed.
type Stream = iter.Seq2[events.Event, error]

// Provider calls the models of one vendor or server. It is safe for concurrent
// use. Cancelling ctx closes the connection and ends the stream with class
// cancelled.
type Provider interface {
	// Name is the first part of a model's full name: "anthropic" in
	// "anthropic/claude-sonnet-5".
	Name() string
	// Capabilities returns what a model can do, as far as that is known without
	// a request.
	Capabilities(model string) Capabilities
	// Stream sends one request, without retries.
	Stream(ctx context.Context, req Request) Stream
}

// Decoder decodes the body of a provider's answer. Stream uses it, and "parley
// decode" runs it on a recording.
type Decoder func(body io.Reader) Stream

// MostRequests is how often a request is sent at most in all, whatever the provider
// refuses of it, unless the job says less.
const MostRequests = 4

// MayRepeat reports whether the request may be sent once more, and counts it.
func (r Request) MayRepeat() bool { return r.Again == nil || r.Again() }

// Capabilities is what a model can do.
type Capabilities struct {
	Tools       bool // calls tools at all
	StreamTools bool // calls tools while streaming; otherwise it is called without streaming
	// Schema is whether the provider has a mode of its own for answers that fit a JSON
	// Schema, and SchemaTools whether it has it beside tools. Without, a tool takes the
	// answer.
	Schema, SchemaTools bool
	NoImages            bool // takes no images and no files but text; false if it takes them or nothing is known
}

// Media is the content of an image or file that is stored by reference.
type Media struct {
	Data   []byte
	Absent string // why there is no Data; empty if there is
}

// Request is a complete request to a model: adapters keep no state.
type Request struct {
	Model      string
	System     string
	Messages   []events.Message
	Tools      []events.ToolSpec
	Parameters events.Parameters
	// Schema is a JSON Schema of an object that an answer without calls must fit; empty
	// for none. The caller validates the answer.
	Schema json.RawMessage
	// Omit is what to leave out of Messages: the provider has refused the whole.
	Omit events.Omission
	// NoImages leaves out images and files: the model does not take them, or the
	// provider has refused them.
	NoImages bool
	// Media are the bytes of images and files of Messages that are stored by
	// reference, by the name of their object. A provider must not keep them.
	Media map[string]Media
	// Demand is a field that the provider's refusal demands; empty for none. See
	// package transcript.
	Demand string
	// TellReasoning sends the reasoning of other models as text. Otherwise it is
	// left out.
	TellReasoning bool
	// CacheKey is the same for requests that begin alike, at most 64 characters:
	// OpenAI sends them to the same machine, which may have their prefix in its cache.
	CacheKey string
	// CompletionTokens names the bound of the answer max_completion_tokens in Chat
	// Completions: the model has refused max_tokens.
	CompletionTokens bool
	// Whole requests the answer without streaming. It yields the same events.
	Whole bool
	// Again reports whether the request may be sent once more after the provider
	// refused it, and counts it: one budget bounds all that do so. nil is no bound
	// beyond their own.
	Again func() bool
}
