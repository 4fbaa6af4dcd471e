package toolworker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/conformance"
	"github.com/parleybus/parley/internal/events"
)

// pausing returns valid arguments of a call with this duration.
func (t Tool) pausing(d time.Duration) string {
	return with(t.Arguments, `"pause_ms":`+strconv.FormatInt(d.Milliseconds(), 10))
}

// long returns the arguments of a call that only ends when it is stopped.
func (t Tool) long() string { return t.pausing(50 * time.Second) }

// large returns arguments that need several chunks of an object.
func large(arguments string) string {
	return with(arguments, `"padding":"`+strings.Repeat("x", 300<<10)+`"`)
}

// with adds a field to a JSON object.
func with(object, field string) string {
	open := strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(object), "}"))
	if open != "{" {
		open += ","
	}
	return open + field + "}"
}

// Discover starts the program and completes what is known of its tool by what it
// announces: its name, and arguments that its schema describes.
func Discover(ctx context.Context, p conformance.Program, t Tool) (Tool, error) {
	offers, err := p.Offers(ctx, "tool")
	if err != nil {
		return t, err
	}
	offers = slices.DeleteFunc(offers, func(o conformance.Offer) bool { return o.Tool == nil })
	i := slices.IndexFunc(offers, func(o conformance.Offer) bool {
		return o.Name == t.Name || t.Name == "" && o.Name != "read_result"
	})
	if i < 0 {
		return t, fmt.Errorf("the program announces no tool %s: it puts a key tool.NAME.WORKER into the bucket PARLEY_PRESENCE, see docs/tool-workers.md", t.Name)
	}
	t.Name = offers[i].Name
	for _, o := range offers {
		if o.Name != t.Name {
			t.Besides = append(t.Besides, o.Name)
		}
	}
	good, bad, err := examples(*offers[i].Tool)
	t.Arguments, t.Failing = cmp.Or(t.Arguments, good), cmp.Or(t.Failing, bad)
	for _, arguments := range []string{t.Arguments, t.Failing} {
		var object map[string]any
		if err := json.Unmarshal([]byte(arguments), &object); err != nil || object == nil {
			return t, fmt.Errorf("arguments %s are no JSON object", arguments)
		}
	}
	return t, err
}

// property is what is read of a schema of an argument.
type property struct {
	Type     any               `json:"type"`
	Enum     []json.RawMessage `json:"enum"`
	Const    json.RawMessage   `json:"const"`
	Default  json.RawMessage   `json:"default"`
	Examples []json.RawMessage `json:"examples"`
}

// examples returns arguments that fit a tool's schema, and some that do not.
func examples(spec events.ToolSpec) (good, bad string, err error) {
	var schema struct {
		Required   []string            `json:"required"`
		Properties map[string]property `json:"properties"`
	}
	if err := json.Unmarshal(spec.Schema, &schema); err != nil {
		return "", "", fmt.Errorf("the schema of tool %s cannot be read: %w", spec.Name, err)
	}
	if len(schema.Required) == 0 {
		return "", "", errors.New("the tool's schema requires no argument: name arguments with --arguments, and some that make it fail with --failing")
	}
	fits, fails := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	wrong := schema.Required[0]
	for _, name := range schema.Required {
		p := schema.Properties[name]
		fits[name], fails[name] = p.value(), p.value()
		if len(p.Enum) > 0 {
			wrong = name
		}
	}
	fails[wrong] = schema.Properties[wrong].wrong()
	return compact(fits), compact(fails), nil
}

func compact(object map[string]json.RawMessage) string {
	text, err := json.Marshal(object)
	if err != nil {
		return "{}" // values of a schema that was decoded always encode
	}
	return string(text)
}

// value returns a value that fits.
func (p property) value() json.RawMessage {
	switch {
	case len(p.Examples) > 0:
		return p.Examples[0]
	case p.Default != nil:
		return p.Default
	case p.Const != nil:
		return p.Const
	case len(p.Enum) > 0:
		return p.Enum[0]
	}
	switch p.Type {
	case "integer", "number":
		return json.RawMessage("1")
	case "boolean":
		return json.RawMessage("true")
	case "array":
		return json.RawMessage("[]")
	case "object":
		return json.RawMessage("{}")
	}
	return json.RawMessage(`"conformance"`)
}

// wrong returns a value that does not fit.
func (p property) wrong() json.RawMessage {
	if p.Type == "string" && len(p.Enum) == 0 || p.Type == nil && len(p.Enum) == 0 {
		return json.RawMessage("7")
	}
	return json.RawMessage(`"no such value"`)
}
