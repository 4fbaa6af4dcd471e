package llm_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/anthropic"
	"github.com/parleybus/parley/internal/llm/gemini"
	"github.com/parleybus/parley/internal/llm/ollama"
	"github.com/parleybus/parley/internal/llm/openai"
	"github.com/parleybus/parley/internal/llm/openairesponses"
)

// host is a provider that refuses tools by its own rules and answers with "hi"
// in the wire format of the path asked.
type host struct {
	refuse  func(names []string) string // "" takes the request
	offered [][]string                  // names of the tools, by request
	schemas []json.RawMessage           // of the last request
	body    string
}

func (h *host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body)
	h.body = string(raw)
	var asked struct {
		Tools []struct {
			Name        string
			InputSchema json.RawMessage `json:"input_schema"`
			Parameters  json.RawMessage
			Function    struct {
				Name       string
				Parameters json.RawMessage
			}
			Functions []struct {
				Name                 string
				ParametersJSONSchema json.RawMessage
			} `json:"functionDeclarations"`
		}
	}
	_ = json.Unmarshal(raw, &asked)
	var names []string
	h.schemas = nil
	for _, t := range asked.Tools {
		names = append(names, t.Name+t.Function.Name)
		h.schemas = append(h.schemas, slices.Concat(t.InputSchema, t.Parameters, t.Function.Parameters))
		if t.Functions != nil {
			names, h.schemas = nil, nil
		}
		for _, f := range t.Functions {
			names, h.schemas = append(names, f.Name), append(h.schemas, f.ParametersJSONSchema)
		}
	}
	h.offered = append(h.offered, names)
	if h.refuse != nil {
		if said := h.refuse(names); said != "" {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"type":"error","error":{"type":"invalid_request_error","message":%q}}`, said)
			return
		}
	}
	answer, kind := "", "text/event-stream"
	switch r.URL.Path {
	case "/v1/messages":
		for _, e := range []string{`{"type":"message_start","message":{"id":"m","content":[],"usage":{"input_tokens":1}}}`,
			`{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1}}`, `{"type":"message_stop"}`} {
			answer += "event: " + regexp.MustCompile(`"type":"(\w+)"`).FindStringSubmatch(e)[1] + "\ndata: " + e + "\n\n"
		}
	case "/v1/responses":
		answer = "data: {\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"status\":\"completed\",\"output\":[]}}\n\n"
	case "/v1beta/models/m:streamGenerateContent":
		answer = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"hi\"}]},\"finishReason\":\"STOP\"}]}\n\n"
	case "/api/chat":
		kind, answer = "application/x-ndjson", `{"message":{"role":"assistant","content":"hi"},"done":true,"done_reason":"stop"}`+"\n"
	default:
		answer = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"
	}
	w.Header().Set("Content-Type", kind)
	_, _ = io.WriteString(w, answer)
}

// adapters starts the host and returns each adapter for it.
func (h *host) adapters(t *testing.T) map[string]llm.Provider {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return map[string]llm.Provider{
		"openai":           openai.New(openai.Config{BaseURL: s.URL + "/v1", HTTPClient: s.Client()}),
		"openai-responses": openairesponses.New(openairesponses.Config{BaseURL: s.URL + "/v1", HTTPClient: s.Client()}),
		"anthropic":        anthropic.New(anthropic.Config{BaseURL: s.URL, APIKey: "k", HTTPClient: s.Client()}),
		"gemini":           gemini.New(gemini.Config{BaseURL: s.URL, HTTPClient: s.Client()}),
		"ollama":           ollama.New(ollama.Config{Host: s.URL, HTTPClient: s.Client()}),
	}
}

// end returns the end of the answer to a request.
func end(t *testing.T, p llm.Provider, req llm.Request) *events.GenerationEnded {
	t.Helper()
	for e := range p.Stream(t.Context(), req) {
		if last, ok := e.(*events.GenerationEnded); ok {
			return last
		}
	}
	t.Fatal("no end")
	return nil
}

func asking(tools ...events.ToolSpec) llm.Request {
	return llm.Request{Model: "m", Tools: tools,
		Messages: []events.Message{{Role: events.RoleUser, Parts: []events.Part{{Kind: events.PartText, Text: "hi"}}}}}
}

func tools(names ...string) []events.ToolSpec {
	var all []events.ToolSpec
	for _, name := range names {
		all = append(all, events.ToolSpec{Name: name, Server: "s", Schema: json.RawMessage(`{"type":"object","properties":{"z":{"type":"string"},"a":{"type":"string"}}}`)})
	}
	return all
}

func TestEveryAdapterLeavesOutAToolThatItsProviderCannotTake(t *testing.T) {
	for name := range (&host{}).adapters(t) {
		h := &host{}
		bad := events.ToolSpec{Name: "bad", Server: "odd", Schema: json.RawMessage(`{"type":"string"}`)}
		got := end(t, h.adapters(t)[name], asking(append(tools("good"), bad)...))
		if got.Error != nil || !slices.Equal(h.offered[0], []string{"good"}) {
			t.Errorf("%s: error %v, offered %v", name, got.Error, h.offered)
		}
		if len(got.Omitted) != 1 || got.Omitted[0].Tool != "bad" || got.Omitted[0].Server != "odd" || got.Omitted[0].Reason == "" {
			t.Errorf("%s: omitted %+v", name, got.Omitted)
		}
	}
}

func TestEveryAdapterKeepsTheOrderOfASchema(t *testing.T) {
	for name := range (&host{}).adapters(t) {
		h := &host{}
		adapted := events.ToolSpec{Name: "t", Schema: json.RawMessage(`{"type":"object","properties":{"z":{},"b":{},"a":{}},"required":["z"],"anyOf":[{"properties":{"y":{}}}]}`)}
		for _, spec := range append(tools("plain"), adapted) {
			if got := end(t, h.adapters(t)[name], asking(spec)); got.Error != nil {
				t.Fatalf("%s: %v", name, got.Error)
			}
			var properties struct{ Properties json.RawMessage }
			if err := json.Unmarshal(h.schemas[0], &properties); err != nil {
				t.Fatalf("%s: %s: %v", name, h.schemas[0], err)
			}
			want := map[string]string{"plain": "za", "t": "zbay"}[spec.Name]
			var order string
			for _, key := range regexp.MustCompile(`"([a-z])":\{`).FindAllStringSubmatch(string(properties.Properties), -1) {
				order += key[1]
			}
			if order != want {
				t.Errorf("%s: %s: the order is %q, want %q", name, spec.Name, order, want)
			}
		}
	}
}

func TestARefusedToolIsLeftOutAndTheRequestSentAgain(t *testing.T) {
	for name := range (&host{}).adapters(t) {
		h := &host{refuse: func(names []string) string {
			if i := slices.Index(names, "b"); i >= 0 {
				return fmt.Sprintf("Invalid 'tools[%d].function.parameters': nobody knows why", i)
			}
			return ""
		}}
		p := h.adapters(t)[name]
		for turn := range 2 {
			got := end(t, p, asking(tools("a", "b", "c")...))
			if got.Error != nil || len(got.Omitted) != 1 || got.Omitted[0].Tool != "b" || !strings.Contains(got.Omitted[0].Reason, "nobody knows why") {
				t.Errorf("%s: turn %d: error %v, omitted %+v", name, turn, got.Error, got.Omitted)
			}
		}
		want := [][]string{{"a", "b", "c"}, {"a", "c"}, {"a", "c"}}
		if !slices.EqualFunc(h.offered, want, slices.Equal) {
			t.Errorf("%s: requests with %v, want %v: the refusal is remembered", name, h.offered, want)
		}
	}
}

func TestARequestWithTooManyToolsIsShortened(t *testing.T) {
	h := &host{refuse: func(names []string) string {
		if len(names) > 2 {
			return fmt.Sprintf("Invalid 'tools': array too long. Expected an array with maximum length 2, but got an array with length %d instead.", len(names))
		}
		return ""
	}}
	got := end(t, h.adapters(t)["openai"], asking(tools("a", "b", "c", "d")...))
	if got.Error != nil || len(got.Omitted) != 2 || !slices.Equal(h.offered[1], []string{"a", "b"}) {
		t.Errorf("error %v, omitted %+v, requests %v", got.Error, got.Omitted, h.offered)
	}
}

func TestARequestIsSentFourTimesAtMost(t *testing.T) {
	h := &host{refuse: func(names []string) string { return fmt.Sprintf("Invalid schema for function '%s': no", names[0]) }}
	got := end(t, h.adapters(t)["openai"], asking(tools("a", "b", "c", "d", "e", "f")...))
	if got.Error == nil || len(h.offered) != 4 {
		t.Errorf("error %v after %d requests", got.Error, len(h.offered))
	}
}

func TestARefusalThatNamesNoToolIsNotSentAgain(t *testing.T) {
	h := &host{refuse: func([]string) string { return "messages.1: no" }}
	if got := end(t, h.adapters(t)["anthropic"], asking(tools("a")...)); got.Error == nil || len(h.offered) != 1 {
		t.Errorf("error %v after %d requests", got.Error, len(h.offered))
	}
}

func TestADemandedToolThatIsLeftOutIsNotDemanded(t *testing.T) {
	for name := range (&host{}).adapters(t) {
		h := &host{}
		req := asking(append(tools("good"), events.ToolSpec{Name: "bad", Schema: json.RawMessage(`[]`)})...)
		req.Parameters.ToolChoice = "bad"
		if got := end(t, h.adapters(t)[name], req); got.Error != nil || strings.Contains(h.body, "tool_choice") || strings.Contains(h.body, "toolConfig") {
			t.Errorf("%s: error %v, asked %s", name, got.Error, h.body)
		}
	}
}
