package llmworker

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/conformance"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// long is the pause of a model that only ends when it is stopped, in milliseconds.
const long = 50_000

// generation is a generation for a worker to run.
type generation struct {
	*stage
	job     *events.GenerationJob
	lane    topology.Address
	subject string // of the job
	after   uint64 // last sequence of the lane before the generation
}

// newGeneration writes the Decision for a generation in a new conversation and returns its
// job without publishing it. extra is what the model does, a JSON object.
func (s *stage) newGeneration(extra string) *generation {
	g := &generation{stage: s, job: &events.GenerationJob{Conversation: conformance.NewID(), Turn: conformance.NewID(), Generation: conformance.NewID(),
		Step: 1, Route: s.model.Model, System: "You are being checked.",
		Messages: []events.Message{{Role: events.RoleUser, Parts: []events.Part{{Kind: events.PartText, Text: "Hello."}}}},
		Tools:    []events.ToolSpec{{Name: "weather", Description: "The weather of a city.", Effect: events.EffectPure, Schema: json.RawMessage(`{"type":"object","properties":{"city":{"type":"string"}}}`)}}}}
	s.Must(json.Unmarshal([]byte(extra), &g.job.Parameters.Extra))
	g.lane = topology.At(s.Shards(), g.job.Conversation, events.ChannelGen)
	g.job.Subject = g.lane.Subject(topology.Conv)
	g.address()
	g.job.Decision = g.decide(0, g.job.Generation)
	return g
}

// address sets the subject of the job.
func (g *generation) address() {
	var err error
	g.subject, err = topology.GenerationJob(g.job.Route, g.job.Generation)
	g.Must(err)
}

// decide appends a Decision that wants a generation; "" means none.
func (g *generation) decide(after uint64, wanted string) uint64 {
	state := events.State{Phase: events.PhaseGenerating, Turn: g.job.Turn, Step: 1, Generation: wanted}
	if wanted == "" {
		state = events.State{Phase: events.PhaseIdle}
	}
	return g.Write(topology.At(g.Shards(), g.job.Conversation, events.ChannelTurn), after, &events.Decision{State: state})
}

// publish publishes the job to its queue.
func (g *generation) publish() *generation {
	g.Must(g.Jobs().Publish(g.Within(conformance.Soon), g.job.Conversation, g.subject, g.job.Generation, g.job))
	return g
}

// claimed publishes a claim in place of the job.
func (g *generation) claimed(object *events.Object) *generation {
	g.Must(g.Jobs().Publish(g.Within(conformance.Soon), g.job.Conversation, g.subject, g.job.Generation, &events.Claim{Of: g.job.Type(), Object: *object}))
	return g
}

// read returns the events of the lane since the generation was requested.
func (g *generation) read() []conformance.Written { return g.ReadLane(g.lane, g.after) }

// lanes describes the lane for messages.
func (g *generation) lanes() string { return conformance.Types(g.read()) }

// await waits until the lane has a number of events of a type and returns the last of
// these.
func await[E events.Event](g *generation, n int, d time.Duration) E {
	var last E
	g.Eventually(d, fmt.Sprintf("the lane has %d %s", n, last.Type()), func() bool {
		found := 0
		for _, w := range g.read() {
			if e, ok := w.Event.(E); ok && found < n {
				found, last = found+1, e
			}
		}
		return found == n
	})
	return last
}

// ended waits for the end of the generation and of its job, and checks how it ended.
func (g *generation) ended(finish events.Finish, class events.ErrorClass) *events.GenerationEnded {
	e := await[*events.GenerationEnded](g, 1, conformance.Soon)
	got := events.ErrorClass("")
	if e.Error != nil {
		got = e.Error.Class
	}
	if e.Finish != finish || got != class {
		g.Errorf("the generation ended with finish %q and error class %q, expected %q and %q", e.Finish, got, finish, class)
	}
	if e.Error != nil && e.Error.Message == "" {
		g.Errorf("the error of class %s has no message, expected a text that says what happened", class)
	}
	g.JobRemoved(g.subject, conformance.Soon)
	return e
}

// attempt is the events of the last attempt, each checked: the index, the attempt, and
// what its message follows.
func (g *generation) attempt() []conformance.Written {
	all := g.read()
	from := 0
	for i, w := range all {
		if _, ok := w.Event.(*events.GenerationStarted); ok {
			from = i
		}
	}
	before := g.after
	if from > 0 {
		before = all[from-1].At
	}
	all = all[from:]
	if len(all) == 0 {
		g.Fatalf("the lane has no GenerationStarted")
	}
	id, at := "", all[0].At
	for i, w := range all {
		e, ok := w.Event.(events.Stamped)
		if !ok {
			g.Fatalf("a %s is on the gen lane, expected events of the model's answer only", w.Event.Type())
		}
		attempt, index := e.Position()
		if i == 0 {
			id = attempt
		}
		if attempt != id || index != i {
			g.Errorf("event %d of the attempt is %s, expected the attempt %s and the index %d", i, clip(w.Raw), id, i)
		}
		if w.At != at {
			before, at = at, w.At
		}
		if !w.Follows(before) {
			g.Errorf("the message of event %d has the header Nats-Expected-Last-Subject-Sequence %q, expected %d, the lane's last message before it", i, w.After, before)
		}
		if w.Header[jetstream.MsgIDHeader] != nil {
			g.Errorf("a message on the lane has the header Nats-Msg-Id, expected none: the expected sequence already refuses duplicates")
		}
	}
	return all
}

// text is the text of the last attempt.
func (g *generation) text() string {
	var b strings.Builder
	for _, w := range g.attempt() {
		if e, ok := w.Event.(*events.TextChunk); ok {
			b.WriteString(e.Text)
		}
	}
	return b.String()
}

// untouched waits for the job to be acknowledged and checks that the lane has as many
// events as before.
func (g *generation) untouched(want int) {
	g.JobRemoved(g.subject, conformance.Soon)
	if got := g.read(); len(got) != want {
		g.Errorf("the lane holds %s, expected %d as before", conformance.Types(got), want)
	}
}

func clip(raw []byte) string { return fmt.Sprintf("%.200s", raw) }

// running starts a worker, and a generation whose model pauses.
func running(s *stage) (*generation, *conformance.Process) {
	s.MakeQueue(s.served)
	p := s.start("one")
	g := s.newGeneration(fmt.Sprintf(`{"pause_ms":%d}`, long)).publish()
	await[*events.TextChunk](g, 1, conformance.Soon)
	return g, p
}

// run has the worker run a generation.
func (s *stage) run() { s.newGeneration(`{}`).publish().ended(events.FinishStop, "") }

// started is the start of another worker's attempt.
func (g *generation) started(attempt, worker string) *events.GenerationStarted {
	return &events.GenerationStarted{Origin: events.Origin{Attempt: attempt}, Generation: g.job.Generation, Turn: g.job.Turn, Step: 1, Provider: g.model.Route, Model: "m", Worker: worker}
}
