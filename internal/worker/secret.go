package worker

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/parleybus/parley/internal/tool"
)

// redacted stands for a secret answer in what a tool returns.
const redacted = "[secret]"

// leastSecret is how long a secret must be to be found in a tool's text, in bytes. A
// shorter one occurs in any text.
const leastSecret = 4

// keep remembers the texts of the secret fields of an answer.
func (r *run) keep(answer json.RawMessage, fields []string) {
	var members map[string]any
	if json.Unmarshal(answer, &members) != nil {
		return // it was validated as an object, or there is no schema to name a secret
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, value := range members {
		// A secret that no field of the answer holds may be in any of them.
		known := slices.ContainsFunc(fields, func(f string) bool { _, ok := members[f]; return ok })
		if slices.Contains(fields, name) || !known {
			r.secrets = append(r.secrets, texts(value)...)
		}
	}
	// A secret may be a part of another one.
	slices.SortFunc(r.secrets, func(a, b string) int { return len(b) - len(a) })
}

// texts returns the texts and numbers in a value.
func texts(value any) (all []string) {
	switch v := value.(type) {
	case string:
		if len(v) < leastSecret {
			return nil
		}
		all = append(all, v)
		for _, html := range []bool{true, false} { // as JSON has it
			var b bytes.Buffer
			encoder := json.NewEncoder(&b)
			encoder.SetEscapeHTML(html)
			_ = encoder.Encode(v) // a text always encodes
			if inner := b.String()[1 : b.Len()-2]; !slices.Contains(all, inner) {
				all = append(all, inner)
			}
		}
	case float64:
		if raw, err := json.Marshal(v); err == nil && len(raw) >= leastSecret {
			all = append(all, string(raw))
		}
	case []any:
		for _, one := range v {
			all = append(all, texts(one)...)
		}
	case map[string]any:
		for _, one := range v {
			all = append(all, texts(one)...)
		}
	}
	return all
}

// redact replaces the secrets that people gave during the call. A tool that repeats
// what it was told does not put it into the log; one that encodes it first does.
func (r *run) redact(text string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, secret := range r.secrets {
		text = strings.ReplaceAll(text, secret, redacted)
	}
	return text
}

// redactResult replaces secrets in all that a tool returned.
func (r *run) redactResult(got tool.Result) tool.Result {
	r.mu.Lock()
	none := len(r.secrets) == 0
	r.mu.Unlock()
	if none {
		return got
	}
	got.Content = r.redact(got.Content)
	if structured := json.RawMessage(r.redact(string(got.Structured))); json.Valid(structured) {
		got.Structured = structured
	} else if len(got.Structured) > 0 {
		got.Structured = json.RawMessage(`"` + redacted + `"`) // a number was replaced
	}
	got.Attachments = slices.Clone(got.Attachments)
	for i := range got.Attachments {
		a := &got.Attachments[i]
		a.Name = r.redact(a.Name)
		if text := r.redact(string(a.Data)); !bytes.Equal(a.Data, []byte(text)) {
			a.Data = []byte(text)
		}
	}
	return got
}

// redactedError is an error whose text held a secret.
type redactedError struct {
	error
	text string
}

func (e *redactedError) Error() string { return e.text }
func (e *redactedError) Unwrap() error { return e.error }

// redactError replaces secrets in the text of an error.
func (r *run) redactError(err error) error {
	if err == nil {
		return nil
	}
	if text := r.redact(err.Error()); text != err.Error() {
		return &redactedError{err, text}
	}
	return err
}
