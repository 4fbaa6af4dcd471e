package parley

import (
	"context"
	"slices"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/events"
)

// Intervention is what a person did to a call.
type Intervention struct {
	// By is the person as the app named them; empty when the verdict does not say.
	// Anybody who may publish can write any name.
	By string
	// Signer is the identity that signed the verdict, as the orchestrator verified;
	// empty when it was not signed.
	Signer string
	// Proposed is the model's arguments, if the person changed them.
	Proposed string
	// Answered reports that the result is the person's.
	Answered bool
}

// Interventions returns what people did to the calls of a view, by call.
func (c *Conversation) Interventions(ctx context.Context, v *View) (map[string]Intervention, error) {
	from, signer := map[string]string{}, map[string]string{} // who gave a verdict
	deciding := map[string]string{}                          // verdicts by call
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
				all[body.Call], deciding[body.Call] = did, body.By
			}
		case *events.ToolCallAnswered:
			all[body.Call], deciding[body.Call] = Intervention{By: from[body.By], Answered: true}, body.By
		case *events.InputAnswered: // which follows what it did
			if body.Signer != "" {
				signer[body.Input] = body.Signer
			}
		}
	}
	for call, did := range all {
		did.Signer = signer[deciding[call]]
		all[call] = did
	}
	return all, nil
}

// Speaker is who wrote a message: the identity that signed it, as the orchestrator
// verified, and the name that the app gave, which anybody can write.
type Speaker = accumulator.Speaker

// Speakers returns who wrote the messages of users, in order, one for each part of
// their [Message]s. It is valid as [View.Open] is.
func (v *View) Speakers() []Speaker {
	if v.folded == nil {
		return nil
	}
	return v.folded.Transcript.Speakers()
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
