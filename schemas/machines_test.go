package schemas_test

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/events"
)

// machine is a state machine of docs/protocol.md.
type machine struct {
	Name  string `json:"name"`
	Says  string `json:"says"`
	Start string `json:"start"`
	Moves []move `json:"moves"`
}

type move struct {
	From string `json:"from"`
	On   string `json:"on"`
	To   string `json:"to"`
}

// TestMachinesAreWhatTheFoldDoes: the moves of schemas/vectors/machines.json are exactly those
// that the fold makes in all vectors and all scripts of decisions.
func TestMachinesAreWhatTheFoldDoes(t *testing.T) {
	raw, err := os.ReadFile("vectors/machines.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []machine
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	seen := map[string]map[move]bool{"turn": {}, "call": {}, "lane": {}}
	logs := readVectors[foldVector](t, "folds.json")
	files, err := os.ReadDir("vectors/logs")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		logs = append(logs, readVectors[foldVector](t, "logs/"+f.Name())...)
	}
	for _, v := range logs {
		if v.Log[0].Sequence != 1 {
			continue // its beginning is missing
		}
		w := watcher{c: &accumulator.Conversation{Transcript: accumulator.NewTranscript()}, seen: seen}
		for _, m := range v.Log {
			w.apply(m.folded())
		}
	}
	for _, m := range all {
		for _, x := range m.Moves {
			if !seen[m.Name][x] {
				t.Errorf("%s: no log moves from %s on %s to %s", m.Name, x.From, x.On, x.To)
			}
		}
		for x := range seen[m.Name] {
			if !slices.Contains(m.Moves, x) {
				t.Errorf(`%s: {"from": %q, "on": %q, "to": %q} is not in the table`, m.Name, x.From, x.On, x.To)
			}
		}
		delete(seen, m.Name)
	}
	if len(seen) > 0 {
		t.Errorf("machines without a table: %v", seen)
	}
}

// watcher notes what moves when an event is applied.
type watcher struct {
	c    *accumulator.Conversation
	seen map[string]map[move]bool
}

// apply applies a message event by event, each as a message of its own.
func (w *watcher) apply(m accumulator.Message) {
	const most = 10_000 // events of a message
	for i, l := range m.Lines {
		one := accumulator.Message{Channel: m.Channel, Call: m.Call, Sequence: m.Sequence*most + uint64(i), ID: m.ID, Lines: []events.Line{l}}
		if d, ok := l.Event.(*events.Decision); ok && m.Channel == events.ChannelTurn {
			draft := w.c.Draft(len(w.c.Inputs))
			for _, l := range d.Events {
				before := states(draft)
				draft.ApplyDecided(l.Event)
				w.note(before, states(draft), l.Event.Type())
			}
			w.c.Apply(one) // and what waited behind an input
			continue
		}
		before := states(w.c)
		w.c.Apply(one)
		w.note(before, states(w.c), l.Event.Type())
	}
	if m.Bad != nil {
		before := states(w.c)
		w.c.Apply(accumulator.Message{Channel: m.Channel, Call: m.Call, Sequence: m.Sequence*most + most - 1, ID: m.ID, Bad: m.Bad, Position: m.Position})
		w.note(before, states(w.c), "what cannot be read")
	}
}

// state is where the machines of a conversation are.
type state struct {
	turn, lane string
	calls      map[string]string
}

func states(c *accumulator.Conversation) state {
	s := state{turn: string(c.Phase), lane: "closed", calls: map[string]string{}}
	if s.turn == "" {
		s.turn = string(events.PhaseIdle)
	}
	switch {
	case c.Generation == "":
	case c.Open == nil:
		s.lane = "requested"
	case c.Open.Ended != nil:
		s.lane = "ended"
	default:
		s.lane = "written"
	}
	for _, call := range c.Calls {
		switch {
		case call.Status != "":
			s.calls[call.Call] = "ended"
		case call.Waits == events.WaitAnswer:
			s.calls[call.Call] = "asks"
		case call.Waits == events.WaitSlot:
			s.calls[call.Call] = "queued"
		case call.Waits != "":
			s.calls[call.Call] = "waits"
		case c.RequestedCalls[call.Call] != nil:
			s.calls[call.Call] = "runs"
		default:
			s.calls[call.Call] = "made"
		}
	}
	return s
}

func (w *watcher) note(before, after state, on string) {
	one := func(machine, from, to string) {
		if from != to {
			w.seen[machine][move{from, on, to}] = true
		}
	}
	one("turn", before.turn, after.turn)
	lane := on
	if after.lane == "ended" && on != "GenerationEnded" {
		lane = "an error of its writer"
	}
	if before.lane != after.lane {
		w.seen["lane"][move{before.lane, lane, after.lane}] = true
	}
	for call, to := range after.calls {
		from := before.calls[call]
		if from == "" {
			from = "unknown"
		}
		one("call", from, to)
	}
}
