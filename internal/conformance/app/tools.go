package app

import (
	"context"
	"encoding/json"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
)

// adjust is a tool whose calls a person has to approve.
type adjust struct{}

// Spec implements [tool.Tool].
func (adjust) Spec() events.ToolSpec {
	return events.ToolSpec{Name: "adjust", Description: "Adjusts something.", Effect: events.EffectOnce, Schema: json.RawMessage(`{"type":"object"}`)}
}

// Run implements [tool.Tool].
func (adjust) Run(_ context.Context, in tool.Input) (tool.Result, error) {
	return tool.Result{Content: "adjusted " + string(in.Arguments)}, nil
}

// outside is a tool whose calls an app answers.
type outside struct{}

// Spec implements [tool.Tool].
func (outside) Spec() events.ToolSpec {
	return events.ToolSpec{Name: "outside", Description: "Asks somebody outside.", Effect: events.EffectPure, Schema: json.RawMessage(`{"type":"object"}`)}
}

// Run implements [tool.Tool].
func (outside) Run(context.Context, tool.Input) (tool.Result, error) {
	return tool.Result{}, tool.Fail("calls of this tool are answered from outside")
}

// deferred is the rules of a deployment in which an app answers the calls of outside.
const deferred = "policy:\n  rules:\n    - {tool: outside, action: defer}\n"

// asking is a tool that asks a person.
type asking struct{ schema string }

// Spec implements [tool.Tool].
func (asking) Spec() events.ToolSpec {
	return events.ToolSpec{Name: "asking", Description: "Asks the person.", Effect: events.EffectPure, Schema: json.RawMessage(`{"type":"object"}`)}
}

// Run implements [tool.Tool].
func (a asking) Run(ctx context.Context, in tool.Input) (tool.Result, error) {
	answer, err := in.Ask(ctx, tool.Question{Message: "Which one?", Schema: json.RawMessage(a.schema)})
	if err != nil {
		return tool.Result{}, err
	}
	if answer.Declined {
		return tool.Result{Content: "declined"}, nil
	}
	return tool.Result{Content: "the person says " + string(answer.Content)}, nil
}
