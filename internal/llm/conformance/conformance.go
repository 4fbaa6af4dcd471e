// Package conformance is the suite that every [llm.Provider] passes: what its
// consumers may rely on whatever the wire looks like. What is particular to a
// wire is tested beside its adapter.
package conformance

import (
	"context"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/recording"
)

// What the answers of a [Case] say.
const (
	Text      = "Hello, world"
	Beginning = "Hello" // of an answer that does not come to its end
	Tool      = "add"
	Arguments = `{"a":1,"b":2}`
)

// patience bounds how long a test waits for what must happen.
const patience = 10 * time.Second

// Case is a provider under test.
type Case struct {
	// New returns a provider that asks the server at base. One without a Wire
	// asks nobody.
	New func(base string, client *http.Client) llm.Provider
	// Calls is answered with [Text], in two pieces or more, and a call of [Tool]
	// with [Arguments]. Stalled is answered with [Beginning], and then nothing
	// comes. With a Wire, Calls stands for both: it is the test's server that
	// says what is answered.
	Calls, Stalled llm.Request
	// Wire is how the provider's server writes its answers; nil for a provider
	// that does not use HTTP, which leaves out what is about HTTP.
	Wire *Wire
}

// Wire holds bodies as the provider's server writes them.
type Wire struct {
	ContentType string // of a stream
	Calls       string // what [Case] says of Calls
	Whole       string // the same to a request that asks for the whole
	Beginning   string // of a stream that says [Beginning]
	Failed      string // Beginning, and then an error: the server is overloaded
	// Refusals are those of which the provider says more than others.
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

// start returns a provider whose server answers so; when the test ends, no
// goroutine may be left of either.
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

// read reads a stream and holds it to the rules.
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

// failed holds an answer to an error of a class.
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

// untilText asks, and acts when text comes.
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
