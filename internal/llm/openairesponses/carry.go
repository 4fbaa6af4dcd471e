package openairesponses

import "encoding/json"

// carried is what an item needs to come back: a reasoning item as the provider
// made it, or the phase of the message that stands before it. The status stays
// out: as input the API refuses it.
//
// Source: https://platform.openai.com/docs/guides/reasoning (encrypted
// reasoning items) and the phase field of output messages.
type carried struct {
	Type      kind            `json:"type"`
	ID        string          `json:"id,omitempty"`
	Summary   json.RawMessage `json:"summary,omitempty"`
	Content   json.RawMessage `json:"content,omitempty"`
	Encrypted string          `json:"encrypted_content,omitempty"`
	Phase     string          `json:"phase,omitempty"`
}

// carryOf is nil when nothing of the item needs to come back: a reasoning item
// without encrypted content and without its text exists on the provider's side
// only, where we do not store.
func carryOf(w *wireItem) json.RawMessage {
	c := carried{Type: w.Type}
	switch {
	case w.Type == kindMessage && w.Phase != "":
		c.Phase = w.Phase
	case w.Type == kindReasoning && (w.Encrypted != "" || len(parts(w.Content)) > 0):
		c.ID, c.Summary, c.Encrypted = w.ID, w.Summary, w.Encrypted
		if parts(c.Summary) == nil {
			c.Summary = json.RawMessage("[]") // required, even empty
		}
		if len(parts(w.Content)) > 0 {
			c.Content = w.Content
		}
	default:
		return nil
	}
	raw, err := json.Marshal(c)
	if err != nil {
		return nil // cannot be: the parts were decoded from JSON
	}
	return raw
}
