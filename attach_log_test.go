package parley_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// scribe writes the log of a conversation as its processes would, with what goes
// wrong: attempts that are taken over, and output of attempts that go on.
type scribe struct {
	*testing.T
	*rand.Rand
	bus     *bus.Bus
	conv    string
	lanes   map[topology.Address]uint64
	state   events.State
	attempt string // that counts, of the generation or the call
	stale   string // that went on, of the call
	index   int
	stored  atomic.Uint64 // sequence of the last event on a lane
}

func (s *scribe) gen() topology.Address {
	return topology.At(s.bus.Shards(), s.conv, events.ChannelGen)
}

func (s *scribe) append(a topology.Address, all ...events.Event) {
	s.Helper()
	frame, err := events.AppendFrame(nil, all...)
	if err == nil {
		s.lanes[a], err = s.bus.Lane(a).Append(s.Context(), s.lanes[a], frame)
	}
	if err != nil {
		s.Fatal(err)
	}
	s.stored.Store(s.lanes[a])
}

func (s *scribe) decide(all ...events.Event) {
	s.Helper()
	d := &events.Decision{State: s.state.Clone(), Owner: "test"}
	for _, e := range all {
		raw, err := events.Append(nil, e)
		if err != nil {
			s.Fatal(err)
		}
		d.Events = append(d.Events, events.Line{Event: e, Raw: raw})
	}
	s.append(topology.At(s.bus.Shards(), s.conv, events.ChannelTurn), d)
}

func (s *scribe) say(conv, text string) string {
	s.Helper()
	id := parley.NewID()
	if _, err := s.bus.Conversation(conv).Publish(s.Context(), id, &events.UserMessage{ID: id, Text: text}); err != nil {
		s.Fatal(err)
	}
	return id
}

// request asks for the next generation, with what is decided before it.
func (s *scribe) request(before ...events.Event) {
	s.state.Step, s.state.Phase, s.state.Generation, s.state.Calls = s.state.Step+1, events.PhaseGenerating, parley.NewID(), nil
	s.attempt, s.stale = "", ""
	s.decide(append(before, &events.GenerationRequested{Turn: s.state.Turn, Generation: s.state.Generation, Step: s.state.Step, Route: "test/test", Try: 1})...)
}

func (s *scribe) origin() events.Origin {
	s.index++
	return events.Origin{Attempt: s.attempt, Index: s.index - 1}
}

// next writes the next message.
func (s *scribe) next() {
	s.Helper()
	switch {
	case s.IntN(8) == 0:
		s.say(parley.NewID(), "of another conversation")
	case s.state.Turn == "":
		s.state.Turn, s.state.Step, s.state.Turns = parley.NewID(), 0, s.state.Turns+1
		input := s.say(s.conv, fmt.Sprint("message ", s.state.Turns))
		s.request(&events.TurnStarted{Turn: s.state.Turn, Inputs: []string{input}}, &events.InputAnswered{Input: input, Answer: events.AnswerAccepted, Turn: s.state.Turn})
	case s.state.Generation != "":
		s.generate()
	default:
		s.call()
	}
}

func (s *scribe) generate() {
	s.Helper()
	switch {
	case s.attempt == "" || s.IntN(6) == 0: // the first attempt, or one that takes over
		s.attempt, s.index = parley.NewID(), 0
		s.append(s.gen(), &events.GenerationStarted{Origin: s.origin(), Generation: s.state.Generation, Turn: s.state.Turn, Step: s.state.Step})
	case s.IntN(6) > 0:
		var frame []events.Event
		for range 1 + s.IntN(5) {
			frame = append(frame, &events.TextChunk{Origin: s.origin(), Text: fmt.Sprintf("%s.%d ", s.attempt[30:], s.index)})
		}
		s.append(s.gen(), frame...)
	default:
		s.append(s.gen(), &events.GenerationEnded{Origin: s.origin(), Generation: s.state.Generation, Finish: events.FinishStop, Terminated: true, EventCount: s.index})
		said := &events.AssistantMessage{Turn: s.state.Turn, Generation: s.state.Generation, Step: s.state.Step, Finish: events.FinishStop,
			Message: events.Message{Role: events.RoleAssistant, Parts: []events.Part{{Kind: events.PartText, Text: fmt.Sprint("answer ", s.state.Step)}}}}
		s.state.Generation, s.attempt, s.stale = "", "", ""
		if s.IntN(2) == 0 {
			turn := s.state.Turn
			s.state.Phase, s.state.Turn = events.PhaseIdle, ""
			s.decide(said, &events.TurnEnded{Turn: turn, Outcome: events.OutcomeCompleted, Steps: s.state.Step})
			return
		}
		call := parley.NewID()
		said.Message.Parts = append(said.Message.Parts, events.Part{Kind: events.PartCall, Call: call, Name: "clock", Arguments: "{}"})
		s.state.Phase, s.state.Calls = events.PhaseCalling, []events.CallState{{Call: call, Tool: "clock"}}
		s.decide(said, &events.ToolCallRequested{Turn: s.state.Turn, Step: s.state.Step, Call: call, Tool: "clock", Effect: events.EffectPure})
	}
}

func (s *scribe) call() {
	s.Helper()
	call := s.state.Calls[0].Call
	lane := topology.OfCall(s.bus.Shards(), s.conv, events.ChannelCall, call)
	switch {
	case s.attempt == "" || s.IntN(5) == 0:
		s.stale, s.attempt, s.index = s.attempt, parley.NewID(), 0
		s.append(lane, &events.ToolStarted{Call: call, Attempt: s.attempt, Tool: "clock"})
	case s.IntN(5) > 0:
		by := s.attempt
		if s.stale != "" && s.IntN(2) == 0 {
			by = s.stale // no lane refuses its output
		}
		frame, err := events.AppendFrame(nil, &events.ToolOutput{Call: call, Attempt: by, Index: s.index, Text: "…"})
		if err == nil {
			_, js := s.bus.Raw()
			_, err = js.Publish(s.Context(), topology.OfCall(s.bus.Shards(), s.conv, events.ChannelOut, call).Subject(topology.Conv), frame)
		}
		if err != nil {
			s.Fatal(err)
		}
		s.index++
	default:
		s.append(lane, &events.ToolResult{Call: call, Attempt: s.attempt, Tool: "clock", Status: events.StatusOK, Content: "noon"})
		s.request()
	}
}

// expected is an event of the reference: what a viewer is to get.
type expected struct {
	sequence            uint64
	index               int
	raw                 string
	decided, superseded bool
	supersedes          string
	since               uint64 // where the attempt began that counted before the event
}

// reference reads a log directly and works out what viewers are to get.
type reference struct {
	all    []expected
	end    uint64            // sequence up to which the log was read
	purged uint64            // sequence up to which the log was purged
	counts map[string]string // attempt that counts: of the generation under "", of calls
	starts map[string]uint64 // where attempts began
	done   string            // attempt of the answer that was decided last
}

// read adds what the log holds by now.
func (r *reference) read(ctx context.Context, t *testing.T, b *bus.Bus, conv string) {
	t.Helper()
	_, js := b.Raw()
	stream, err := js.Stream(ctx, topology.ConvStream(topology.ShardOf(conv, b.Shards())))
	if err != nil {
		t.Fatal(err)
	}
	if r.counts == nil {
		r.counts, r.starts = map[string]string{}, map[string]uint64{}
	}
	for last := stream.CachedInfo().State.LastSeq; r.end < last; {
		var m *jetstream.RawStreamMsg
		if m, err = stream.GetMsg(ctx, r.end+1); err != nil {
			t.Fatalf("message %d: %v", r.end+1, err)
		}
		r.end++
		a, err := topology.Parse(m.Subject)
		if err != nil || a.Conversation != conv {
			continue
		}
		lines, err := events.DecodeFrame(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		for i, l := range lines {
			at := expected{sequence: m.Sequence, index: i}
			if d, ok := l.Event.(*events.Decision); ok {
				for _, inner := range d.Events {
					at.decided = true
					r.add(at, a.Call, inner)
				}
				at.decided = false
			}
			r.add(at, a.Call, l)
		}
	}
}

func (r *reference) add(e expected, call string, l events.Line) {
	e.raw = string(l.Raw)
	was := r.counts[call]
	e.since = r.starts[was]
	stale := func(attempt string) bool { return was != "" && was != attempt }
	start := func(attempt string) {
		if stale(attempt) {
			e.supersedes = was
		}
		r.counts[call], r.starts[attempt] = attempt, e.sequence
	}
	switch body := l.Event.(type) {
	case *events.GenerationStarted:
		start(body.Attempt)
	case *events.TextChunk:
		e.superseded = stale(body.Attempt) || body.Attempt == r.done
	case *events.GenerationEnded:
		e.superseded = stale(body.Attempt) || body.Attempt == r.done
	case *events.AssistantMessage:
		r.done = was
		delete(r.counts, "")
	case *events.ToolStarted:
		start(body.Attempt)
	case *events.ToolOutput:
		e.superseded = stale(body.Attempt)
	case *events.ToolResult:
		if e.superseded = stale(body.Attempt); !e.superseded {
			delete(r.counts, call)
		}
	case *events.TurnEnded:
		clear(r.counts)
		r.done = ""
	}
	r.all = append(r.all, e)
}

// after is what follows a cursor.
func (r *reference) after(c parley.Cursor) []expected {
	for i, e := range r.all {
		if e.sequence > c.Sequence || e.sequence == c.Sequence && e.index > c.Index {
			return r.all[i:]
		}
	}
	return nil
}
