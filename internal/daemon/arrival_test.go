package daemon_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
)

// tale reads a conversation from its beginning, as it happens, for one
// goroutine of many.
type tale struct {
	d       *deployment
	id      string
	next    func() (bus.Message, error, bool)
	stop    func()
	state   *accumulator.Conversation
	answers map[string]*events.InputAnswered
}

func (d *deployment) tale(ctx context.Context, conversation string) *tale {
	t := &tale{d: d, id: conversation, state: fold(conversation, nil), answers: map[string]*events.InputAnswered{}}
	t.next, t.stop = iter.Pull2(d.Attach(ctx, conversation, bus.From{}))
	return t
}

// until reads on until fits says yes: of nothing, if it is so already, or of an
// event.
func (t *tale) until(what string, fits func(events.Event) bool) error {
	for found := fits(nil); !found; {
		m, err, ok := t.next()
		if err != nil || !ok {
			return fmt.Errorf("waiting for %s: %w; the state is %+v", what, errors.Join(err, context.Cause(t.d.t.Context())), t.state.State)
		}
		t.state.Apply(accumulator.Message{Channel: m.Channel, Call: m.Call, Sequence: m.Sequence, Lines: m.Lines, Bad: m.Bad})
		each(m, func(e events.Event) {
			if a, ok := e.(*events.InputAnswered); ok {
				t.answers[a.Input] = a
			}
			found = fits(e) || found
		})
	}
	return nil
}

// publish says something that has its id.
func (t *tale) publish(ctx context.Context, e events.Event) error {
	_, err := t.d.Publish(ctx, t.id, identify(t.d, e), e)
	return err
}

// tell publishes something and waits for its answer.
func (t *tale) tell(ctx context.Context, e events.Event) error {
	if err := t.publish(ctx, e); err != nil {
		return err
	}
	id := identify(t.d, e)
	return t.until("the answer to a "+e.Type(), func(events.Event) bool { return t.answers[id] != nil })
}

// identify is an input's id; one without gets one.
func identify(d *deployment, e events.Event) string {
	id := new(string)
	switch e := e.(type) {
	case *events.Settings:
		id = &e.ID
	case *events.UserMessage:
		id = &e.ID
	case *events.Verdict:
		id = &e.ID
	case *events.Cancel:
		id = &e.ID
	}
	if *id == "" {
		*id = newID(d.t)
	}
	return *id
}

// each gives the events of a message, those of a Decision one by one.
func each(m bus.Message, fn func(events.Event)) {
	for _, l := range m.Lines {
		fn(l.Event)
		if d, ok := l.Event.(*events.Decision); ok {
			for _, l := range d.Events {
				fn(l.Event)
			}
		}
	}
}

// inputOf is the id of an input.
func inputOf(m bus.Message) (id string) {
	each(m, func(e events.Event) {
		switch e := e.(type) {
		case *events.Settings:
			id = e.ID
		case *events.UserMessage:
			id = e.ID
		case *events.Verdict:
			id = e.ID
		case *events.Cancel:
			id = e.ID
		}
	})
	return id
}

// logs are the logs of all conversations, whole.
func (d *deployment) logs() map[string][]bus.Message {
	d.t.Helper()
	all := map[string][]bus.Message{}
	for shard := range d.Shards() {
		if err := d.ReadShard(d.t.Context(), shard, 0, nil, func(m bus.Message) error {
			all[m.Conversation] = append(all[m.Conversation], m)
			return nil
		}); err != nil {
			d.t.Fatal(err)
		}
	}
	return all
}

// told is a log to read when a test has failed.
func told(log []bus.Message) string {
	var b strings.Builder
	for _, m := range log {
		if len(m.Data) > 600 {
			m.Data = m.Data[:600]
		}
		fmt.Fprintf(&b, "%d %s %s\n", m.Sequence, m.Channel, m.Data)
	}
	return b.String()
}

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
