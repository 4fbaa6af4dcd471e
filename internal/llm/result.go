package llm

import (
	"bytes"
	"encoding/json"

	"github.com/parleybus/parley/internal/events"
)

// ResultText is what a model reads of a call's result: every adapter sends this.
// What a successful tool said goes as it is. Anything else is one JSON object
// that holds the status and, quoted, what was said:
//
//	{"status":"failed","content":"no route to host"}
//
// A preview (Object is set) is such an object too, and says how large the whole
// is: {"status":"ok","content":"…","preview":true,"size_bytes":3481022}.
// docs/adr/0013 says why.
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
	enc.SetEscapeHTML(false) // a model reads "<", not its escape
	if err := enc.Encode(envelope); err != nil {
		return "the result cannot be shown: " + err.Error() // strings and numbers always encode
	}
	return string(bytes.TrimSpace(text.Bytes()))
}
