// Package conformance is the test suite that every [llm.Provider] passes: the
// behaviour on which its consumers rely, for every wire format. Tests for one
// wire format are in the adapter's package.
package conformance

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/recording"
)

// Content of the answers of a [Case].
const (
	Text      = "Hello, world"
	Beginning = "Hello" // start of an answer without an end
	Tool      = "add"
	Arguments = `{"a":1,"b":2}`
)

// testTimeout bounds how long a test waits for an expected event.
const testTimeout = 10 * time.Second

// Case is a provider under test.
type Case struct {
	// New returns a provider that calls the server at base. Without a Wire it
	// calls no server.
	New func(base string, client *http.Client) llm.Provider
	// The answer to Calls is [Text], in two pieces or more, and a call of
	// [Tool] with [Arguments]. The answer to Stalled is [Beginning], and then
	// nothing more. With a Wire, Calls is used for both: the test's server
	// selects the answer.
	Calls, Stalled llm.Request
	// Wire holds the answers of the provider's server; nil for a provider
	// without HTTP, which skips the tests of HTTP.
	Wire *Wire
}

// Wire holds bodies in the provider's wire format.
type Wire struct {
	ContentType string // of a stream
	Calls       string // the answer to [Case].Calls
	Whole       string // the same answer without streaming
	Beginning   string // start of a stream with [Beginning]
	Failed      string // Beginning, then an error: the server is overloaded
	// Target returns the model that a request's URL names, and whether it asks for a
	// stream, where a wire does not say so in the body; nil otherwise.
	Target func(*url.URL) (model string, stream bool)
	// Refusals are refusals with details of this provider.
	Refusals []Refusal
}

// Refusal is an answer of another status than 2xx, as JSON.
type Refusal struct {
	Name   string
	Status int
	Header map[string]string
	Body   string
	Want   events.Error
}

// Run tests a provider.
func Run(t *testing.T, c Case) {
	if c.Wire != nil {
		c.Stalled = c.Calls
	}
	t.Run("an answer keeps the rules of a stream", c.answer)
	t.Run("an answer that is asked for whole says the same", c.whole)
	t.Run("a consumer may stop at any event", c.stopAnywhere)
	t.Run("one provider answers many at once", c.manyAtOnce)
	t.Run("a request that was cancelled before it began says so", c.cancelledBefore)
	t.Run("a request that is cancelled in the middle says so and lets go", c.cancelledInside)
	t.Run("the reason of a cancel is the error", c.cancelledWithReason)
	t.Run("a consumer that stops in the middle is let go", c.stopInside)
	if c.Wire == nil {
		return
	}
	t.Run("refusals", c.refusals)
	t.Run("refusals of its own", c.particular)
	t.Run("a refusal without end is not read without end", c.endless)
	t.Run("answers that are none", c.notAnswers)
	t.Run("the network", c.network)
	t.Run("the request", c.request)
}

// start returns a provider whose server sends the answer; at the end of the
// test, neither may leave a goroutine.
func (c Case) start(t *testing.T, answer answer) (llm.Provider, *server) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
	if c.Wire == nil {
		return c.New("", nil), nil
	}
	s := serve(t, answer)
	return c.New(s.URL, s.Client()), s
}

func (c Case) calls() answer { return answer{contentType: c.streamType(), body: c.bodies().Calls} }
func (c Case) stalled() answer {
	return answer{contentType: c.streamType(), body: c.bodies().Beginning, then: stall}
}

func (c Case) streamType() string { return c.bodies().ContentType }

func (c Case) bodies() Wire {
	if c.Wire == nil {
		return Wire{}
	}
	return *c.Wire
}

// read reads a stream and checks the rules.
func read(t *testing.T, s llm.Stream) recording.Answer {
	t.Helper()
	got := recording.Collect(s)
	for _, rule := range got.Broken {
		t.Error("the stream breaks a rule: " + rule)
	}
	if got.End == nil {
		t.Fatal("the stream has no end")
	}
	return got
}

// failed checks that an answer ended with an error of a class.
func failed(t *testing.T, got recording.Answer, class events.ErrorClass) *events.Error {
	t.Helper()
	finish := events.FinishError
	if class == events.ErrCancelled {
		finish = events.FinishCancelled
	}
	if got.End.Error == nil || got.End.Error.Class != class || got.End.Finish != finish {
		t.Fatalf("the end is %s with %v, want %s with class %s", got.End.Finish, got.End.Error, finish, class)
	}
	if got.End.Error.Message == "" {
		t.Error("the error says nothing")
	}
	return got.End.Error
}

// untilText sends a request, and acts when text arrives.
func untilText(ctx context.Context, p llm.Provider, req llm.Request, then func()) llm.Stream {
	return func(yield func(events.Event, error) bool) {
		for e, err := range p.Stream(ctx, req) {
			if !yield(e, err) {
				return
			}
			if _, text := e.(*events.TextChunk); text {
				then()
			}
		}
	}
}
