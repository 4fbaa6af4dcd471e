package orchestrator

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"

	"github.com/parleybus/parley/internal/events"
)

// callState is a state that a call can be in, and how it gets there.
type callState struct {
	name string
	play func(s *scene) (call string)
}

// callStates are all states of calls: what they wait for, and every status that
// they end with.
func callStates() []callState {
	all := []callState{
		{"runs", func(s *scene) string { return s.callTool("auto") }},
		{"runs started", func(s *scene) string {
			call := s.callTool("auto")
			s.write(events.ChannelCall, call, &events.ToolStarted{Call: call, Attempt: "a"})
			return call
		}},
		{"runs in a superseded turn", func(s *scene) string {
			call := s.callTool("auto")
			s.in(&events.UserMessage{ID: s.id(), Text: "instead", Arrival: events.ArrivalSupersede})
			return call
		}},
		{"waits for approval", func(s *scene) string { return s.callTool("ask") }},
		{"waits for approval with a queue", func(s *scene) string {
			call := s.callTool("ask")
			s.say("and then")
			return call
		}},
		{"waits for approval and is denied since", func(s *scene) string {
			call := s.callTool("ask")
			s.env.Policy.Rules = append(s.env.Policy.Rules, events.Rule{Tool: "ask", Action: events.ActionDeny, Reason: "closed"})
			return call
		}},
		{"waits for approval after an unknown", func(s *scene) string {
			call := s.callTool("once")
			s.result(call, events.StatusUnknown, "the worker died")
			s.in(s.ruling(events.RulingReject, s.state.Calls[1].Call))
			again := s.part("once", `{"x":1}`)
			s.model("", again, s.part("beside", `{"x":6}`))
			return again.Call
		}},
		{"waits for others", func(s *scene) string {
			s.people()
			s.env.Limits.Parallel = 1
			s.say("continue")
			call := s.part("auto", `{"x":1}`)
			s.model("", s.part("auto", `{"x":7}`), call, s.part("beside", `{"x":6}`))
			return call.Call
		}},
		{"asks yes or no", func(s *scene) string { return s.questioned("") }},
		{"asks for data", func(s *scene) string {
			return s.questioned(`{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}`)
		}},
		{"waits for its time", func(s *scene) string { return s.callTool("later") }},
		{"waits for its result", func(s *scene) string { return s.callTool("outside") }},
		{"waits for a limit", func(s *scene) string { return s.limited() }},
		{"is the question at a limit", func(s *scene) string {
			s.limited()
			return s.state.Question.ID
		}},
		{"never was", func(s *scene) string {
			s.callTool("ask")
			return s.id()
		}},
		{"ended ok in an earlier turn", func(s *scene) string {
			call := s.ends(events.StatusOK)
			s.comesToItsEnd()
			s.say("and then")
			return call
		}},
		{"ended ok and nothing runs", func(s *scene) string {
			call := s.ends(events.StatusOK)
			s.comesToItsEnd()
			return call
		}},
		{"ended expired and nothing runs", func(s *scene) string {
			call := s.ends(events.StatusExpired)
			s.comesToItsEnd()
			return call
		}},
	}
	for _, status := range statuses() {
		all = append(all, callState{"ended " + string(status), func(s *scene) string { return s.ends(status) }})
	}
	return all
}

func statuses() []events.Status {
	return []events.Status{events.StatusOK, events.StatusFailed, events.StatusInvalidArguments, events.StatusUnknownTool, events.StatusTimeout, events.StatusTooLarge, events.StatusCrashed,
		events.StatusCancelled, events.StatusRefused, events.StatusExpired, events.StatusSuperseded, events.StatusUnknown, events.StatusWeakEffect}
}

// people sets up a deployment with a rule for each tool by its name; x must not be
// 2. There is one standing approval.
func (s *scene) people() {
	f := s.env.Tools["f"]
	s.env.Tools = map[string]events.ToolSpec{}
	for _, name := range []string{"auto", "ask", "later", "outside", "often", "beside"} {
		f.Name = name
		s.env.Tools[name] = f
	}
	f.Name, f.Effect = "once", events.EffectOnce
	s.env.Tools["once"] = f
	s.env.Policy = &events.Policy{Rules: []events.Rule{
		{When: "args.x == 2", Action: events.ActionDeny, Reason: "no twos"},
		{Tool: "auto", Action: events.ActionAuto},
		{Tool: "once", Action: events.ActionAuto},
		{Tool: "later", Action: events.ActionDefer, DelayMS: 10_000},
		{Tool: "outside", Action: events.ActionDefer, DeadlineMS: 60_000},
		{Tool: "beside", Action: events.ActionApprove, DeadlineMS: 3_600_000},
		{Action: events.ActionApprove, DeadlineMS: 60_000},
	}}
	s.say("begin")
	often := s.part("often", `{"x":1}`)
	s.model("", often)
	s.in(s.ruling(events.RulingAlways, often.Call))
	s.result(often.Call, events.StatusOK, "done")
	s.model("done")
}

// callTool lets the model call a tool, and beside it another that waits for approval,
// so that the turn keeps waiting whatever happens to the first.
func (s *scene) callTool(tool string) string {
	s.people()
	s.say("continue")
	call := s.part(tool, `{"x":1}`)
	s.model("", call, s.part("beside", `{"x":5}`))
	return call.Call
}

// questioned lets a tool ask a person during its call.
func (s *scene) questioned(schema string) string {
	call := s.callTool("auto")
	s.write(events.ChannelCall, call, &events.ToolStarted{Call: call, Attempt: "a"})
	s.write(events.ChannelCall, call, &events.QuestionAsked{Call: call, Attempt: "a", Question: s.id(), Message: "really?", Schema: json.RawMessage(schema)})
	s.foldAll()
	s.decide()
	return call
}

// limited lets the model make more calls than it may.
func (s *scene) limited() string {
	s.people()
	s.env.Limits.Calls, s.env.Limits.OnLimit = map[string]int{"a*": 1}, events.LimitAsk
	s.say("continue")
	call := s.part("auto", `{"x":1}`)
	s.model("", call, s.part("ask", `{"x":5}`))
	return call.Call
}

// ends lets a call end with a status while its turn keeps waiting.
func (s *scene) ends(status events.Status) string {
	var call string
	switch status {
	case events.StatusInvalidArguments:
		s.people()
		s.say("continue")
		part := s.part("ask", `{"x":"one"}`)
		s.model("", part, s.part("beside", `{"x":5}`))
		call = part.Call
	case events.StatusUnknownTool:
		call = s.callTool("nothing")
	case events.StatusCancelled:
		call = s.callTool("auto")
		s.in(&events.Cancel{ID: s.id(), Call: call})
	case events.StatusRefused:
		call = s.callTool("ask")
		s.in(s.ruling(events.RulingReject, call))
	case events.StatusExpired:
		call = s.callTool("ask")
		s.wait()
	case events.StatusSuperseded:
		call = s.superseded()
	default:
		call = s.callTool("auto")
		s.result(call, status, "what the tool returns")
	}
	if c := s.callState(call); c == nil || c.Status != status {
		s.t.Fatalf("the call did not end as %s: %s", status, looks(s.state))
	}
	return call
}

// superseded is a call that a message superseded while another runs.
func (s *scene) superseded() string {
	s.people()
	s.say("continue")
	call := s.part("ask", `{"x":1}`)
	s.model("", call, s.part("auto", `{"x":5}`))
	s.in(&events.UserMessage{ID: s.id(), Text: "instead", Arrival: events.ArrivalSupersede})
	return call.Call
}

// TestTheTableIsWhole: the table has every state and every input.
func TestTheTableIsWhole(t *testing.T) {
	var ended, waits, rulings, scopes []string
	for _, state := range callStates() {
		s := newScene(t)
		if c := s.callState(state.play(s)); c != nil {
			ended, waits = append(ended, string(c.Status)), append(waits, string(c.Waits))
		}
	}
	for _, input := range inputsOn() {
		if input.verdict != nil {
			rulings = append(rulings, string(input.verdict("").Verdict))
		} else {
			scopes = append(scopes, string(input.cancel(newScene(t), "a call").What()))
		}
	}
	for _, c := range []struct {
		file, kind string
		have       []string
	}{{"tool.go", "Status", ended}, {"decision.go", "Wait", waits}, {"input.go", "Ruling", rulings}, {"input.go", "Scope", scopes}} {
		all := constants(t, "../events/"+c.file, c.kind)
		if len(all) == 0 {
			t.Errorf("%s has no constants of type %s", c.file, c.kind)
		}
		for _, value := range all {
			if !slices.Contains(c.have, value) {
				t.Errorf("the table has nothing with the %s %q", c.kind, value)
			}
		}
	}
}

// constants are the values of the constants of a type that a file declares.
func constants(t *testing.T, file, kind string) []string {
	t.Helper()
	tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	ast.Inspect(tree, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); ok && name.Name == kind {
			for _, v := range spec.Values {
				if lit, ok := v.(*ast.BasicLit); ok {
					value, err := strconv.Unquote(lit.Value)
					if err != nil {
						t.Fatal(err)
					}
					all = append(all, value)
				}
			}
		}
		return true
	})
	return all
}
