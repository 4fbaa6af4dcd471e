//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// flood is a deployment of separate processes, a client that is honest and one that
// is not.
type flood struct {
	*separate
	client *parley.Client
	bus    *bus.Bus
	each   time.Duration // how long each hostile input is sent
	full   bool          // the ratio of latencies is tested, not only reported
	n      int

	objects map[int]*events.Object // by size

	mu      sync.Mutex
	waiting map[string]map[string]chan struct{} // by conversation and input
}

// hostile is a conversation that sends one kind of hostile input, over and over. A
// round waits until all of it is answered.
type hostileInput struct {
	name  string
	round func(ctx context.Context, f *flood, id string) error
}

func hostileInputs() []hostileInput {
	return []hostileInput{
		{"an answer without end", func(ctx context.Context, f *flood, id string) error {
			return f.ends(ctx, id, "openai/m", "answer_too_large")
		}},
		{"arguments without end", func(ctx context.Context, f *flood, id string) error {
			return f.ends(ctx, id, "openai/arguments", "arguments_too_large")
		}},
		{"twelve claims of a large object", func(ctx context.Context, f *flood, id string) error {
			return f.claims(ctx, id, 12, 100<<20)
		}},
		{"twelve claims of the largest input", func(ctx context.Context, f *flood, id string) error {
			return f.claims(ctx, id, 12, 3_900_000)
		}},
		{"a schema of nested references", func(ctx context.Context, f *flood, id string) error {
			return f.announce(ctx, id)
		}},
		{"conditions beyond the ceiling", func(ctx context.Context, f *flood, id string) error {
			return f.conditions(ctx, id, 200, 2_000)
		}},
		{"conditions below the ceiling", func(ctx context.Context, f *flood, id string) error {
			return f.conditions(ctx, id, 30, 1_000)
		}},
		{"extra parameters", func(ctx context.Context, f *flood, id string) error {
			return f.publish(ctx, id, &events.Settings{Parameters: events.Parameters{Extra: map[string]json.RawMessage{"model": json.RawMessage(`"evil"`)}}})
		}},
		{"limits", func(ctx context.Context, f *flood, id string) error {
			return f.publish(ctx, id, &events.Settings{Limits: events.Limits{Steps: 1 << 40, TimeMS: 1 << 60, Parallel: 1 << 30}})
		}},
		{"a hundred messages", func(ctx context.Context, f *flood, id string) error {
			var all []events.Event
			for range 100 {
				all = append(all, &events.UserMessage{Text: "hello"})
			}
			return f.publish(ctx, id, all...)
		}},
		{"4,000 inputs in a message", func(ctx context.Context, f *flood, id string) error {
			f.n++
			last := fmt.Sprintf("last-%d", f.n)
			answered := f.expect(id, last)
			a := topology.At(f.bus.Shards(), id, events.ChannelIn)
			_, js := f.bus.Raw()
			if _, err := js.Publish(ctx, a.Subject(topology.Conv), []byte(strings.Repeat(`{"type":"Cancel"}`+"\n", 4_000)+fmt.Sprintf(`{"type":"Cancel","id":%q}`, last))); err != nil {
				return err
			}
			return wait(ctx, answered)
		}},
	}
}

// TestE2EFlood sends each hostile input beside an honest conversation: its p99 stays
// within three times of what it is alone, all processes together use less than 1 GB,
// and every input is answered. PARLEY_FLOOD=60s (make flood) sends each for that long
// and tests the ratio; without it each is sent for a moment, and the ratio is printed.
// PARLEY_ONLY names the inputs to send, by a part of their names.
func TestE2EFlood(t *testing.T) {
	f := newFlood(t)
	for _, h := range hostileInputs() {
		if !strings.Contains(h.name, os.Getenv("PARLEY_ONLY")) {
			continue
		}
		// Once before: what a round prepares is not part of it.
		if err := h.round(t.Context(), f, parley.NewID()); err != nil {
			t.Errorf("%s: %v", h.name, err)
			continue
		}
		alone := f.p99(func() bool { return true })
		ctx, cancel := context.WithTimeout(t.Context(), f.each)
		done := make(chan error, 1)
		rounds := 0
		go func() {
			for ctx.Err() == nil {
				// A round that has started may finish: its inputs are answered, too.
				limit, stop := context.WithTimeout(t.Context(), 2*time.Minute)
				err := h.round(limit, f, parley.NewID())
				stop()
				if err != nil {
					done <- fmt.Errorf("round %d: %w", rounds, err)
					return
				}
				rounds++
			}
			done <- nil
		}()
		beside := f.p99(func() bool { return ctx.Err() == nil })
		if err := <-done; err != nil {
			t.Errorf("%s: %v", h.name, err)
		}
		cancel()
		most, each := f.memory()
		ratio := float64(beside) / float64(alone)
		t.Logf("%-36s %6d rounds; p99 alone %8s, beside it %8s: %4.1f times; memory of all processes %4d MB:%s", h.name, rounds, alone.Round(10*time.Microsecond), beside.Round(10*time.Microsecond), ratio, most, each)
		if f.full && ratio > 3 {
			t.Errorf("%s: the p99 of an honest conversation is %.1f times what it is alone", h.name, ratio)
		}
		if most >= 1_000 {
			t.Errorf("%s: all processes together used %d MB", h.name, most)
		}
	}
	for _, p := range []*process{f.llm, f.tool, f.orch} {
		p.stop() // SIGTERM takes effect
	}
	f.nats.kill()
}

func newFlood(t *testing.T) *flood {
	f := &flood{separate: &separate{processes: build(t)}, each: time.Second, objects: map[int]*events.Object{}, waiting: map[string]map[string]chan struct{}{}}
	if text := os.Getenv("PARLEY_FLOOD"); text != "" {
		var err error
		if f.each, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
		f.full = true
	}
	provider := httptest.NewServer(http.HandlerFunc(pour))
	t.Cleanup(provider.Close)
	f.env = []string{"OPENAI_BASE_URL=" + provider.URL, "PARLEY_MODEL=scripted/demo"}
	script := filepath.Join(f.dir, "script.yaml")
	if err := os.WriteFile(script, []byte("model: demo\npace: 0\nrules:\n  - {name: one, match: ., steps: [{text: Hello.}]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	roles := f.env
	f.env = []string{"GOMEMLIMIT=512MiB"} // as docker-compose.yml runs the server
	f.startNATS("-1")
	f.env = roles
	for _, role := range []string{"orchestrator", "llm-worker", "tool-worker"} {
		f.restart(role)
	}
	var err error
	if f.client, err = parley.Connect(t.Context(), parley.Config{URL: f.url}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.client.Close)
	if f.bus, err = bus.Connect(t.Context(), bus.Config{URL: f.url}, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.bus.Close)
	nc, _ := f.bus.Raw()
	sub, err := nc.Subscribe("live.*.*.turn", f.decided)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(sub.SetPendingLimits(-1, -1), nc.Flush()); err != nil {
		t.Fatal(err)
	}
	return f
}

// pour is a provider that streams without end.
func pour(w http.ResponseWriter, r *http.Request) {
	var req struct{ Model string }
	if json.NewDecoder(r.Body).Decode(&req) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	piece := strings.Repeat("x", 4<<10)
	chunk := `data: {"choices":[{"index":0,"delta":{"content":"` + piece + `"}}]}` + "\n\n"
	if req.Model == "arguments" {
		_, _ = fmt.Fprint(w, `data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"now","arguments":"{\"a\":\""}}]}}]}`+"\n\n")
		chunk = `data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"` + piece + `"}}]}}]}` + "\n\n"
	}
	for {
		if _, err := fmt.Fprint(w, chunk); err != nil {
			return
		}
	}
}

// decided tells those who wait for an answer in a Decision. It looks for the ids and
// decodes nothing: the hostile client is in the process of the honest one, and must not
// take its time.
func (f *flood) decided(m *nats.Msg) {
	a, err := topology.Parse(m.Subject)
	if err != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for input, answered := range f.waiting[a.Conversation] {
		if bytes.Contains(m.Data, fmt.Appendf(nil, `"input":%q`, input)) {
			close(answered)
			delete(f.waiting[a.Conversation], input)
		}
	}
}

// expect returns a channel that is closed when an input is answered.
func (f *flood) expect(id, input string) chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.waiting[id] == nil {
		f.waiting[id] = map[string]chan struct{}{}
	}
	c := make(chan struct{})
	f.waiting[id][input] = c
	return c
}

func wait(ctx context.Context, answers ...chan struct{}) error {
	for i, c := range answers {
		select {
		case <-c:
		case <-ctx.Done():
			return fmt.Errorf("input %d of %d has no answer: %w", i+1, len(answers), ctx.Err())
		}
	}
	return nil
}

// publish publishes inputs, and returns when all are answered.
func (f *flood) publish(ctx context.Context, id string, all ...events.Event) error {
	var answers []chan struct{}
	for _, e := range all {
		input := parley.NewID()
		switch e := e.(type) {
		case *events.Settings:
			e.ID = input
		case *events.UserMessage:
			e.ID = input
		}
		answers = append(answers, f.expect(id, input))
		if _, err := f.bus.Conversation(id).Publish(ctx, input, e); err != nil {
			return err
		}
	}
	return wait(ctx, answers...)
}

// ends runs a turn on a route and wants it to end for a reason.
func (f *flood) ends(ctx context.Context, id, route, reason string) error {
	if err := f.publish(ctx, id, &events.Settings{Route: route}); err != nil {
		return err
	}
	turn, err := f.client.Conversation(id).Send(ctx, "go")
	if err != nil {
		return err
	}
	result, err := turn.Wait(ctx)
	if result.TurnEnded == nil {
		return fmt.Errorf("the turn has no end: %w", err)
	}
	if result.TurnEnded.Reason != reason {
		return fmt.Errorf("the turn ended as %s, %s: %v", result.TurnEnded.Outcome, result.TurnEnded.Reason, result.TurnEnded.Error)
	}
	return nil
}

// object stores an input of a size, once.
func (f *flood) object(ctx context.Context, size int) (*events.Object, error) {
	if o := f.objects[size]; o != nil {
		return o, nil
	}
	text, err := json.Marshal(strings.Repeat("x", size))
	if err != nil {
		return nil, err
	}
	o, err := f.bus.Objects().Put(ctx, parley.NewID(), fmt.Appendf(nil, `{"type":"UserMessage","id":"inner","text":%s}`, text))
	f.objects[size] = o
	return o, err
}

// claims publishes references to one object.
func (f *flood) claims(ctx context.Context, id string, n, size int) error {
	o, err := f.object(ctx, size)
	if err != nil {
		return err
	}
	frame, err := events.AppendFrame(nil, &events.Claim{Of: "UserMessage", Object: *o})
	if err != nil {
		return err
	}
	// One that is fetched is answered under its own id, one that is not under the
	// message's.
	inner := f.expect(id, "inner")
	var outer []chan struct{}
	_, js := f.bus.Raw()
	for i := range n {
		m := nats.NewMsg(topology.At(f.bus.Shards(), id, events.ChannelIn).Subject(topology.Conv))
		m.Data = frame
		m.Header.Set(nats.MsgIdHdr, fmt.Sprintf("%s/outer-%d", id, i))
		outer = append(outer, f.expect(id, fmt.Sprintf("outer-%d", i)))
		if _, err := js.PublishMsg(ctx, m); err != nil {
			return err
		}
	}
	if size < bus.MaxInput {
		return wait(ctx, inner)
	}
	return wait(ctx, outer...)
}

// announce offers a tool whose schema never ends, and runs a turn.
func (f *flood) announce(ctx context.Context, id string) error {
	f.n++
	var defs []string
	for i := range 40 {
		defs = append(defs, fmt.Sprintf(`"a%d":{"allOf":[{"$ref":"#/$defs/a%d"},{"$ref":"#/$defs/a%d"}]}`, i, i+1, i+1))
	}
	schema := fmt.Appendf(nil, `{"type":"object","title":"%d","$ref":"#/$defs/a0","$defs":{%s,"a40":{}}}`, f.n, strings.Join(defs, ","))
	a := f.bus.Presence().NewAnnouncement()
	if _, err := a.Set(ctx, []bus.Offer{{Kind: "tool", Name: fmt.Sprintf("bomb%d", f.n%10), Worker: fmt.Sprintf("w%d", f.n), Tool: &events.ToolSpec{Name: fmt.Sprintf("bomb%d", f.n%10), Schema: schema}}}); err != nil {
		return err
	}
	defer a.Leave(ctx)
	return f.publish(ctx, id, &events.UserMessage{Text: "go"})
}

// conditions publishes a policy whose conditions are all new.
func (f *flood) conditions(ctx context.Context, id string, n, size int) error {
	f.n++
	p := &events.Policy{}
	for i := range n {
		p.Rules = append(p.Rules, events.Rule{Action: events.ActionAuto, When: fmt.Sprintf("args.k%d==%d", i, f.n) + strings.Repeat(`||args.a=="x"`, size/13-2)})
	}
	return f.publish(ctx, id, &events.Settings{Policy: p})
}

// p99 runs honest turns, each in a conversation of its own, for as long as each
// hostile input is sent and go says so.
func (f *flood) p99(on func() bool) time.Duration {
	f.t.Helper()
	var took []time.Duration
	for until := time.Now().Add(f.each); time.Now().Before(until) && on() || len(took) < 20; {
		began := time.Now()
		ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
		turn, err := f.client.Conversation(parley.NewID()).Send(ctx, "hello")
		if err == nil {
			_, err = turn.Wait(ctx)
		}
		cancel()
		if err != nil {
			f.t.Fatalf("an honest turn after %s: %v", time.Since(began), err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[(len(took)*99)/100]
}

// memory returns the highest resident memory that each process ever had, added up, in
// MB, and that of each.
func (f *flood) memory() (sum int, each string) {
	f.t.Helper()
	for _, p := range []struct {
		name string
		*process
	}{{"server", f.nats}, {"orchestrator", f.orch}, {"llm-worker", f.llm}, {"tool-worker", f.tool}} {
		most := int(p.megabytes("VmHWM"))
		sum += most
		each += fmt.Sprintf(" %s %d", p.name, most)
	}
	return sum, each
}
