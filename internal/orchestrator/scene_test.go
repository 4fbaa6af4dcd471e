package orchestrator

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/events"
)

// scene is a conversation that a test plays step by step. After every decision
// it is checked that nothing more is to be decided and that a strict provider
// takes the history.
type scene struct {
	*conversationLog
	t        *testing.T
	env      Env
	now      time.Time
	ids      int
	long     bool               // what is not sent to a model is not checked after each decision
	requests int                // that each failed attempt of failing made
	quiet    uint64             // sequence of the last Decision without work in progress
	apps     map[string]Traffic // what counted for apps
}

func newScene(t *testing.T) *scene {
	return &scene{conversationLog: newLog("00000000-0000-7000-8000-c00000000000"), t: t, env: testEnv(), now: time.UnixMilli(1000), apps: map[string]Traffic{}}
}

func (s *scene) id() string {
	s.ids++
	return fmt.Sprintf("00000000-0000-7000-8000-%012d", s.ids)
}

func (s *scene) write(channel events.Channel, call string, all ...events.Event) {
	m := accumulator.Message{Channel: channel, Call: call}
	for _, e := range all {
		m.Lines = append(m.Lines, overTheWire(e))
	}
	s.append(m)
	s.foldAll()
}

// in publishes what people and apps write.
func (s *scene) in(all ...events.Event) []events.Event {
	s.t.Helper()
	for _, e := range all {
		s.write(events.ChannelIn, "", e)
	}
	return s.decide()
}

func (s *scene) say(text string) []events.Event {
	s.t.Helper()
	return s.in(&events.UserMessage{ID: s.id(), Text: text})
}

// ruling returns a Verdict on one call, with the digest that Paused names.
func (s *scene) ruling(r events.Ruling, call string) *events.Verdict {
	v := &events.Verdict{ID: s.id(), Verdict: r, Calls: []events.CallVerdict{{Call: call}}}
	if c := s.callState(call); c != nil {
		v.Calls[0].Digest = c.Digest
	}
	if q := s.state.Question; q != nil && q.ID == call {
		v.Calls[0].Digest = q.Digest
	}
	return v
}

func (s *scene) callState(id string) *events.CallState {
	for i := range s.state.Calls {
		if s.state.Calls[i].Call == id {
			return &s.state.Calls[i]
		}
	}
	return nil
}

// part is a call as a model makes it.
func (s *scene) part(tool, arguments string) events.Part {
	return events.Part{Kind: events.PartCall, Call: s.id(), ProviderID: "call_0", Name: tool, Arguments: arguments}
}

// model is the answer of a worker to the open generation: 10 tokens read, 5
// written.
func (s *scene) model(text string, calls ...events.Part) []events.Event {
	s.t.Helper()
	s.write(events.ChannelGen, "", append(s.begin(text, calls...), s.ended(len(calls) > 0))...)
	return s.decide()
}

// begin is the beginning of an answer.
func (s *scene) begin(text string, calls ...events.Part) []events.Event {
	attempt, block := s.id(), 0
	var all []events.Event
	stamp := func(e events.Stamped) {
		e.Stamp(attempt, len(all))
		all = append(all, e)
	}
	stamp(&events.GenerationStarted{Generation: s.state.Generation, Turn: s.state.Turn, Step: s.state.Step, Provider: "scripted", Model: "echo"})
	if text != "" {
		stamp(&events.TextChunk{Block: block, Text: text})
	}
	for _, c := range calls {
		block++
		stamp(&events.ToolCallStart{Block: block, Call: c.Call, ProviderID: c.ProviderID, Name: c.Name})
		stamp(&events.ToolCallDelta{Block: block, Call: c.Call, Arguments: c.Arguments})
		stamp(&events.ToolCallEnd{Block: block, Call: c.Call})
	}
	return all
}

// ended ends the answer that [scene.begin] began last.
func (s *scene) ended(calls bool) events.Event {
	read, written := int64(10), int64(5)
	e := &events.GenerationEnded{Generation: s.state.Generation, Finish: events.FinishStop, Terminated: true, Usage: &events.Usage{InputTokens: &read, OutputTokens: &written}}
	if calls {
		e.Finish = events.FinishToolCalls
	}
	e.Stamp(fmt.Sprintf("00000000-0000-7000-8000-%012d", s.ids), 1_000_000)
	return e
}

// result is what a worker writes about a call, or an app outside about one that
// waits for it.
func (s *scene) result(call string, status events.Status, content string) []events.Event {
	s.t.Helper()
	s.write(events.ChannelCall, call, &events.ToolStarted{Call: call, Attempt: "a"}, &events.ToolResult{Call: call, Attempt: "a", Status: status, Content: content})
	return s.decide()
}

// wait lets time pass until something is to be done by itself.
func (s *scene) wait() []events.Event {
	s.t.Helper()
	s.now = time.UnixMilli(s.state.NextMS())
	return s.decide()
}

func (s *scene) decide() []events.Event {
	s.t.Helper()
	s.env.Settings = s.state.Transcript.Settings
	s.env.Complete, s.complete = s.complete, nil
	d, draft, apps := Decide(s.state, s.env, s.now)
	es := eventsOf(d)
	if d != nil {
		for app, t := range apps {
			t.add(s.apps[app])
			s.apps[app] = t
		}
		s.decided(d, draft)
		es = append(es, s.decide()...) // what came after an input
	}
	histories := [][]events.Message{s.state.Transcript.Prompt()}
	if !s.long {
		histories = append(histories, s.state.Transcript.Messages())
	}
	for _, history := range histories {
		if fault := strict(history); fault != "" {
			s.t.Fatalf("no strict provider takes this history: %s\n%s", fault, looks(s.state))
		}
	}
	if len(es) > 0 && s.state.Quiet() {
		s.quiet = s.state.TurnLane
	}
	return es
}

// restart continues in another process, which has only the log: it loads the
// conversation from the last Decision without work in progress, as the owner of a
// shard does, and reads from there.
func (s *scene) restart() {
	s.t.Helper()
	id := s.conversationLog.id
	again, facts := empty(id), empty(id)
	if s.quiet > 0 {
		again = accumulator.Resume(id, s.states[s.quiet], s.quiet)
		for _, m := range s.messages[:s.quiet] {
			if m.Channel != events.ChannelGen {
				facts.Apply(m)
			}
		}
		again.Transcript = facts.Transcript
		again.TakeResults(facts)
	}
	for _, m := range s.messages[s.quiet:] {
		again.Apply(m)
	}
	again.GenLane = s.state.GenLane // of what nobody waits for any more
	if diff := cmp.Diff(s.state.State, again.State); diff != "" {
		s.t.Fatalf("read again from %d the conversation is another (-was +is)\n%s", s.quiet, diff)
	}
	if diff := cmp.Diff(s.state.Transcript.Messages(), again.Transcript.Messages()); diff != "" {
		s.t.Fatalf("read again from %d the history is another (-was +is)\n%s", s.quiet, diff)
	}
	if diff := cmp.Diff(s.state.Transcript.Prompt(), again.Transcript.Prompt()); diff != "" {
		s.t.Fatalf("read again from %d the model gets another history (-was +is)\n%s", s.quiet, diff)
	}
	s.state = again
}

// only returns the events of one type.
func only[E events.Event](es []events.Event) []E {
	var all []E
	for _, e := range es {
		if e, ok := e.(E); ok {
			all = append(all, e)
		}
	}
	return all
}

// everything returns all that was decided, in order.
func (s *scene) everything() []events.Event {
	var all []events.Event
	for _, m := range s.messages {
		for _, l := range m.Lines {
			if d, ok := l.Event.(*events.Decision); ok && m.Channel == events.ChannelTurn {
				for _, e := range d.Events {
					all = append(all, e.Event)
				}
			}
		}
	}
	return all
}
