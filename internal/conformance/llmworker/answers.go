package llmworker

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/conformance"
	"github.com/parleybus/parley/internal/events"
)

func announces(s *stage) {
	s.start("one")
	o := s.OfferOf(s.served, "one")
	if o.Kind != "llm" || o.Name != s.model.Route || !conformance.Named(o.Worker, "one") || !strings.HasPrefix(o.Model, s.model.Route+"/") {
		s.Errorf("it announces %+v, expected kind llm, the route's name, its unique worker's name and a model %s/NAME", o, s.model.Route)
	}
	s.run()
}

// signsIn runs a generation on servers without accounts, which want a token, or a user and
// a password.
func signsIn(s *stage) {
	for _, login := range []*url.Userinfo{url.User("t0ken"), url.UserPassword("somebody", "s3cr3t")} {
		for _, inURL := range []bool{true, false} {
			plain := newStage(s.Check, s.model, conformance.Setup{Login: login, InURL: inURL})
			plain.start("one")
			plain.run()
		}
	}
}

func heartbeats(s *stage) {
	s.MakeQueue(s.served)
	s.start("one")
	g := s.newGeneration(fmt.Sprintf(`{"pause_ms":%d}`, 2*conformance.AckWait.Milliseconds())).publish()
	g.ended(events.FinishStop, "")
	starts := 0
	for _, w := range g.read() {
		if _, ok := w.Event.(*events.GenerationStarted); ok {
			starts++
		}
	}
	if starts != 1 {
		s.Errorf("the generation was started %d times, expected once: the job was delivered again", starts)
	}
}

// large makes the job need several chunks of an object.
func (g *generation) large(text string) []byte {
	g.job.System = strings.Repeat(text, 300<<10)
	frame, err := events.AppendFrame(nil, g.job)
	g.Must(err)
	return frame
}

func fetchesClaims(s *stage) {
	s.MakeQueue(s.served)
	s.start("one")
	g := s.newGeneration(`{}`)
	g.claimed(s.Put(g.job.Conversation, g.large("x"))).ended(events.FinishStop, "")
}

func ignoresForgeries(s *stage) {
	s.MakeQueue(s.served)
	s.start("one")
	g := s.newGeneration(`{}`)
	frame := g.large("x")
	other := *g.job
	other.Parameters.Extra = map[string]json.RawMessage{"fail": json.RawMessage(`"auth"`)}
	other.System = other.System[:len(other.System)-64] // not longer than the job
	forged, err := events.AppendFrame(nil, &other)
	s.Must(err)
	g.claimed(s.Forge(g.job.Conversation, frame, forged)).ended(events.FinishStop, "")
}

func leavesEnded(s *stage) {
	s.MakeQueue(s.served)
	g := s.newGeneration(`{}`)
	attempt := conformance.NewID()
	g.Write(g.lane, 0, g.started(attempt, "before"), &events.GenerationEnded{Origin: events.Origin{Attempt: attempt, Index: 1}, Generation: g.job.Generation, Finish: events.FinishStop, Terminated: true, EventCount: 2})
	s.start("one")
	g.publish().untouched(2)
}

// leavesStale has the turn end, and then go on with another generation that is on the lane
// already.
func leavesStale(s *stage) {
	s.MakeQueue(s.served)
	s.start("one")
	g := s.newGeneration(`{}`)
	g.decide(g.job.Decision, "")
	g.publish().untouched(0)
	g = s.newGeneration(`{}`)
	next, attempt := conformance.NewID(), conformance.NewID()
	g.decide(g.job.Decision, next)
	start := g.started(attempt, "other")
	start.Generation = next
	g.Write(g.lane, 0, start)
	g.publish().untouched(1)
}

// startsFirst runs a generation on an empty lane, and the next one of the conversation
// behind it.
func startsFirst(s *stage) {
	s.MakeQueue(s.served)
	s.start("one")
	g := s.newGeneration(`{}`)
	for step := 1; step <= 2; step++ {
		g.publish().ended(events.FinishStop, "")
		all := g.attempt()
		start, ok := all[0].Event.(*events.GenerationStarted)
		if !ok {
			s.Fatalf("the first event is a %s, expected GenerationStarted", all[0].Event.Type())
		}
		if !conformance.IsUUIDv7(start.Attempt) || start.Generation != g.job.Generation || start.Turn != g.job.Turn || start.Step != step ||
			start.Provider != s.model.Route || s.model.Route+"/"+start.Model != g.job.Route || !conformance.Named(start.Worker, "one") {
			s.Errorf("the start is %s, expected a new UUIDv7 as attempt, the job's generation, turn and step, provider and model of the route, and the worker's unique name", all[0].Raw)
		}
		g.after = all[len(all)-1].At
		g.job.LaneSequence, g.job.Generation, g.job.Step = g.after, conformance.NewID(), step+1
		g.address()
		g.job.Decision = g.decide(g.job.Decision, g.job.Generation)
	}
}

func countsEvents(s *stage) {
	s.MakeQueue(s.served)
	s.start("one")
	for _, extra := range []string{`{}`, `{"pause_ms":300}`, `{"call":{"tool":"weather","arguments":{"city":"Oslo"}}}`} {
		g := s.newGeneration(extra).publish()
		await[*events.GenerationEnded](g, 1, conformance.Soon)
		g.JobRemoved(g.subject, conformance.Soon)
		g.attempt()
	}
}

func endsOnce(s *stage) {
	s.MakeQueue(s.served)
	s.start("one")
	for range 3 { // later generations show whether earlier ones left state behind
		g := s.newGeneration(`{"pause_ms":200}`).publish()
		g.Eventually(conformance.Soon, "the generation ends", func() bool {
			if !g.HasJob(g.subject) && !strings.Contains(g.lanes(), "GenerationEnded") {
				g.Fatalf("the job was acknowledged before GenerationEnded was on the lane, expected after it")
			}
			return strings.Contains(g.lanes(), "GenerationEnded")
		})
		e := g.ended(events.FinishStop, "")
		all := g.attempt()
		if _, last := all[len(all)-1].Event.(*events.GenerationEnded); !last || strings.Count(g.lanes(), "GenerationEnded") != 1 {
			g.Fatalf("the lane holds %s, expected one GenerationEnded, as the last event", g.lanes())
		}
		if e.EventCount != len(all) || e.Generation != g.job.Generation || !e.Terminated {
			g.Errorf("the end is %s, expected generation %s, terminated true and event_count %d, the number of the attempt's events", all[len(all)-1].Raw, g.job.Generation, len(all))
		}
		if g.text() == "" {
			g.Errorf("the answer has no text, expected some")
		}
	}
}

// streams checks that the first piece is there while the model pauses.
func streams(s *stage) {
	g, _ := running(s)
	all := g.read()
	if _, ok := all[0].Event.(*events.GenerationStarted); !ok {
		s.Errorf("while the model pauses the lane holds %s, expected GenerationStarted first", conformance.Types(all))
	}
	if strings.Contains(conformance.Types(all), "GenerationEnded") {
		s.Errorf("the generation has ended, expected the model to pause after its first piece, as parameters.extra.pause_ms says")
	}
}

func fails(s *stage) {
	s.MakeQueue(s.served)
	s.start("one")
	for _, class := range []events.ErrorClass{events.ErrRateLimited, events.ErrOverloaded, events.ErrAuth, events.ErrContextLength, events.ErrInvalidRequest} {
		g := s.newGeneration(fmt.Sprintf(`{"fail":%q}`, class)).publish()
		g.ended(events.FinishError, class)
		if n := strings.Count(g.lanes(), "GenerationStarted"); n != 1 {
			g.Errorf("the generation was started %d times, expected once: the orchestrator decides about another try", n)
		}
		g.attempt()
	}
}

func reportsCuts(s *stage) {
	s.MakeQueue(s.served)
	s.start("one")
	g := s.newGeneration(`{"cut":true}`).publish()
	if e := g.ended(events.FinishError, events.ErrCut); e.Terminated {
		g.Errorf("the end of an answer that was cut has terminated true, expected false")
	}
	if g.text() == "" {
		g.Errorf("the piece before the cut is not on the lane, expected it")
	}
}

// called returns the start and the end of the only call, and its arguments.
func (g *generation) called() (start *events.ToolCallStart, arguments string, end *events.ToolCallEnd) {
	for _, w := range g.attempt() {
		switch e := w.Event.(type) {
		case *events.ToolCallStart:
			if start != nil {
				g.Fatalf("the answer has several ToolCallStart, expected one")
			}
			start = e
		case *events.ToolCallDelta:
			if start == nil || e.Call != start.Call || e.Block != start.Block || e.Arguments == "" {
				g.Errorf("a ToolCallDelta is %s, expected the call and the block of the ToolCallStart before it, and arguments", clip(w.Raw))
			}
			arguments += e.Arguments
		case *events.ToolCallEnd:
			if end != nil || start == nil || e.Call != start.Call || e.Block != start.Block {
				g.Errorf("a ToolCallEnd is %s, expected one, with the call and the block of its ToolCallStart", clip(w.Raw))
			}
			end = e
		}
	}
	if start == nil || end == nil {
		g.Fatalf("the lane holds %s, expected a ToolCallStart and its ToolCallEnd", g.lanes())
	}
	if !conformance.IsUUIDv7(start.Call) {
		g.Errorf("the call has the id %q, expected a UUIDv7 that the worker makes", start.Call)
	}
	return start, arguments, end
}

func calls(s *stage) {
	s.MakeQueue(s.served)
	s.start("one")
	seen := map[string]bool{}
	for range 2 {
		g := s.newGeneration(`{"call":{"tool":"weather","arguments":{"city":"Oslo"}}}`).publish()
		g.ended(events.FinishToolCalls, "")
		start, arguments, end := g.called()
		var args struct{ City string }
		if json.Unmarshal([]byte(arguments), &args) != nil || args.City != "Oslo" || start.Name != "weather" || end.Invalid != "" {
			g.Errorf("the call is of %q with the arguments %s, invalid %q; expected weather, {\"city\":\"Oslo\"} and not invalid", start.Name, arguments, end.Invalid)
		}
		if seen[start.Call] {
			g.Errorf("two calls have the id %s, expected a new one each", start.Call)
		}
		seen[start.Call] = true
	}
}

// neverHalfACall has the model's stream break off in the arguments of a call.
func neverHalfACall(s *stage) {
	s.MakeQueue(s.served)
	s.start("one")
	g := s.newGeneration(`{"call":{"tool":"weather","arguments":{"city":"Oslo"}},"cut":true}`).publish()
	g.ended(events.FinishError, events.ErrCut)
	if _, arguments, end := g.called(); end.Invalid == "" {
		g.Errorf("the ToolCallEnd of a call whose arguments are %q has no invalid, expected why the call cannot run", arguments)
	}
}

func delays(s *stage) {
	s.MakeQueue(s.served)
	s.start("one")
	g := s.newGeneration(`{}`)
	g.job.DelayMS = 3000
	began := time.Now()
	g.publish()
	await[*events.GenerationStarted](g, 1, conformance.Soon)
	if took := time.Since(began); took < 2900*time.Millisecond {
		g.Errorf("a job with delay_ms 3000 was started after %v", took)
	}
	g.ended(events.FinishStop, "")
	if info := g.Consumer(s.served); info.Delivered.Consumer < 2 {
		g.Errorf("the job was delivered once, expected it to be handed back with a delay, so that the worker can run others")
	}
}

// givesUp has two workers killed on a generation for which two requests are left.
func givesUp(s *stage) {
	s.MakeQueue(s.served)
	g := s.newGeneration(`{}`)
	g.job.Requests = 2
	at := g.Write(g.lane, 0, g.started(conformance.NewID(), ""))
	g.Write(g.lane, at, g.started(conformance.NewID(), ""))
	s.start("one")
	g.publish()
	g.ended(events.FinishError, events.ErrInternal)
	if text := g.text(); text != "" {
		g.Errorf("the model was called again: it said %q, expected the generation to end without a call", text)
	}
}

func ignoresFields(s *stage) {
	s.MakeQueue(s.served)
	s.start("one")
	g := s.newGeneration(`{}`)
	frame, err := events.AppendFrame(nil, g.job)
	s.Must(err)
	text := strings.Replace(string(frame), `"parts":[{`, `"x_new":1,"parts":[{"kind":"x_hologram","x_of":[1]},{"x_field":null,`, 1)
	text = strings.TrimSuffix(text, "}") + `,"x_later":{"deep":[{}]},"from_the_future":true}`
	_, err = s.JS.Publish(s.Within(conformance.Soon), g.subject, []byte(text))
	s.Must(err)
	g.ended(events.FinishStop, "")
}
