package daemon_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
)

// curious elicits twice: yes or no, then a number.
type curious struct{}

func (curious) Spec() events.ToolSpec {
	return events.ToolSpec{Name: "curious", Effect: events.EffectPure, TimeoutMS: 400}
}

func (curious) Run(ctx context.Context, in tool.Input) (tool.Result, error) {
	sure, err := in.Ask(ctx, tool.Question{Message: "sure?"})
	if err != nil {
		return tool.Result{}, err
	}
	if sure.Declined {
		return tool.Result{Content: "then not"}, nil
	}
	n, err := in.Ask(ctx, tool.Question{Message: "how many?", Schema: json.RawMessage(`{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}`)})
	if err != nil {
		return tool.Result{}, err
	}
	return tool.Result{Content: fmt.Sprintf("told %s, declined %t", n.Content, n.Declined)}, nil
}

// TestAToolElicitsDuringItsCall waits longer than the tool may run: a person's
// time does not count towards the tool's timeout.
func TestAToolElicitsDuringItsCall(t *testing.T) {
	for name, c := range map[string]struct {
		first events.Ruling
		want  string
	}{
		"and continues with the answer": {events.RulingApprove, `told {"n":3}, declined false`},
		"and is declined":               {events.RulingReject, "then not"},
	} {
		t.Run(name, func(t *testing.T) {
			d := start(t, scriptFile(t, callsScript("curious", `{}`)), registry(t, curious{}))
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			conversation := newID(t)
			d.sendNew(conversation, func(id string) events.Event { return &events.UserMessage{ID: id, Text: "go"} })
			v := d.view(ctx, conversation)
			answer := func(r events.Ruling, content string) {
				var paused *events.Paused
				v.until("the question", func(e events.Event) (ok bool) { paused, ok = e.(*events.Paused); return ok })
				a := paused.Awaiting[0]
				if a.For != events.WaitAnswer || a.Reason == "" {
					t.Fatalf("%+v", a)
				}
				<-time.After(500 * time.Millisecond) // longer than the tool may run
				d.sendNew(conversation, func(id string) events.Event {
					return &events.Verdict{ID: id, Verdict: r, Calls: []events.CallVerdict{{Call: a.Call, Digest: a.Digest, Content: content}}}
				})
			}
			answer(c.first, "")
			if c.first == events.RulingApprove {
				answer(events.RulingAnswer, `{"n":3}`)
			}
			var got *events.ToolResult
			v.until("the result", func(e events.Event) (ok bool) { got, ok = e.(*events.ToolResult); return ok })
			if got.Status != events.StatusOK || got.Content != c.want {
				t.Errorf("%s: %s", got.Status, got.Content)
			}
			v.until("the end", func(e events.Event) bool { _, ok := e.(*events.TurnEnded); return ok })
		})
	}
}

// TestAnElicitationIsRepeatedAfterItsWorkerDied: an answer to the first
// elicitation would be ignored; the second worker elicits again.
func TestAnElicitationIsRepeatedAfterItsWorkerDied(t *testing.T) {
	f := newFleet(t, callsScript("curious", `{}`), 2, curious{})
	_, kill := f.worker("first")
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	conversation := newID(t)
	f.sendNew(conversation, func(id string) events.Event { return &events.UserMessage{ID: id, Text: "go"} })
	v := f.view(ctx, conversation)
	pending := func(what string) (a events.Awaited) {
		v.until(what, func(e events.Event) bool {
			p, ok := e.(*events.Paused)
			if ok {
				a = p.Awaiting[0]
			}
			return ok
		})
		return a
	}
	first := pending("the first question")
	kill()
	f.worker("second")
	second := pending("the question of the second worker")
	if second.Question == first.Question {
		t.Fatal("the second worker did not elicit again")
	}
	f.sendNew(conversation, func(id string) events.Event {
		return &events.Verdict{ID: id, Verdict: events.RulingReject, Calls: []events.CallVerdict{{Call: second.Call, Digest: second.Digest}}}
	})
	var got *events.ToolResult
	v.until("the result", func(e events.Event) (ok bool) { got, ok = e.(*events.ToolResult); return ok })
	if got.Status != events.StatusOK || got.Content != "then not" {
		t.Errorf("%s: %s", got.Status, got.Content)
	}
	v.until("the end", func(e events.Event) bool { _, ok := e.(*events.TurnEnded); return ok })
}
