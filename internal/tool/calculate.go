package tool

import (
	"context"
	"encoding/json"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool/arithmetic"
)

// calculator is the tool calculate.
type calculator struct{}

// Spec implements [Tool].
func (calculator) Spec() events.ToolSpec {
	return events.ToolSpec{
		Name: "calculate",
		Description: "Evaluates an arithmetic expression exactly and returns the number alone, followed by (rounded) when it is not exact. " +
			"Knows + - * / ^, parentheses, thousands separators (2,340), percentages (\"17% of 2,340\"; 17% alone is 0.17, so a tenth more is 200 * 110%), " +
			"a % b for the remainder, sqrt, abs, round(x, digits), floor, ceil, min, max, log(x) to base 10, log(x, base), ln, exp, sin, cos, tan (radians), pi and e. " +
			"Inside the parentheses of a function a comma separates arguments. Use it for every calculation instead of computing yourself.",
		Schema: json.RawMessage(`{
			"type": "object",
			"properties": {
				"expression": {"type": "string", "minLength": 1, "maxLength": 1000, "description": "the expression, for example \"17% of 2,340\" or \"round(10/3, 2)\""}
			},
			"required": ["expression"],
			"additionalProperties": false
		}`),
		Effect:    events.EffectPure,
		TimeoutMS: 10_000,
	}
}

// Run implements [Tool].
func (calculator) Run(_ context.Context, in Input) (Result, error) {
	var args struct {
		Expression string `json:"expression"`
	}
	if err := in.Decode(&args); err != nil {
		return Result{}, err
	}
	v, err := arithmetic.Evaluate(args.Expression)
	if err != nil {
		return Result{}, Fail("cannot calculate %.200q: %v", args.Expression, err)
	}
	return Result{Content: v.String()}, nil
}
