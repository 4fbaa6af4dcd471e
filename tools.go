package parley

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
)

// Tool is a tool of the deployment and the state of its queue. Lag, Running and
// Retried are nil where this user may not see queues.
type Tool struct {
	ToolSpec
	// Workers serve it; none when only its queue is left.
	Workers []string `json:"workers"`
	// Conflicts are announcements of a tool of this name that were rejected: their
	// workers get no calls.
	Conflicts []ToolConflict `json:"conflicts,omitempty"`
	// Lag counts the calls that no worker has taken, Running those that one has, and
	// Retried those of them that were handed out more than once.
	Lag     *uint64 `json:"lag,omitempty"`
	Running *int    `json:"running,omitempty"`
	Retried *int    `json:"retried,omitempty"`
}

// ToolConflict is an announcement of a tool that was rejected, because another tool
// of the name is served or known. Its Error says what differs and what to do.
type ToolConflict = bus.Conflict

// Tools returns the tools that workers serve, and those of which only calls are
// left, by name. The error, if there is one beside tools, says why queues are not
// shown.
func (c *Client) Tools(ctx context.Context) ([]Tool, error) {
	offers, conflicts, err := c.bus.Presence().OffersAndConflicts(ctx)
	if err != nil {
		return nil, err
	}
	queues, err := c.bus.Jobs().Queues(ctx)
	return toolsOf(offers, conflicts, queues, err == nil), explainTimeout(err)
}

// KnownTool returns a tool as it is known from the workers that served it; nil when
// it is not known, or this user may not see that. Workers that announce a milder
// effect class for its name get no calls.
func (c *Client) KnownTool(ctx context.Context, name string) (*ToolSpec, error) {
	known, err := c.bus.Presence().KnownTool(ctx, name)
	if err != nil || known == nil {
		return nil, err
	}
	return &known.Tool, nil
}

// ForgetTool makes a tool unknown that workers announced: whatever they announce
// next counts, also with a milder effect class. It needs the permissions of an
// administrator, and returns the tool as it was known; nil when it was not.
func (c *Client) ForgetTool(ctx context.Context, name string) (*ToolSpec, error) {
	return c.bus.Presence().ForgetTool(ctx, name)
}

// ToolsIn returns the tools of a list of offers, by name, without queues.
func ToolsIn(offers []Offer) []Tool { return toolsOf(offers, nil, nil, false) }

func toolsOf(offers []Offer, conflicts []ToolConflict, queues []bus.QueueInfo, known bool) []Tool {
	var all []Tool
	at := func(name string) *Tool {
		i, found := slices.BinarySearchFunc(all, name, func(t Tool, name string) int { return strings.Compare(t.Name, name) })
		if !found {
			t := Tool{ToolSpec: ToolSpec{Name: name}, Workers: []string{}}
			if known {
				t.Lag, t.Running, t.Retried = new(uint64), new(int), new(int)
			}
			all = slices.Insert(all, i, t)
		}
		return &all[i]
	}
	for _, o := range offers {
		if o.Kind != "tool" || o.Tool == nil {
			continue
		}
		t := at(o.Name)
		if len(t.Workers) == 0 {
			t.ToolSpec = *o.Tool
			t.Name, t.Effect = o.Name, cmp.Or(o.Tool.Effect, events.EffectOnce)
		}
		t.Workers = append(t.Workers, o.Worker)
	}
	for _, c := range conflicts {
		t := at(c.Tool)
		t.Conflicts = append(t.Conflicts, c)
	}
	for _, q := range joinQueues(queues) {
		if q.Kind != "tool" || q.Lag == 0 && q.Running == 0 && SpecOf(offers, q.Name) == nil {
			continue // a queue stays when its tool is gone
		}
		t := at(q.Name)
		t.Lag, t.Running, t.Retried = &q.Lag, &q.Running, &q.Retried
	}
	return all
}

// SpecOf returns the specification of a tool in a list of offers; nil when no
// worker serves it.
func SpecOf(offers []Offer, name string) *ToolSpec {
	for _, o := range offers {
		if o.Kind == "tool" && o.Name == name && o.Tool != nil {
			return o.Tool
		}
	}
	return nil
}

// ToolCall is a call that a program makes without a model.
type ToolCall struct {
	// Tool is the tool's name, Arguments a JSON object; {} when nil.
	Tool      string
	Arguments json.RawMessage
	// Spec, if it is set, is the tool's specification; it is looked up otherwise.
	Spec *ToolSpec
	// Conversation is the conversation with the call; a new one when empty.
	Conversation string
	// Output receives what the tool prints while it runs; may be nil.
	Output func(text string)
}

// CallTool runs a call without a model and without policy, and returns its result,
// whatever its status. It needs the permissions of a caller. When ctx ends, the call
// is cancelled. It fails with [CodeNoWorker] if no worker serves the tool.
func (c *Client) CallTool(ctx context.Context, call ToolCall) (*ToolResult, error) {
	if call.Spec == nil {
		offers, found, err := c.AwaitOffers(ctx, func(offers []Offer) bool { return SpecOf(offers, call.Tool) != nil })
		if err != nil {
			return nil, err
		}
		if !found {
			return nil, NoSuchTool(call.Tool, c.URL(), offers)
		}
		call.Spec = SpecOf(offers, call.Tool)
	}
	if len(call.Arguments) == 0 {
		call.Arguments = json.RawMessage("{}")
	}
	if err := events.CheckArguments(string(call.Arguments)); err != nil {
		return nil, &Error{CodeInvalid, err}
	}
	return c.bus.Jobs().Call(ctx, bus.Call{Conversation: call.Conversation, Tool: *call.Spec, Arguments: call.Arguments, Output: call.Output})
}

// NoSuchTool returns the error that no worker at a server serves a tool: it names
// the tools that are served.
func NoSuchTool(name, server string, offers []Offer) error {
	var names []string
	for _, t := range ToolsIn(offers) {
		names = append(names, t.Name)
	}
	return errorf(CodeNoWorker, "nobody serves a tool %q on %s; served are: %s", name, server, cmp.Or(strings.Join(names, ", "), "none"))
}
