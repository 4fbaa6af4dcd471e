package orchestrator

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
)

// TestEveryVerdictAndCancelOnEveryCall puts each Verdict, with the right, a wrong
// and no digest, and each Cancel to a call in each state that there is. What happens
// is written down in testdata/verdicts.txt.
//
// An input that is not accepted has a reason and changes nothing at all. One
// that is accepted has the effects in the table and leaves the call with one result,
// whatever comes after it.
func TestEveryVerdictAndCancelOnEveryCall(t *testing.T) {
	table := readTable(t)
	for _, state := range callStates() {
		for _, input := range inputsOn() {
			digests := []string{"right", "wrong", "none"}
			if input.verdict == nil {
				digests = []string{"-"}
			}
			for _, digest := range digests {
				t.Run(strings.Join([]string{state.name, input.name, digest}, "/"), func(t *testing.T) {
					row := table.find(t, state.name, input.name, digest)
					playRow(t, state, input, digest, row)
				})
			}
		}
	}
	for _, row := range table.rows {
		if !row.used {
			t.Errorf("no call and input for the row %q", row.text)
		}
	}
}

// row of the table. The first that matches applies.
type row struct {
	text                   string
	states, inputs, digest []string
	outcome                string
	used                   bool
}

type verdictTable struct{ rows []*row }

// readTable reads the rows, and the names for several words of a column.
func readTable(t *testing.T) *verdictTable {
	t.Helper()
	raw, err := os.ReadFile("testdata/verdicts.txt")
	if err != nil {
		t.Fatal(err)
	}
	table, several := &verdictTable{}, map[string][]string{}
	words := func(column string) (all []string) {
		for word := range strings.SplitSeq(column, ",") {
			if word = strings.TrimSpace(word); several[word] != nil {
				all = append(all, several[word]...)
			} else {
				all = append(all, word)
			}
		}
		return all
	}
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		columns := strings.Split(line, "|")
		if name, list, ok := strings.Cut(line, "="); ok && len(columns) == 1 {
			several[strings.TrimSpace(name)] = words(list)
			continue
		}
		if len(columns) != 4 {
			t.Fatalf("%q has %d columns", line, len(columns))
		}
		table.rows = append(table.rows, &row{text: line, states: words(columns[0]), inputs: words(columns[1]), digest: words(columns[2]), outcome: strings.TrimSpace(columns[3])})
	}
	return table
}

func (v *verdictTable) find(t *testing.T, state, input, digest string) string {
	t.Helper()
	matches := func(column []string, word string) bool { return column[0] == "*" || slices.Contains(column, word) }
	for _, r := range v.rows {
		if matches(r.states, state) && matches(r.inputs, input) && matches(r.digest, digest) {
			r.used = true
			return r.outcome
		}
	}
	t.Fatal("the table has no row for it")
	return ""
}

// playRow makes a call of the state, puts the input to it, and compares.
func playRow(t *testing.T, state callState, input inputOn, digest, want string) {
	s := newScene(t)
	call := state.play(s)
	e := input.on(s, call, digest)
	before := looks(s.state)
	es := s.in(e)
	answers := only[*events.InputAnswered](es)
	if len(answers) == 0 {
		t.Fatalf("no answer: %s", written(es))
	}
	a := answers[0]
	got := string(a.Answer)
	if what := outcome(es, a, call); what != "" {
		got += ": " + what
	}
	if got != want {
		t.Errorf("got  %s\nwant %s\n%s", got, want, written(es))
	}
	if a.Answer != events.AnswerAccepted {
		if a.Reason == "" || len(a.Calls) > 0 && a.Calls[0].Reason == "" {
			t.Errorf("there is no reason: %s", written(es))
		}
		if after := looks(s.state); after != before || len(es) != 1 {
			t.Errorf("it was refused and changed\n%s\nto\n%s", before, after)
		}
	}
	s.comesToItsEnd()
	s.eachCallOnce()
}

// outcome describes what an input did, in the order of the events.
func outcome(es []events.Event, a *events.InputAnswered, call string) string {
	var all []string
	for _, e := range es {
		switch e := e.(type) {
		case *events.ToolCallRequested:
			if e.Call != call {
				continue
			}
			what := "runs"
			if len(e.Arguments) > 0 {
				what += " with " + string(e.Arguments)
			}
			if e.By != a.Input {
				what += ", not by the verdict"
			}
			all = append(all, what)
		case *events.ToolCallRefused:
			if e.Call == call {
				all = append(all, string(e.Status))
			}
		case *events.ToolCallAnswered:
			if e.Call == call {
				all = append(all, "answered "+e.Content)
			}
		case *events.QuestionAnswered:
			switch {
			case e.Declined:
				all = append(all, "declined")
			case len(e.Content) > 0:
				all = append(all, "tool gets "+string(e.Content))
			default:
				all = append(all, "tool gets yes")
			}
		case *events.Resumed:
			if e.Extended != "" {
				all = append(all, "extends "+e.Extended)
			}
		case *events.TurnEnded:
			all = append(all, fmt.Sprintf("ends %s %s", e.Outcome, e.Reason))
		case *events.TurnStarted:
			all = append(all, "next turn")
		case *events.InputAnswered:
			for _, g := range e.Granted {
				all = append(all, "grants "+g.Tool)
			}
			if len(e.Revoked) > 0 {
				all = append(all, "revokes")
			}
			if len(e.Dropped) > 0 {
				all = append(all, "drops the queue")
			}
		}
	}
	return strings.Join(all, "; ")
}

// comesToItsEnd lets workers answer all that runs and people approve the rest.
func (s *scene) comesToItsEnd() {
	for range 50 {
		switch {
		case s.state.Question != nil:
			s.in(s.ruling(events.RulingApprove, s.state.Question.ID))
		case s.state.Phase == events.PhaseGenerating:
			s.model("done")
		case s.state.Phase == events.PhaseIdle:
			return
		default:
			i := slices.IndexFunc(s.state.Calls, func(c events.CallState) bool { return c.Status == "" })
			if c := s.state.Calls[i]; c.Waits == events.WaitApproval {
				s.in(s.ruling(events.RulingReject, c.Call))
			} else if c.Waits == events.WaitTime {
				s.wait()
			} else {
				s.result(c.Call, events.StatusOK, "late or not")
			}
		}
	}
	s.t.Fatalf("the conversation does not come to an end: %s", looks(s.state))
}

// eachCallOnce: in the whole log each call was requested at most once, and in the
// history it has exactly one result.
func (s *scene) eachCallOnce() {
	requested, results, calls := map[string]int{}, map[string]int{}, map[string]bool{}
	for _, e := range only[*events.ToolCallRequested](s.everything()) {
		requested[e.Call]++
	}
	for _, m := range s.state.Transcript.Messages() {
		for _, p := range m.Parts {
			switch p.Kind {
			case events.PartCall:
				calls[p.Call] = true
			case events.PartResult:
				results[p.Call]++
			}
		}
	}
	for call := range calls {
		if requested[call] > 1 || results[call] != 1 {
			s.t.Errorf("call %s was requested %d times and has %d results", call, requested[call], results[call])
		}
	}
	for call := range results {
		if !calls[call] {
			s.t.Errorf("there is a result of call %s, and no such call", call)
		}
	}
}

// inputOn is an input of a person about a call.
type inputOn struct {
	name    string
	verdict func(call string) *events.Verdict // without id and digest
	cancel  func(s *scene, call string) *events.Cancel
}

func (i inputOn) on(s *scene, call, digest string) events.Event {
	if i.cancel != nil {
		c := i.cancel(s, call)
		c.ID = s.id()
		return c
	}
	v := i.verdict(call)
	v.ID, v.From = s.id(), "ann"
	for n := range v.Calls {
		switch digest {
		case "right":
			v.Calls[n].Digest = s.digestOf(call)
		case "wrong":
			v.Calls[n].Digest = events.Digest(`{"x":17}`)
		}
	}
	return v
}

// digestOf returns the digest that Paused named for a call or a question, whatever
// happened to it since.
func (s *scene) digestOf(call string) string {
	for _, p := range only[*events.Paused](s.everything()) {
		for _, a := range p.Awaiting {
			if a.Call == call {
				return a.Digest
			}
		}
	}
	return events.Digest(`{"x":1}`)
}

func inputsOn() []inputOn {
	ruling := func(r events.Ruling, arguments, content, reason string) func(string) *events.Verdict {
		return func(call string) *events.Verdict {
			return &events.Verdict{Verdict: r, Reason: reason, Calls: []events.CallVerdict{{Call: call, Arguments: json.RawMessage(arguments), Content: content}}}
		}
	}
	all := []inputOn{
		{name: "approve", verdict: ruling(events.RulingApprove, "", "", "")},
		{name: "approve always", verdict: ruling(events.RulingAlways, "", "", "")},
		{name: "reject", verdict: ruling(events.RulingReject, "", "", "")},
		{name: "reject why", verdict: ruling(events.RulingReject, "", "", "not now")},
		{name: "edit", verdict: ruling(events.RulingEdit, `{ "x": 3 }`, "", "")},
		{name: "edit nothing", verdict: ruling(events.RulingEdit, "", "", "")},
		{name: "edit no object", verdict: ruling(events.RulingEdit, "[3]", "", "")},
		{name: "edit unfit", verdict: ruling(events.RulingEdit, `{"x":"three"}`, "", "")},
		{name: "edit denied", verdict: ruling(events.RulingEdit, `{"x":2}`, "", "")},
		{name: "answer", verdict: ruling(events.RulingAnswer, "", "42", "")},
		{name: "answer nothing", verdict: ruling(events.RulingAnswer, "", "", "")},
		{name: "nonsense", verdict: ruling("maybe", `{"x":3}`, "42", "")},
		{name: "no calls", verdict: func(string) *events.Verdict { return &events.Verdict{Verdict: events.RulingApprove} }},
		{name: "revoke", verdict: ruling(events.RulingRevoke, "", "", "")},
		{name: "revoke another", verdict: func(string) *events.Verdict {
			return &events.Verdict{Verdict: events.RulingRevoke, Grants: []string{"another"}}
		}},
	}
	cancel := func(name string, c func(s *scene, call string) *events.Cancel) {
		all = append(all, inputOn{name: name, cancel: c})
	}
	cancel("cancel", func(*scene, string) *events.Cancel { return &events.Cancel{} })
	cancel("cancel turn", func(s *scene, _ string) *events.Cancel {
		return &events.Cancel{Scope: events.ScopeTurn, Turn: s.state.Turn, Reason: "enough"}
	})
	cancel("cancel another turn", func(*scene, string) *events.Cancel { return &events.Cancel{Turn: "another"} })
	cancel("cancel call", func(_ *scene, call string) *events.Cancel { return &events.Cancel{Call: call} })
	cancel("cancel call of another turn", func(_ *scene, call string) *events.Cancel {
		return &events.Cancel{Scope: events.ScopeCall, Call: call, Turn: "another"}
	})
	cancel("cancel queue", func(*scene, string) *events.Cancel { return &events.Cancel{Scope: events.ScopeQueue} })
	cancel("cancel all", func(*scene, string) *events.Cancel { return &events.Cancel{Scope: events.ScopeAll} })
	cancel("cancel nonsense", func(*scene, string) *events.Cancel { return &events.Cancel{Scope: "world"} })
	return all
}
