package recording

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
)

// expected is NAME.expected.json, as far as it is compared.
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

func (r *Recording) compare(t *testing.T, got Answer) {
	t.Helper()
	for _, rule := range got.Broken {
		t.Error("the stream breaks a rule: " + rule)
	}
	if got.End == nil {
		return
	}
	want := r.expected.expectedChoice
	if len(r.expected.Choices) > 0 {
		want = r.expected.Choices[0]
	}
	compareText(t, "text", want.Text, got.Text)
	compareText(t, "refusal", want.Refusal, got.Refusal)
	compareText(t, "reasoning", want.Reasoning, got.Reasoning)
	compareText(t, "reasoning summary", want.Summary, got.Summary)
	if word := or(want.Finish); got.End.FinishWord != word {
		t.Errorf("finish word is %q, want %q", got.End.FinishWord, word)
	}
	if got.End.Terminated != r.expected.Terminated {
		t.Errorf("terminated is %v, want %v", got.End.Terminated, r.expected.Terminated)
	}
	compareUsage(t, r.expected.Usage, got.End.Usage)
	compareError(t, r.expected.Error, got.End.Error)
	if len(got.Calls) != len(want.Calls) {
		t.Fatalf("%d calls, want %d: %+v", len(got.Calls), len(want.Calls), got.Calls)
	}
	for i, call := range got.Calls {
		r.compareCall(t, i, want.Calls[i], call)
	}
}

func (r *Recording) compareCall(t *testing.T, i int, want expectedCall, got Call) {
	t.Helper()
	if got.ProviderID != or(want.ID) || got.Name != or(want.Name) || got.Custom != want.Custom {
		t.Errorf("call %d is %q %q custom %v, want %q %q custom %v",
			i, got.ProviderID, got.Name, got.Custom, or(want.ID), or(want.Name), want.Custom)
	}
	if got.Arguments == want.Arguments {
		return
	}
	valid := want.ValidJSON != nil && *want.ValidJSON
	if r.exact || !valid || !sameJSON(events.Arguments(got.Arguments), events.Arguments(want.Arguments)) {
		t.Errorf("arguments of call %d are %q, want %q", i, got.Arguments, want.Arguments)
	}
}

// compareText compares by digest; a text that is not expected must be empty.
func compareText(t *testing.T, what string, want *digest, got string) {
	t.Helper()
	if want == nil {
		if got != "" {
			t.Errorf("%s is %.80q, want none", what, got)
		}
		return
	}
	sum := sha256.Sum256([]byte(got))
	if hex.EncodeToString(sum[:]) != want.SHA256 {
		t.Errorf("%s differs: %d bytes beginning %.80q, want one beginning %q", what, len(got), got, want.Head)
	}
}

// compareUsage compares key by key: null means that the provider did not say.
func compareUsage(t *testing.T, want map[string]*int64, usage *events.Usage) {
	t.Helper()
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
			t.Errorf("the expected file counts %q, which nobody compares", key)
		case (n == nil) != (g == nil), n != nil && *n != *g:
			t.Errorf("usage %s is %s, want %s", key, number(g), number(n))
		}
	}
	if want == nil && *usage != (events.Usage{}) {
		t.Errorf("usage is counted, want none")
	}
}

// compareError compares whether the provider reported a failure, and its words.
// A cut is what we conclude, not what the provider said.
func compareError(t *testing.T, want json.RawMessage, got *events.Error) {
	t.Helper()
	failed := got != nil && got.Class != events.ErrCut
	if len(want) == 0 || string(want) == "null" {
		if failed {
			t.Errorf("error is %v, want none", got)
		}
		return
	}
	if !failed {
		t.Errorf("error is %v, want %s", got, want)
		return
	}
	if words := message(want); !strings.Contains(got.Message, words) {
		t.Errorf("error says %q, want it to say %q", got.Message, words)
	}
}

// message finds the words of an error: a string, "message", "detail", or the
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
