package recording

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/parleybus/parley/internal/events"
)

// expected holds the compared fields of NAME.expected.json.
type expected struct {
	expectedChoice
	Choices    []expectedChoice  `json:"choices"`
	Usage      map[string]*int64 `json:"usage"`
	Error      json.RawMessage   `json:"error"`
	Terminated bool              `json:"terminated"`
}

type expectedChoice struct {
	Text      *digest        `json:"text"`
	Refusal   *digest        `json:"refusal"`
	Reasoning *digest        `json:"reasoning"`
	Summary   *digest        `json:"reasoning_summary"`
	Calls     []expectedCall `json:"tool_calls"`
	Finish    *string        `json:"finish_reason"`
}

type expectedCall struct {
	ID        *string `json:"id"`
	Name      *string `json:"name"`
	Arguments string  `json:"arguments"`
	ValidJSON *bool   `json:"valid_json"`
	Custom    bool    `json:"custom"`
}

type digest struct {
	SHA256 string `json:"sha256"`
	Head   string `json:"head"`
}

// Differences returns the differences between an answer and the result of
// independent parsers for the recording; of several choices the first counts.
// It is empty if the two agree.
func (r *Recording) Differences(got Answer) []string {
	var d differences
	for _, rule := range got.Broken {
		d.note("the stream breaks a rule: %s", rule)
	}
	if got.End == nil {
		return append(d, "the answer has no end")
	}
	want := r.expected.expectedChoice
	if len(r.expected.Choices) > 0 {
		want = r.expected.Choices[0]
	}
	d.text("text", want.Text, got.Text)
	d.text("refusal", want.Refusal, got.Refusal)
	d.text("reasoning", want.Reasoning, got.Reasoning)
	d.text("reasoning summary", want.Summary, got.Summary)
	if word := or(want.Finish); got.End.FinishWord != word {
		d.note("finish word is %q, want %q", got.End.FinishWord, word)
	}
	if got.End.Terminated != r.expected.Terminated {
		d.note("terminated is %v, want %v", got.End.Terminated, r.expected.Terminated)
	}
	d.usage(r.expected.Usage, got.End.Usage)
	d.failure(r.expected.Error, got.End.Error)
	if len(got.Calls) != len(want.Calls) {
		d.note("%d calls, want %d: %+v", len(got.Calls), len(want.Calls), got.Calls)
		return d
	}
	for i, call := range got.Calls {
		d.call(i, want.Calls[i], call, r.exact)
	}
	return d
}

// differences collects descriptions of the differences.
type differences []string

func (d *differences) note(format string, args ...any) {
	*d = append(*d, fmt.Sprintf(format, args...))
}

func (d *differences) call(i int, want expectedCall, got Call, exact bool) {
	if got.ProviderID != or(want.ID) || got.Name != or(want.Name) || got.Custom != want.Custom {
		d.note("call %d is %q %q custom %v, want %q %q custom %v",
			i, got.ProviderID, got.Name, got.Custom, or(want.ID), or(want.Name), want.Custom)
	}
	if got.Arguments == want.Arguments {
		return
	}
	valid := want.ValidJSON != nil && *want.ValidJSON
	if exact || !valid || !sameJSON(events.Arguments(got.Arguments), events.Arguments(want.Arguments)) {
		d.note("arguments of call %d are %q, want %q", i, got.Arguments, want.Arguments)
	}
}

// text compares by digest; an unexpected text must be empty.
func (d *differences) text(what string, want *digest, got string) {
	if want == nil {
		if got != "" {
			d.note("%s is %.80q, want none", what, got)
		}
		return
	}
	sum := sha256.Sum256([]byte(got))
	if hex.EncodeToString(sum[:]) != want.SHA256 {
		d.note("%s differs: %d bytes beginning %.80q, want one beginning %q", what, len(got), got, want.Head)
	}
}

// usage compares key by key: null means that the provider reported none.
func (d *differences) usage(want map[string]*int64, usage *events.Usage) {
	if usage == nil {
		usage = &events.Usage{}
	}
	got := map[string]*int64{
		"input_tokens":                usage.InputTokens,
		"output_tokens":               usage.OutputTokens,
		"total_tokens":                usage.TotalTokens,
		"cached_input_tokens":         usage.CachedInputTokens,
		"reasoning_tokens":            usage.ReasoningTokens,
		"cache_read_input_tokens":     usage.CacheReadInputTokens,
		"cache_creation_input_tokens": usage.CacheCreationInputTokens,
	}
	for key, n := range want {
		g, known := got[key]
		switch {
		case !known:
			d.note("the expected file has the count %q, which is not compared", key)
		case (n == nil) != (g == nil), n != nil && *n != *g:
			d.note("usage %s is %s, want %s", key, number(g), number(n))
		}
	}
	if want == nil && *usage != (events.Usage{}) {
		d.note("usage is counted, want none")
	}
}

// failure compares whether the provider reported a failure, and its text.
// Parley concludes a cut itself; the provider does not report one.
func (d *differences) failure(want json.RawMessage, got *events.Error) {
	failed := got != nil && got.Class != events.ErrCut
	if len(want) == 0 || string(want) == "null" {
		if failed {
			d.note("error is %v, want none", got)
		}
		return
	}
	if !failed {
		d.note("error is %v, want %s", got, want)
		return
	}
	if words := message(want); !strings.Contains(got.Message, words) {
		d.note("the error is %q, want %q", got.Message, words)
	}
}

// message returns the text of an error: a string, "message", "detail", or the
// same within "error".
func message(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var v struct {
		Error   json.RawMessage `json:"error"`
		Message string          `json:"message"`
		Detail  string          `json:"detail"`
	}
	if json.Unmarshal(raw, &v) != nil {
		return string(raw)
	}
	switch {
	case v.Message != "":
		return v.Message
	case len(v.Error) > 0:
		return message(v.Error)
	}
	return v.Detail
}

func sameJSON(a, b []byte) bool {
	var v, w any
	for _, x := range []struct {
		raw []byte
		to  *any
	}{{a, &v}, {b, &w}} {
		dec := json.NewDecoder(bytes.NewReader(x.raw))
		dec.UseNumber()
		if dec.Decode(x.to) != nil {
			return false
		}
	}
	return reflect.DeepEqual(v, w)
}

func number(n *int64) string {
	raw, err := json.Marshal(n)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

func or(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
