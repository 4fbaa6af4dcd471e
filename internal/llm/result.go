package llm

import (
	"bytes"
	"encoding/json"

	"github.com/parleybus/parley/internal/events"
)

// ResultText returns the text of a call's result that every adapter sends to
// the model. The content of a successful call is sent unchanged. Any other
// result is one JSON object with the status and the quoted content:
//
//	{"status":"failed","content":"no route to host"}
//
// A preview (Object is set) is such an object too, with the size of the full
// content: {"status":"ok","content":"…","preview":true,"size_bytes":3481022}.
// See docs/adr/0013.
func ResultText(part events.Part) string {
	status := part.Status
	if status == "" {
		status = events.StatusOK
	}
	if status == events.StatusOK && part.Object == nil {
		return part.Text
	}
	envelope := struct {
		Status  events.Status `json:"status"`
		Content string        `json:"content"`
		Preview bool          `json:"preview,omitempty"`
		Size    int64         `json:"size_bytes,omitempty"`
	}{Status: status, Content: part.Text}
	if part.Object != nil {
		envelope.Preview, envelope.Size = true, part.Object.Size
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false) // the model should read "<", not its escape
	if err := enc.Encode(envelope); err != nil {
		return "the result cannot be shown: " + err.Error() // strings and numbers always encode
	}
	return string(bytes.TrimSpace(text.Bytes()))
}
