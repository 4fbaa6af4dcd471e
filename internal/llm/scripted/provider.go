// Package scripted is a provider without a model: it plays a YAML script of
// replies and tool calls, paced like a stream. It is used by the offline demo,
// and by tests that need a model with a certain behaviour.
//
// The output depends on the request alone: the first rule that matches the last
// user message answers, and its step is the number of answers since that
// message. The only exception is fail_first, which counts in the memory of this
// Provider.
package scripted

import (
	"cmp"
	"context"
	_ "embed" // the demo
	"encoding/json"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

// demo cannot be declared inside Demo: go:embed wants a variable here.
//
//go:embed demo.yaml
var demo []byte

// Demo returns the script of the built-in demo model. It uses the tools now and
// calculate, and http_get and read_file if they are offered.
func Demo() []byte { return append([]byte(nil), demo...) }

// maxFailures bounds the number of questions whose failures are counted.
const maxFailures = 10_000

// Provider plays one script. It implements [llm.Provider].
type Provider struct {
	name   string
	script *script

	mu       sync.Mutex
	failures map[uint64]int // by question and step, for fail_first
}

// New returns a provider of the given name that plays a script. An error names
// the line.
func New(name string, source []byte) (*Provider, error) {
	s, err := parse(source)
	if err != nil {
		return nil, fmt.Errorf("script of the provider %q: %w", name, err)
	}
	return &Provider{name: name, script: s, failures: map[uint64]int{}}, nil
}

// Name implements [llm.Provider].
func (p *Provider) Name() string { return p.name }

// Capabilities implements [llm.Provider].
func (p *Provider) Capabilities(string) llm.Capabilities {
	return llm.Capabilities{Tools: true, StreamTools: true, Schema: true, SchemaTools: true}
}

// Stream implements [llm.Provider].
func (p *Provider) Stream(ctx context.Context, req llm.Request) llm.Stream {
	return func(yield func(events.Event, error) bool) {
		w := llm.NewWriter(yield)
		t := newTurn(req.Messages)
		s, index := p.choose(t, req)
		a := answer{
			writer: w,
			step:   s,
			whole:  req.Whole,
			pace:   time.Duration(p.script.Pace) * time.Millisecond,
			chunk:  cmp.Or(s.Chunk, p.script.Chunk, 1),
			limit:  -1,
		}
		if s.Pace != nil {
			a.pace = time.Duration(*s.Pace) * time.Millisecond
		}
		end := events.GenerationEnded{Model: cmp.Or(p.script.Model, req.Model)}
		if err := a.prepare(t); err != nil {
			end.Error = &events.Error{Class: events.ErrInternal,
				Message: fmt.Sprintf("the script of %s cannot answer in step %d: %v; mend the script", p.name, t.Step, err)}
			w.End(end)
			return
		}
		fails := s.Error != nil && (s.FailFirst == 0 || p.fails(req, index, s.FailFirst))
		switch {
		case s.After != nil && (fails || s.Error == nil):
			a.limit = *s.After
		case fails:
			a.limit = 0
		}
		if !a.play(ctx) {
			if ctx.Err() != nil {
				end.Error = llm.FromRead(ctx, ctx.Err())
				w.End(end)
			}
			return
		}
		switch {
		case fails:
			end.Error = s.Error.event()
		case s.Cut:
		case s.Stall:
			<-ctx.Done()
			end.Error = llm.FromRead(ctx, ctx.Err())
		default:
			end.Terminated, end.Finish, end.Usage = true, cmp.Or(s.End, events.FinishStop), a.usage(req)
			end.FinishWord = string(s.End)
		}
		w.End(end)
	}
}

// choose returns the step to play and a number for it.
func (p *Provider) choose(t *turn, req llm.Request) (*step, int) {
	for i := range p.script.Rules {
		r := &p.script.Rules[i]
		if !t.matches(r) {
			continue
		}
		n := t.Step - 1
		if r.Loop {
			n %= len(r.Steps)
		}
		if n >= len(r.Steps) {
			return literally("The rule %q of my script has %d step(s), and this would be step %d: I have nothing more to say.", r.Name, len(r.Steps), t.Step), 0
		}
		s := &r.Steps[n]
		if missing := s.missing(req.Tools); missing != "" {
			return literally("For this I would call the tool %q, but this conversation does not offer it. Start a tool worker that serves it, or allow it in the conversation's settings, and ask again.", missing), 0
		}
		return s, i*MaxSteps + n
	}
	return literally("My script has no answer to this: no rule matches, and it has no rule without a condition."), 0
}

// literally returns a step with one literal text.
func literally(format string, args ...any) *step {
	return &step{literal: fmt.Sprintf(format, args...)}
}

// missing returns the first tool that the step calls and that is not offered.
func (s *step) missing(offered []events.ToolSpec) string {
	for _, c := range s.Calls {
		found := c.Unoffered
		for _, o := range offered {
			found = found || o.Name == c.Tool
		}
		if !found {
			return c.Tool
		}
	}
	return ""
}

// fails counts how often a step was requested with the same messages, and
// removes the count after a success.
func (p *Provider) fails(req llm.Request, index, first int) bool {
	h := fnv.New64a()
	raw, err := json.Marshal(req.Messages)
	if err != nil {
		return false // messages came from JSON
	}
	fmt.Fprintf(h, "%d %s", index, raw)
	p.mu.Lock()
	defer p.mu.Unlock()
	key := h.Sum64()
	if p.failures[key] >= first {
		delete(p.failures, key)
		return false
	}
	if len(p.failures) >= maxFailures {
		clear(p.failures)
	}
	p.failures[key]++
	return true
}

func (f *failure) event() *events.Error {
	return &events.Error{Class: f.Class, Message: cmp.Or(f.Message, "the script says so"), Code: f.Code,
		HTTPStatus: f.HTTPStatus, RetryAfterMS: f.RetryAfterMS}
}
