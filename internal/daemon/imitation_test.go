package daemon_test

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
)

// audit says what is wrong with the log of a conversation that has come to
// rest: every input has one answer, every turn one end, every call one result,
// nothing is decided about a turn that does not run, and the history is one that
// a strict provider takes.
func audit(id string, log []bus.Message) error {
	a := auditor{answers: map[string]int{}, turns: map[string]bool{}, decided: map[string]int{}, results: map[string]int{}}
	for _, m := range log {
		if m.Bad != nil {
			return fmt.Errorf("message %d cannot be read: %w", m.Sequence, m.Bad)
		}
		if m.Channel == events.ChannelIn {
			a.inputs = append(a.inputs, inputOf(m))
		}
		each(m, a.see)
	}
	for _, in := range a.inputs {
		if n := a.answers[in]; n != 1 {
			a.fault("input %s has %d answers", in, n)
		}
	}
	for _, call := range a.calls {
		if d, r := a.decided[call], a.results[call]; d > 1 || r > 1 || d+r == 0 {
			a.fault("call %s has %d results that were decided and %d that were written", call, d, r)
		}
	}
	if a.open != "" {
		a.fault("turn %s has not ended", a.open)
	}
	return errors.Join(append(a.faults, strictly(fold(id, log).Transcript.Messages()))...)
}

type auditor struct {
	inputs, calls             []string
	answers, decided, results map[string]int
	turns                     map[string]bool
	open                      string
	faults                    []error
}

func (a *auditor) fault(format string, args ...any) {
	a.faults = append(a.faults, fmt.Errorf(format, args...))
}

func (a *auditor) see(e events.Event) {
	turn := a.open // what is not about a turn is about any
	switch e := e.(type) {
	case *events.InputAnswered:
		a.answers[e.Input]++
	case *events.TurnStarted:
		if a.open != "" || a.turns[e.Turn] {
			a.fault("turn %s started while %q ran, or again", e.Turn, a.open)
		}
		a.open, a.turns[e.Turn] = e.Turn, true
		turn = e.Turn
	case *events.GenerationRequested:
		turn = e.Turn
	case *events.AssistantMessage:
		turn = e.Turn
		for _, p := range e.Message.Parts {
			if p.Kind == events.PartCall {
				a.calls = append(a.calls, p.Call)
			}
		}
	case *events.ToolCallRequested:
		turn = e.Turn
	case *events.ToolCallRefused:
		turn = e.Turn
		a.decided[e.Call]++
	case *events.ToolCallAnswered:
		turn = e.Turn
		a.decided[e.Call]++
	case *events.ToolResult:
		a.results[e.Call]++
	case *events.Paused:
		turn = e.Turn
	case *events.Resumed:
		turn = e.Turn
	case *events.TurnEnded:
		turn = e.Turn
	}
	if turn != a.open {
		a.fault("a %s is about turn %s while %q runs", e.Type(), turn, a.open)
	}
	if _, ok := e.(*events.TurnEnded); ok {
		a.open = ""
	}
}

// strictly says what a strict provider would refuse in a history: it begins with
// a user; no message and no text is empty; calls have ids of their own and
// arguments that are an object, or say why not; each message's calls are
// followed by their results, in order, one each, with a status, and by nothing
// else.
func strictly(all []events.Message) error {
	seen := map[string]bool{}
	for i := 0; i < len(all); i++ {
		m := all[i]
		switch {
		case len(m.Parts) == 0:
			return fmt.Errorf("message %d is empty", i)
		case i == 0 && m.Role != events.RoleUser:
			return errors.New("the history does not begin with a user")
		case m.Role != events.RoleUser && m.Role != events.RoleAssistant:
			return fmt.Errorf("message %d of %q follows no call", i, m.Role)
		}
		at := i
		for _, p := range m.Parts {
			if p.Kind != events.PartCall {
				if p.Kind == events.PartResult || p.Text == "" && len(p.Carry) == 0 {
					return fmt.Errorf("message %d has a %s without text", at, p.Kind)
				}
				continue
			}
			if err := pairs(m, p, all[i+1:], seen); err != nil {
				return fmt.Errorf("message %d: %w", at, err)
			}
			i++
		}
	}
	return nil
}

// pairs checks a call and what follows.
func pairs(m events.Message, p events.Part, rest []events.Message, seen map[string]bool) error {
	if m.Role != events.RoleAssistant || p.Call == "" || p.Name == "" || seen[p.Call] {
		return fmt.Errorf("call %q of %q by %s has no id of its own", p.Call, p.Name, m.Role)
	}
	seen[p.Call] = true
	var object map[string]json.RawMessage
	if p.Invalid == "" && json.Unmarshal(events.Arguments(p.Arguments), &object) != nil {
		return fmt.Errorf("the arguments of call %s are %q", p.Call, p.Arguments)
	}
	if len(rest) == 0 || rest[0].Role != events.RoleTool || len(rest[0].Parts) != 1 {
		return fmt.Errorf("call %s is not followed by its result", p.Call)
	}
	r := rest[0].Parts[0]
	if r.Kind != events.PartResult || r.Call != p.Call || r.ProviderID != p.ProviderID || r.Name != p.Name || r.Status == "" {
		return fmt.Errorf("call %s is followed by %+v", p.Call, r)
	}
	return nil
}

// same reports whether two histories are the same to a model.
func same(a, b []events.Message) bool {
	one, err := json.Marshal(a)
	two, err2 := json.Marshal(b)
	return err == nil && err2 == nil && string(one) == string(two)
}
