package worker

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/secret"
	"github.com/parleybus/parley/internal/tool"
)

// answer redacts the events of one answer. A secret may be cut over several chunks
// of a block: their end is held back while it may begin one.
type answer struct {
	secrets *secret.Set
	stream  *secret.Stream
	open    events.Stamped // the last chunk of the block whose end is held back; nil for none
}

// chunk returns the text of a chunk, and what says which chunks it continues; nil for
// an event that is no chunk.
func chunk(e events.Stamped) (text *string, of [2]int) {
	switch e := e.(type) {
	case *events.TextChunk:
		return &e.Text, [2]int{0, e.Block}
	case *events.ReasoningChunk:
		return &e.Text, [2]int{1, e.Block}
	case *events.ToolCallDelta:
		return &e.Arguments, [2]int{2, e.Block}
	}
	return nil, [2]int{}
}

// events returns what to publish for an event: before it, the end of a block that was
// held back, and not the event while all of its text is held back.
func (a *answer) events(e events.Stamped) []events.Stamped {
	text, of := chunk(e)
	var all []events.Stamped
	if a.open != nil {
		if _, last := chunk(a.open); text == nil || of != last {
			all = a.end()
		}
	}
	if text == nil {
		a.redact(e)
		return append(all, e)
	}
	if a.stream == nil {
		a.stream = a.secrets.Stream()
	}
	before := *text
	*text = a.stream.Next(before)
	a.open = e
	if r, ok := e.(*events.ReasoningChunk); ok && len(r.Carry) > 0 {
		r.Carry = a.secrets.RedactJSON(r.Carry)
		return append(all, e)
	}
	if *text == "" && before != "" {
		return all
	}
	return append(all, e)
}

// end returns the end of a block that was held back, if any.
func (a *answer) end() []events.Stamped {
	last := a.open
	a.open = nil
	if last == nil {
		return nil
	}
	rest := a.stream.End()
	if rest == "" {
		return nil
	}
	switch e := last.(type) {
	case *events.TextChunk:
		return []events.Stamped{&events.TextChunk{Block: e.Block, Text: rest, Refusal: e.Refusal}}
	case *events.ReasoningChunk:
		return []events.Stamped{&events.ReasoningChunk{Block: e.Block, Text: rest, Summary: e.Summary}}
	case *events.ToolCallDelta:
		return []events.Stamped{&events.ToolCallDelta{Block: e.Block, Call: e.Call, Arguments: rest}}
	}
	return nil
}

// redact redacts an event that is no chunk.
func (a *answer) redact(e events.Stamped) {
	switch e := e.(type) {
	case *events.ToolCallStart:
		e.Name, e.ProviderID = a.secrets.Redact(e.Name), a.secrets.Redact(e.ProviderID)
	case *events.ToolCallEnd:
		e.Invalid, e.Carry = a.secrets.Message(e.Invalid), a.secrets.RedactJSON(e.Carry)
	}
}

// redactEnd redacts the end of an answer.
func redactEnd(s *secret.Set, end *events.GenerationEnded) {
	end.FinishWord, end.ResponseID, end.Model = s.Redact(end.FinishWord), s.Redact(end.ResponseID), s.Redact(end.Model)
	end.Omitted = redactOmitted(s, end.Omitted)
	end.OmittedParameters = slices.Clone(end.OmittedParameters) // another try may have it too
	for i := range end.OmittedParameters {
		end.OmittedParameters[i].Reason = s.Message(end.OmittedParameters[i].Reason)
	}
	if end.Error != nil {
		end.Error = redactFailure(s, end.Error)
	}
}

// redactFailure redacts an error of a provider.
func redactFailure(s *secret.Set, e *events.Error) *events.Error {
	clean := *e // another try may have it too
	clean.Message, clean.Code = s.Message(clean.Message), s.Message(clean.Code)
	return &clean
}

// redactResult redacts what a tool returned.
func redactResult(s *secret.Set, got tool.Result) tool.Result {
	got.Content, got.Structured = s.Redact(got.Content), s.RedactJSON(got.Structured)
	for i, a := range got.Attachments {
		got.Attachments[i] = tool.Attachment{Name: s.Redact(a.Name), MIME: s.Redact(a.MIME), Data: s.RedactBytes(a.Data)}
	}
	return got
}

// redactSpec redacts what a tool says of itself, which an MCP server may choose.
func redactSpec(s *secret.Set, spec events.ToolSpec) events.ToolSpec {
	spec.Description = s.Redact(spec.Description)
	spec.Schema, spec.Output = s.RedactJSON(spec.Schema), s.RedactJSON(spec.Output)
	return spec
}

// redactQuestion redacts what a tool asks a person.
func redactQuestion(s *secret.Set, q tool.Question) tool.Question {
	q.Message, q.URL, q.Schema = s.Redact(q.Message), s.Redact(q.URL), json.RawMessage(s.RedactBytes(q.Schema))
	return q
}

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
// an answer does not put it into the log; one that encodes it first does.
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

// redactServers removes secrets from what MCP servers said.
func redactServers(secrets *secret.Set, all []bus.ServerState) []bus.ServerState {
	for i := range all {
		all[i].Missing, all[i].Omitted = secrets.Message(all[i].Missing), redactOmitted(secrets, all[i].Omitted)
	}
	return all
}

// redactOmitted removes secrets from why tools are left out.
func redactOmitted(secrets *secret.Set, all []events.OmittedTool) []events.OmittedTool {
	all = slices.Clone(all) // another try may have it too
	for i := range all {
		all[i].Reason = secrets.Message(all[i].Reason)
	}
	return all
}
