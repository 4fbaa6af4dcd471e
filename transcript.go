package parley

import (
	"context"
	"slices"

	"github.com/parleybus/parley/internal/events"
)

// Intervention is what a person did to a call.
type Intervention struct {
	// By is the person; empty when the verdict names none.
	By string
	// Proposed is the model's arguments, if the person changed them.
	Proposed string
	// Answered reports that the result is the person's.
	Answered bool
}

// Interventions returns what people did to the calls of a view, by call.
func (c *Conversation) Interventions(ctx context.Context, v *View) (map[string]Intervention, error) {
	from := map[string]string{} // who gave a verdict
	all := map[string]Intervention{}
	for e, err := range c.Facts(ctx) {
		if err != nil {
			return nil, err
		}
		switch body := e.Body.(type) {
		case *events.Verdict:
			from[body.ID] = body.From
		case *events.ToolCallRequested:
			if len(body.Arguments) > 0 {
				did := Intervention{By: from[body.By], Proposed: string(body.Arguments)}
				if original, ok := v.Proposed(body.Call); ok {
					did.Proposed = original.Arguments
				}
				all[body.Call] = did
			}
		case *events.ToolCallAnswered:
			all[body.Call] = Intervention{By: from[body.By], Answered: true}
		}
	}
	return all, nil
}

// Transcript returns the messages of the view without those that replace the results
// of calls that wait, which only a model needs.
func (v *View) Transcript() []Message {
	return slices.DeleteFunc(slices.Clone(v.Messages), func(m Message) bool {
		return m.Role == events.RoleTool && len(m.Parts) == 1 && v.State.Awaits(m.Parts[0].Call)
	})
}

// FetchResults replaces results of which messages hold only
// the beginning. It changes the parts of messages.
func (c *Client) FetchResults(ctx context.Context, messages []Message) error {
	for i := range messages {
		for j := range messages[i].Parts {
			p := &messages[i].Parts[j]
			if p.Object == nil {
				continue
			}
			whole, err := c.Fetch(ctx, p.Object)
			if err != nil {
				return err
			}
			p.Text, p.Object = string(whole), nil
		}
	}
	return nil
}
