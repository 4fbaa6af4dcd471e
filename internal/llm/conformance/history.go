package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

// number does not fit a float64.
const number = "12345678901234567890"

// history is a conversation in which a model, of this provider or of another,
// once wrote arguments that are not JSON.
func history(writer string) (req llm.Request, inOrder []string) {
	message := func(role events.Role, parts ...events.Part) events.Message {
		return events.Message{Role: role, Parts: parts}
	}
	text := func(s string) events.Part { return events.Part{Kind: events.PartText, Text: s} }
	call := func(id, arguments string) events.Part {
		return events.Part{Kind: events.PartCall, Call: id, ProviderID: "call_0", Name: Tool, Arguments: arguments}
	}
	result := func(id string, status events.Status, s string) events.Part {
		return events.Part{Kind: events.PartResult, Call: id, ProviderID: "call_0", Name: Tool, Status: status, Text: s}
	}
	failed := result("id-2", events.StatusInvalidArguments, "second result")
	req = llm.Request{Model: "m", System: "the system prompt",
		Messages: []events.Message{
			message(events.RoleUser, text("first question")),
			message(events.RoleAssistant, text("first answer"), call("id-1", `{"a":`+number+`}`), call("id-2", `{"a":`)),
			message(events.RoleTool, result("id-1", events.StatusOK, "first result")),
			message(events.RoleTool, failed),
			message(events.RoleAssistant, call("id-3", "")),
			message(events.RoleTool, result("id-3", events.StatusOK, "third result")),
			message(events.RoleAssistant, text("last answer")),
			message(events.RoleUser, text("last question")),
		},
		Tools: []events.ToolSpec{{Name: Tool, Description: "what the tool does", Schema: json.RawMessage(`{"type":"object","properties":{"a":{"type":"number","maximum":` + number + `}}}`)}},
	}
	for i := range req.Messages {
		if req.Messages[i].Role == events.RoleAssistant {
			req.Messages[i].Provider = writer
		}
	}
	return req, []string{"first question", "first answer", "first result", llm.ResultText(failed), "third result", "last answer", "last question"}
}

func (c Case) request(t *testing.T) {
	name := c.New("http://127.0.0.1:1", nil).Name()
	for _, h := range []struct{ name, writer string }{
		{"a history of its own is sent whole, in order and valid", name},
		{"a history of another provider is sent whole, in order and valid", "another"},
	} {
		t.Run(h.name, func(t *testing.T) {
			p, s := c.start(t, c.calls())
			req, inOrder := history(h.writer)
			checkContent(t, read(t, p.Stream(t.Context(), req)))
			body := s.last(t)
			if model, stream := s.asked(t, c); model != "m" || !stream {
				t.Errorf("model is %v, stream is %v", model, stream)
			}
			all := texts(t, s.raw(t))
			rest := all
			for _, want := range inOrder {
				i := slices.Index(rest, want)
				if i < 0 {
					t.Fatalf("%q is missing or in another place: %s", want, s.raw(t))
				}
				rest = rest[i+1:]
			}
			for _, want := range []string{"the system prompt", Tool, "what the tool does"} {
				if !slices.Contains(all, want) {
					t.Errorf("%q is missing: %s", want, s.raw(t))
				}
			}
			if n := bytes.Count(s.raw(t), []byte(number)); n != 2 {
				t.Errorf("the large number occurs %d times, want in a call and in a schema: %s", n, s.raw(t))
			}
			if n := checkArguments(t, body); n != 3 {
				t.Errorf("%d calls are sent, want 3: %s", n, s.raw(t))
			}
		})
	}
}

// texts returns all strings of a JSON document in order, keys included.
func texts(t *testing.T, raw []byte) []string {
	t.Helper()
	var all []string
	for dec := json.NewDecoder(bytes.NewReader(raw)); ; {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("the request is no JSON: %v: %s", err, raw)
		}
		if s, ok := token.(string); ok {
			all = append(all, s)
		}
	}
}

// checkArguments finds the calls of a request, in any protocol, and checks that
// their arguments are a JSON object, or a string with one: a server that parses
// them would refuse the whole history.
func checkArguments(t *testing.T, v any) int {
	t.Helper()
	n := 0
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			n += checkArguments(t, e)
		}
	case map[string]any:
		for key, e := range v {
			if key != "arguments" && key != "args" && (key != "input" || v["type"] != "tool_use") {
				n += checkArguments(t, e)
				continue
			}
			n++
			if text, ok := e.(string); ok {
				if json.Unmarshal([]byte(text), &e) != nil {
					t.Errorf("the arguments %s are no JSON", text)
				}
			}
			if _, ok := e.(map[string]any); !ok {
				t.Errorf("the arguments %v are no object", e)
			}
		}
	}
	return n
}
