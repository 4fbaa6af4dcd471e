package openai

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

// sent are the messages of a request, as the host sees them.
func sent(t *testing.T, c Config, messages ...events.Message) []map[string]any {
	t.Helper()
	var v struct {
		Messages []map[string]any `json:"messages"`
	}
	if err := json.Unmarshal([]byte(body(t, c, llm.Request{Model: "m", Messages: messages})), &v); err != nil {
		t.Fatal(err)
	}
	return v.Messages
}

// message puts a stream together as the transcript's message: a part per block.
func message(t *testing.T, provider, stream string) events.Message {
	t.Helper()
	parts := map[int]*events.Part{}
	var order []*events.Part
	part := func(block int, kind events.PartKind) *events.Part {
		if parts[block] == nil {
			parts[block] = &events.Part{Kind: kind}
			order = append(order, parts[block])
		}
		return parts[block]
	}
	for e := range Decode(strings.NewReader(stream)) {
		switch e := e.(type) {
		case *events.TextChunk:
			part(e.Block, events.PartText).Text += e.Text
		case *events.ReasoningChunk:
			p := part(e.Block, events.PartReasoning)
			p.Text += e.Text
			if len(e.Carry) > 0 {
				p.Carry = e.Carry
			}
		case *events.ToolCallStart:
			p := part(e.Block, events.PartCall)
			p.Call, p.ProviderID, p.Name = "ours-"+e.ProviderID, e.ProviderID, e.Name
		case *events.ToolCallDelta:
			parts[e.Block].Arguments += e.Arguments
		case *events.ToolCallEnd:
			parts[e.Block].Carry = e.Carry
		}
	}
	m := events.Message{Role: events.RoleAssistant, Provider: provider}
	for _, p := range order {
		m.Parts = append(m.Parts, *p)
	}
	return m
}

func TestWhatAHostWantsBackReturnsToIt(t *testing.T) {
	call := entry(`"index":0,"id":"a","function":{"name":"f","arguments":"{}"}`)
	cases := []struct{ name, stream, want string }{
		{"reasoning under the name it came with", sse(delta(`"reasoning_content":"h"`), delta(`"reasoning_content":"m"`), delta(`"content":"a"`)),
			`{"role":"assistant","content":"a","reasoning_content":"hm"}`},
		{"under the other name", sse(delta(`"reasoning":"hm"`), delta(`"content":"a"`)),
			`{"role":"assistant","content":"a","reasoning":"hm"}`},
		{"interleaved reasoning as one", sse(delta(`"reasoning":"h"`), delta(`"content":"a"`), delta(`"reasoning":"m"`), delta(`"content":"b"`)),
			`{"role":"assistant","content":"ab","reasoning":"hm"}`},
		{"details put together from their fragments", sse(
			delta(`"reasoning":"h","reasoning_details":[{"type":"reasoning.text","text":"h","index":0,"format":null}]`),
			delta(`"reasoning":"m","reasoning_details":[{"type":"reasoning.text","text":"m","index":0}]`),
			delta(`"reasoning_details":[{"type":"reasoning.text","signature":"s","index":0,"format":"v1"}]`),
			delta(`"reasoning_details":[{"type":"reasoning.encrypted","data":"x","id":"r1","index":1},{"type":"reasoning.encrypted","data":"y","id":"r2","index":1}]`), delta(`"content":"a"`)),
			`{"role":"assistant","content":"a","reasoning_details":[{"type":"reasoning.text","text":"hm","index":0,"signature":"s","format":"v1"},{"type":"reasoning.encrypted","data":"x","id":"r1","index":1},{"type":"reasoning.encrypted","data":"y","id":"r2","index":1}]}`},
		{"summaries are put together apart from texts", sse(
			delta(`"reasoning_details":[{"type":"reasoning.summary","summary":"s","id":"r"},{"type":"reasoning.text","text":"t"}]`),
			delta(`"reasoning_details":[{"type":"reasoning.summary","summary":"S"},{"type":"reasoning.text","text":"T"}]`), delta(`"content":"a"`)),
			`{"role":"assistant","content":"a","reasoning_details":[{"type":"reasoning.summary","summary":"sS","id":"r"},{"type":"reasoning.text","text":"tT"}]}`},
		{"encrypted reasoning without a text, beside a call", sse(delta(`"reasoning_details":[{"type":"reasoning.encrypted","data":"x"}]`), call),
			`{"role":"assistant","content":null,"reasoning_details":[{"type":"reasoning.encrypted","data":"x"}],"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]}`},
		{"thinking parts of a content list", sse(delta(`"content":[{"type":"thinking","thinking":[{"type":"text","text":"h\"m"}]}]`), delta(`"content":"a"`)),
			`{"role":"assistant","content":[{"type":"thinking","thinking":[{"type":"text","text":"h\"m"}]},{"type":"text","text":"a"}]}`},
		{"signatures of calls and functions", sse(entry(`"index":0,"id":"a","extra_content":{"google":{"thought_signature":"s"}},"function":{"name":"f","arguments":"{}","x":1}`)),
			`{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}","x":1},"extra_content":{"google":{"thought_signature":"s"}}}]}`},
		{"the signature of a text", sse(delta(`"content":"a","extra_content":{"google":{"thought_signature":"s"}}`)),
			`{"role":"assistant","content":"a","extra_content":{"google":{"thought_signature":"s"}}}`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := sent(t, Config{Name: "host"}, message(t, "host", c.stream))
			raw, err := json.Marshal(got[0])
			if err != nil || normal(t, string(raw)) != normal(t, c.want) {
				t.Errorf("sent %s, %v\nwant %s", raw, err, c.want)
			}
			got = sent(t, Config{Name: "other"}, message(t, "host", c.stream))
			for key := range got[0] {
				if key != "role" && key != "content" && key != "tool_calls" {
					t.Errorf("another host is sent %q", key)
				}
			}
			if raw, err := json.Marshal(got); err != nil || strings.Contains(string(raw), "signature") || strings.Contains(string(raw), "thinking") {
				t.Errorf("another host is sent %s, %v", raw, err)
			}
		})
	}
}

func madeCalls(m map[string]any) (ids []string) {
	calls, _ := m["tool_calls"].([]any)
	for _, c := range calls {
		ids = append(ids, c.(map[string]any)["id"].(string))
	}
	return ids
}

func TestCallsAndResultsArePaired(t *testing.T) {
	made := func(ours, theirs string) events.Part {
		return events.Part{Kind: events.PartCall, Call: ours, ProviderID: theirs, Name: "f"}
	}
	cases := []struct {
		name     string
		provider string
		messages []events.Message
		own      []bool // whether each call keeps the provider's id
	}{
		{"ids of the provider are kept", "openai", []events.Message{
			answer("openai", made("1", "a"), made("2", "b")), resultOf("1", "x"), resultOf("2", "y")}, []bool{true, true}},
		{"an id that comes again later is replaced", "openai", []events.Message{
			answer("openai", made("1", "call_0")), resultOf("1", "x"), answer("openai", made("2", "call_0")), resultOf("2", "y")}, []bool{true, false}},
		{"an id that comes twice in one answer is replaced", "openai", []events.Message{
			answer("openai", made("1", "a"), made("2", "a")), resultOf("1", "x"), resultOf("2", "y")}, []bool{true, false}},
		{"a missing id is made", "openai", []events.Message{
			answer("openai", made("1", ""), made("2", "")), resultOf("1", "x"), resultOf("2", "y")}, []bool{false, false}},
		{"ids of others are replaced", "openai", []events.Message{
			answer("anthropic", made("1", "toolu_1")), resultOf("1", "x")}, []bool{false}},
		{"the same call twice is paired first in, first out", "openai", []events.Message{
			answer("openai", made("1", "a")), resultOf("1", "x"), answer("openai", made("1", "a")), resultOf("1", "y")}, []bool{true, false}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var made, answered []string
			for _, m := range sent(t, Config{}, c.messages...) {
				made = append(made, madeCalls(m)...)
				if m["role"] == "tool" {
					answered = append(answered, m["tool_call_id"].(string))
				}
			}
			if strings.Join(made, " ") != strings.Join(answered, " ") {
				t.Errorf("calls %v have the results %v", made, answered)
			}
			seen := map[string]bool{}
			n := 0
			for _, m := range c.messages {
				for _, p := range m.Parts {
					if p.Kind != events.PartCall {
						continue
					}
					id := made[n]
					if seen[id] || (id == p.ProviderID) != c.own[n] || !c.own[n] && !regexp.MustCompile(`^[a-zA-Z0-9]{9}$`).MatchString(id) {
						t.Errorf("call %d (%s) has the id %q", n, p.ProviderID, id)
					}
					seen[id] = true
					n++
				}
			}
		})
	}
	t.Run("an id that was made stays the same as the transcript grows", func(t *testing.T) {
		short := []events.Message{answer("openai", made("1", "")), resultOf("1", "x")}
		long := append(short[:2:2], user("more"), answer("openai", made("2", "")), resultOf("2", "y"))
		if a, b := madeCalls(sent(t, Config{}, short...)[0]), madeCalls(sent(t, Config{}, long...)[0]); a[0] != b[0] {
			t.Errorf("it was %s and is %s", a[0], b[0])
		}
	})
}

func TestABadCallDoesNotSpoilTheTranscript(t *testing.T) {
	cases := []struct {
		name            string
		part            events.Part
		tool, arguments string
	}{
		{"cut arguments are wrapped", events.Part{Name: "f", Arguments: `{"a":`}, "f", `{"invalid_arguments":"{\"a\":"}`},
		{"arguments that are no object are wrapped", events.Part{Name: "f", Arguments: `[1]`}, "f", `{"invalid_arguments":"[1]"}`},
		{"no arguments are an empty object", events.Part{Name: "f", Arguments: "null"}, "f", `{}`},
		{"free text is wrapped", events.Part{Name: "f", Arguments: "SELECT 1", Custom: true}, "f", `{"input":"SELECT 1"}`},
		{"a name with other letters is rewritten", events.Part{Name: "multi_tool_use.parallel é"}, "multi_tool_use_parallel__", `{}`},
		{"a missing name is one", events.Part{}, "unnamed", `{}`},
		{"a long name is cut", events.Part{Name: strings.Repeat("x", 99)}, strings.Repeat("x", 64), `{}`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			c.part.Kind, c.part.Call = events.PartCall, "1"
			got := sent(t, Config{}, answer("openai", c.part), resultOf("1", "x"))
			f := got[0]["tool_calls"].([]any)[0].(map[string]any)["function"].(map[string]any)
			if f["name"] != c.tool || f["arguments"] != c.arguments {
				t.Errorf("sent %v", f)
			}
		})
	}
	t.Run("a message of reasoning alone is left out, and its neighbours are joined", func(t *testing.T) {
		only := answer("openai", events.Part{Kind: events.PartReasoning, Text: "hm", Carry: json.RawMessage(`{"field":"reasoning"}`)})
		if got := sent(t, Config{}, user("a"), only, user("b")); len(got) != 1 || got[0]["content"] != "a\n\nb" {
			t.Errorf("sent %v", got)
		}
	})
	t.Run("a burst of inputs is one message", func(t *testing.T) {
		two := events.Message{Role: events.RoleUser, Parts: []events.Part{{Kind: events.PartText, Text: "a"}, {Kind: events.PartText, Text: "b"}}}
		if got := sent(t, Config{}, two); len(got) != 1 || got[0]["content"] != "a\n\nb" {
			t.Errorf("sent %v", got)
		}
	})
}
