package openai

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

func body(t *testing.T, c Config, req llm.Request) string {
	t.Helper()
	raw, err := New(c).body(req)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func user(text string) events.Message {
	return events.Message{Role: events.RoleUser, Parts: []events.Part{{Kind: events.PartText, Text: text}}}
}

func answer(provider string, parts ...events.Part) events.Message {
	return events.Message{Role: events.RoleAssistant, Provider: provider, Parts: parts}
}

func resultOf(call, text string) events.Message {
	return events.Message{Role: events.RoleTool, Parts: []events.Part{{Kind: events.PartResult, Call: call, Name: "f", Status: events.StatusOK, Text: text}}}
}

// everything is a request that has it.
func everything() llm.Request {
	temperature, topP, seed := 0.5, 0.9, int64(7)
	return llm.Request{
		Model:  "m",
		System: "Be brief.",
		Messages: []events.Message{
			user("Weather & time?"),
			answer("openai",
				events.Part{Kind: events.PartReasoning, Text: "Think.", Carry: json.RawMessage(`{"field":"reasoning_content"}`)},
				events.Part{Kind: events.PartText, Text: "Let me "},
				events.Part{Kind: events.PartText, Text: "look."},
				events.Part{Kind: events.PartCall, Call: "1", ProviderID: "call_a", Name: "weather", Arguments: `{"city":"Łódź"}`, Carry: json.RawMessage(`{"extra_content":{"google":{"thought_signature":"s"}}}`)},
				events.Part{Kind: events.PartCall, Call: "2", ProviderID: "call_b", Name: "time"}),
			resultOf("1", "sunny"),
			resultOf("2", "noon"),
			answer("openai", events.Part{Kind: events.PartRefusal, Text: "No."}),
		},
		Tools: []events.ToolSpec{
			{Name: "weather", Description: "Tells the weather", Schema: json.RawMessage(`{"type":"object","properties":{"z":{"type":"string"},"a":{"type":"integer"}}}`)},
			{Name: "time"},
		},
		Parameters: events.Parameters{MaxTokens: 100, Temperature: &temperature, TopP: &topP, Seed: &seed, Stop: []string{"END"},
			ReasoningEffort: "low", ToolChoice: "required", Extra: map[string]json.RawMessage{"top_k": json.RawMessage(`5`), "provider": json.RawMessage(`{"order":["x"]}`)}},
	}
}

func TestTheRequestIsWhatTheProtocolAsksFor(t *testing.T) {
	want := `{
 "model":"m","max_completion_tokens":100,"temperature":0.5,"top_p":0.9,"seed":7,"stop":["END"],"reasoning_effort":"low",
 "stream":true,"stream_options":{"include_usage":true},"top_k":5,"provider":{"order":["x"]},"tool_choice":"required",
 "tools":[
  {"type":"function","function":{"name":"weather","description":"Tells the weather","parameters":{"type":"object","properties":{"z":{"type":"string"},"a":{"type":"integer"}}}}},
  {"type":"function","function":{"name":"time","parameters":{"type":"object","properties":{}}}}],
 "messages":[
  {"role":"system","content":"Be brief."},
  {"role":"user","content":"Weather & time?"},
  {"role":"assistant","content":"Let me look.","reasoning_content":"Think.","tool_calls":[
   {"id":"call_a","type":"function","function":{"name":"weather","arguments":"{\"city\":\"Łódź\"}"},"extra_content":{"google":{"thought_signature":"s"}}},
   {"id":"call_b","type":"function","function":{"name":"time","arguments":"{}"}}]},
  {"role":"tool","tool_call_id":"call_a","content":"sunny"},
  {"role":"tool","tool_call_id":"call_b","content":"noon"},
  {"role":"assistant","content":null,"refusal":"No."}]}`
	got := body(t, Config{}, everything())
	if normal(t, got) != normal(t, want) {
		t.Errorf("asked\n%s\nwant\n%s", normal(t, got), normal(t, want))
	}
	if !strings.Contains(got, `{"z":{"type":"string"},"a":`) {
		t.Errorf("the properties of a schema have lost their order: %s", got)
	}
	if again := body(t, Config{}, everything()); again != got {
		t.Errorf("the same request differs from time to time:\n%s\n%s", got, again)
	}
}

func normal(t *testing.T, s string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatalf("%v: %s", err, s)
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

func TestTheRequestToOtherHosts(t *testing.T) {
	other := everything()
	choice := everything()
	choice.Parameters.ToolChoice = "weather"
	bare := llm.Request{Model: "m", Whole: true, Messages: []events.Message{user("Hi")}, Parameters: events.Parameters{ToolChoice: "auto"}}
	added := bare
	added.Parameters.Extra = map[string]json.RawMessage{"top_k": json.RawMessage("5")}
	cases := []struct {
		name      string
		config    Config
		req       llm.Request
		has, lack string
	}{
		{"a compatible host gets max_tokens", Config{Name: "x", BaseURL: "http://localhost/v1"}, other, `"max_tokens":100`, "max_completion_tokens"},
		{"Azure gets max_completion_tokens", Config{Name: "x", BaseURL: "https://r.openai.azure.com/openai/v1"}, other, `"max_completion_tokens":100`, `"max_tokens"`},
		{"what one provider carries does not reach another", Config{Name: "x"}, other, `"content":"Let me look."`, "reasoning_content"},
		{"nor its signatures", Config{Name: "x"}, other, "", "thought_signature"},
		{"nor its ids, which another may refuse", Config{Name: "x"}, other, "", "call_a"},
		{"a refusal reaches another provider as text", Config{Name: "x"}, other, `"content":"No."`, `"refusal"`},
		{"a tool can be demanded by name", Config{}, choice, `"tool_choice":{"function":{"name":"weather"},"type":"function"}`, ""},
		{"without tools there is no choice of them", Config{}, bare, `"messages":[`, "tool_choice"},
		{"a whole answer has no stream options", Config{}, bare, `"stream":false`, "stream_options"},
		{"extra fields are added", Config{}, added, `"top_k":5`, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := body(t, c.config, c.req)
			if !strings.Contains(got, c.has) || c.lack != "" && strings.Contains(got, c.lack) {
				t.Errorf("asked %s; want %q and not %q", got, c.has, c.lack)
			}
		})
	}
}

func TestWhatCannotBeAskedIsAnError(t *testing.T) {
	orphan := llm.Request{Model: "m", Messages: []events.Message{resultOf("1", "x")}}
	twice := llm.Request{Model: "m", Messages: []events.Message{
		answer("openai", events.Part{Kind: events.PartCall, Call: "1", ProviderID: "a", Name: "f"}), resultOf("1", "x"), resultOf("1", "x")}}
	role := llm.Request{Model: "m", Messages: []events.Message{{Role: "judge"}}}
	extra := llm.Request{Model: "m", Parameters: events.Parameters{Extra: map[string]json.RawMessage{"k": json.RawMessage("{")}}}
	for _, c := range []struct {
		name string
		req  llm.Request
		says string
	}{
		{"a result without a call", orphan, `call "1"`},
		{"a second result of a call", twice, `message 2`},
		{"an unknown role", role, "judge"},
		{"an extra field that is no JSON", extra, `"k"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if raw, err := New(Config{}).body(c.req); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error is %v, request %s", err, raw)
			}
			if e := collect(t, New(Config{}).Stream(t.Context(), c.req)).End.Error; e == nil || e.Class != events.ErrInvalidRequest {
				t.Errorf("the stream ends with %v", e)
			}
		})
	}
}

// TestTheCacheKeyIsOnlyForOpenAI: other hosts may refuse the field. One that Settings
// allow wins.
func TestTheCacheKeyIsOnlyForOpenAI(t *testing.T) {
	req := llm.Request{Model: "m", Messages: []events.Message{user("hi")}, CacheKey: "conversation"}
	const field = `"prompt_cache_key":"conversation"`
	if got := body(t, Config{}, req); !strings.Contains(got, field) {
		t.Errorf("OpenAI gets %s", got)
	}
	if got := body(t, Config{BaseURL: "https://llm.example/v1"}, req); strings.Contains(got, "prompt_cache_key") {
		t.Errorf("another host gets %s", got)
	}
	req.Parameters.Extra = map[string]json.RawMessage{"prompt_cache_key": json.RawMessage(`"mine"`)}
	if got := body(t, Config{}, req); strings.Contains(got, field) || !strings.Contains(got, `"prompt_cache_key":"mine"`) {
		t.Errorf("OpenAI gets %s", got)
	}
}
