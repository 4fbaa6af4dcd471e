package openairesponses

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/recording"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve returns a provider of a server that answers with the given handler.
func serve(t *testing.T, handler http.HandlerFunc) *Provider {
	t.Helper()
	server := httptest.NewServer(handler)
	client := server.Client()
	t.Cleanup(func() {
		client.CloseIdleConnections()
		server.Close()
	})
	return New(Config{APIKey: "key", BaseURL: server.URL + "/v1", HTTPClient: client})
}

func answerWith(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Retry-After", "2")
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func TestStreamSendsTheWholeHistory(t *testing.T) {
	golden, err := os.ReadFile("testdata/request.json")
	if err != nil {
		t.Fatal(err)
	}
	var body []byte
	var header http.Header
	var path string
	p := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		header, path = r.Header, r.Method+" "+r.URL.Path
		answerWith(200, "text/event-stream", sse(textHi, completed))(w, r)
	})
	check(t, recording.Collect(p.Stream(t.Context(), everything(p.Name()))), answered{text: "Hi", finish: events.FinishStop, word: "completed"})
	var got bytes.Buffer
	if err := json.Indent(&got, body, "", "\t"); err != nil {
		t.Fatal(err)
	}
	if got.String() != strings.TrimSpace(string(golden)) {
		t.Errorf("the request is\n%s\nwant testdata/request.json", got.String())
	}
	if path != "POST /v1/responses" || header.Get("Authorization") != "Bearer key" || header.Get("Accept") != "text/event-stream" {
		t.Errorf("%s with %v", path, header)
	}
}

// everything has all that a transcript may hold; two calls have the same id.
func everything(provider string) llm.Request {
	text := func(s string) events.Part { return events.Part{Kind: events.PartText, Text: s} }
	callOf := func(id, provider, name, args string) events.Part {
		return events.Part{Kind: events.PartCall, Call: id, ProviderID: provider, Name: name, Arguments: args}
	}
	resultOf := func(id, provider string, status events.Status, s string) events.Message {
		return events.Message{Role: events.RoleTool, Parts: []events.Part{{Kind: events.PartResult, Call: id, ProviderID: provider, Status: status, Text: s}}}
	}
	thought := events.Part{Kind: events.PartReasoning, Text: "B", Summary: true,
		Carry: json.RawMessage(`{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"A"},{"type":"summary_text","text":"B"}],"encrypted_content":"xyz"}`)}
	custom := callOf("c-4", "ct_1", "sql", "SELECT 1")
	custom.Custom = true
	temperature := 0.5
	return llm.Request{
		Model: "gpt-9", System: "Be brief.",
		Messages: []events.Message{
			{Role: events.RoleUser, Parts: []events.Part{text("Add."), text("Now.")}},
			{Role: events.RoleAssistant, Provider: provider, Parts: []events.Part{
				{Kind: events.PartReasoning, Text: "A", Summary: true}, thought, text("I will."),
				{Kind: events.PartReasoning, Carry: json.RawMessage(`{"type":"message","phase":"commentary"}`)},
				callOf("c-1", "call_0", "add", `{"x":1}`), callOf("c-2", "", "ping", "")}},
			resultOf("c-1", "call_0", events.StatusOK, "2"),
			resultOf("c-2", "", events.StatusFailed, "no route"),
			{Role: events.RoleAssistant, Provider: "other", Parts: []events.Part{thought, callOf("c-3", "call_0", "add", `{"x":`), custom}},
			resultOf("c-3", "call_0", events.StatusInvalidArguments, ""),
			resultOf("c-4", "ct_1", events.StatusRefused, "because"),
			{Role: events.RoleAssistant, Provider: provider, Parts: []events.Part{{Kind: events.PartRefusal, Text: "No."}, thought}},
			{Role: events.RoleUser, Parts: []events.Part{text("Go on.")}},
		},
		Tools: []events.ToolSpec{
			{Name: "add", Description: "Adds.", Schema: json.RawMessage(`{"type":"object","properties":{"x":{"type":"number","maximum":12345678901234567890}},"required":["x"]}`)},
			{Name: "ping"},
		},
		Parameters: events.Parameters{MaxTokens: 100, Temperature: &temperature, ReasoningEffort: "low", ToolChoice: "add",
			Extra: map[string]json.RawMessage{"service_tier": json.RawMessage(`"flex"`)}},
	}
}

func TestCallsWithoutIDsOfTheirOwnGetDifferentOnes(t *testing.T) {
	long := strings.Repeat("x", 100)
	p := New(Config{})
	items := p.input(llm.Request{Messages: []events.Message{{Role: events.RoleAssistant, Provider: p.name, Parts: []events.Part{
		{Kind: events.PartCall, Name: "a"}, {Kind: events.PartCall, Name: "b"},
		{Kind: events.PartCall, Name: "c", ProviderID: long, Call: long}, {Kind: events.PartCall, Name: "d", ProviderID: "call_n0"},
	}}}})
	seen := map[string]bool{}
	for _, item := range items {
		id := item.OfFunctionCall.CallID
		if seen[id] || id == "" || len(id) > maxID {
			t.Errorf("id %q is used twice, empty or too long", id)
		}
		seen[id] = true
	}
	if len(items) != 4 {
		t.Errorf("%d items", len(items))
	}
}

func TestWhatIsCarriedComesBackAsItWas(t *testing.T) {
	body := sse(`{"type":"response.output_item.done","output_index":0,"item":{"type":"reasoning","id":"rs_1","status":"completed","summary":[{"type":"summary_text","text":"A"},{"type":"summary_text","text":"B"}],"encrypted_content":"xyz"}}`,
		`{"type":"response.output_item.done","output_index":1,"item":{"type":"message","phase":"final_answer","content":[{"type":"output_text","text":"Hi"}]}}`, completed)
	m := events.Message{Role: events.RoleAssistant, Provider: "openai-responses"}
	for e, err := range Decode(strings.NewReader(body)) {
		if err != nil {
			t.Fatal(err)
		}
		switch e := e.(type) {
		case *events.TextChunk:
			m.Parts = append(m.Parts, events.Part{Kind: events.PartText, Text: e.Text})
		case *events.ReasoningChunk:
			m.Parts = append(m.Parts, events.Part{Kind: events.PartReasoning, Text: e.Text, Summary: e.Summary, Carry: e.Carry})
		}
	}
	raw, err := json.Marshal(New(Config{}).input(llm.Request{Messages: []events.Message{m}}))
	const want = `[{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"A"},{"type":"summary_text","text":"B"}],"encrypted_content":"xyz"},{"content":"Hi","role":"assistant","phase":"final_answer"}]`
	if err != nil || string(raw) != want {
		t.Errorf("the items are\n%s with error %v, want\n%s", raw, err, want)
	}
}

func TestStreamTakesNothingFromTheEnvironment(t *testing.T) {
	for _, name := range []string{"OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"} {
		t.Setenv(name, "leak")
	}
	t.Setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/leak")
	t.Setenv("OPENAI_CUSTOM_HEADERS", "X-Leak: leak")
	p := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for name, values := range r.Header {
			if strings.Contains(strings.Join(values, " "), "leak") {
				t.Errorf("header %s is sent", name)
			}
		}
		answerWith(200, "text/event-stream", sse(textHi, completed))(w, r)
	})
	check(t, recording.Collect(p.Stream(t.Context(), llm.Request{Model: "m"})), answered{text: "Hi", finish: events.FinishStop, word: "completed"})
}

func TestARequestThatCannotBeMadeIsNotSent(t *testing.T) {
	cases := []struct {
		name    string
		base    string
		req     llm.Request
		class   events.ErrorClass
		message string
	}{
		{"a base URL that is no URL is reported", "http://[", llm.Request{}, events.ErrInvalidRequest, "base URL"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := recording.Collect(New(Config{BaseURL: c.base}).Stream(t.Context(), c.req))
			check(t, got, answered{finish: events.FinishError, class: c.class, message: c.message, cut: true})
		})
	}
}

func TestEncryptedReasoningIsAskedOfModelsThatReason(t *testing.T) {
	for model, want := range map[string]bool{"gpt-5.4": true, "o3": true, "grok-4.3": true, "qwen/gpt-oss-20b": true,
		"gpt-4o-mini": false, "openai/gpt-4.1": false, "gpt-5-chat-latest": false, "gpt-3.5-turbo": false} {
		if reasons(model) != want {
			t.Errorf("%s: %v", model, !want)
		}
	}
}

func TestTheCacheKeyIsOnlyForOpenAI(t *testing.T) {
	for base, want := range map[string]bool{"": true, "https://llm.example/v1": false} {
		params, err := New(Config{BaseURL: base}).params(llm.Request{Model: "m", CacheKey: "conversation"})
		if err != nil {
			t.Fatal(err)
		}
		if got := params.PromptCacheKey.Value == "conversation"; got != want {
			t.Errorf("%q gets the key: %v", base, got)
		}
	}
}
