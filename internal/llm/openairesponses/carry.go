package openairesponses

import (
	"bytes"
	"encoding/json"
)

// carried is the data that an item needs when it is sent back: a reasoning item
// as the provider made it, or the phase of the preceding message. The status is
// left out: the API refuses it in input.
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
	// Annotations of the preceding message are kept for readers of the log.
	Annotations []json.RawMessage `json:"annotations,omitempty"`
}

// carryOf returns nil if nothing of the item needs to be sent back: a reasoning
// item without encrypted content and without text would exist only at the
// provider, where nothing is stored.
//
// An item of a tool that the provider runs is kept as it is.
func carryOf(w *wireItem) json.RawMessage {
	c := carried{Type: w.Type}
	switch {
	case w.Type == "":
		return nil
	case w.Type != kindMessage && w.Type != kindReasoning:
		var item bytes.Buffer
		if json.Compact(&item, w.raw) != nil {
			return nil
		}
		return item.Bytes()
	case w.Type == kindMessage && (w.Phase != "" || w.annotations() != nil):
		c.Phase, c.Annotations = w.Phase, w.annotations()
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
