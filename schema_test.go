package parley_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/embedded"
	"github.com/parleybus/parley/model"
)

const totalSchema = `{"type":"object","properties":{"why":{"type":"string"},"total":{"type":"number"}},"required":["why","total"],"additionalProperties":false}`

const totalAnswer = `{"why":"1 + 2","total":3}`

// structured makes a host answer in the way in which it is asked for an answer that fits
// a schema: by its own mode, if it takes it, or by a call of the tool for answers.
type structured struct {
	own, tools int // requests of each kind that were answered
}

func (s *structured) serve(t *testing.T, h *strict, field, refusal string) {
	check, write := h.check, h.write
	own, tool := false, false
	h.check = func(h *strict, r *http.Request, body map[string]any) string {
		raw, err := json.Marshal(body)
		if err != nil {
			t.Error(err)
		}
		own, tool = strings.Contains(string(raw), field), strings.Contains(string(raw), `"final_answer"`)
		if own && refusal != "" {
			return refusal
		}
		return check(h, r, body)
	}
	h.write = func(w http.ResponseWriter, a strictAnswer) {
		switch {
		case own:
			s.own++
			a.text = totalAnswer
		case tool:
			s.tools++
			a.text, a.calls = "", []strictCall{{"call9", "final_answer", totalAnswer}}
		}
		write(w, a)
	}
}

// TestAnswersFitASchemaOverEachWire: by the provider's own mode, and by a tool where the
// model refuses that, once.
func TestAnswersFitASchemaOverEachWire(t *testing.T) {
	for _, c := range []struct{ wire, field, refusal string }{
		{"anthropic", `"format":{"schema":`, "output_config.format: Extra inputs are not permitted"},
		{"openai", `"response_format":{"json_schema":{"name":"answer"`, "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model."},
		{"compatible", `"response_format":{"json_schema":{"name":"answer"`, "This response_format type is unavailable now"},
		{"openai-responses", `"text":{"format":{"name":"answer"`, "Unsupported parameter: 'text.format' of type 'json_schema' is not supported with this model."},
		{"ollama", `"format":{"additionalProperties"`, "invalid JSON schema in format"},
		{"gemini", `"responseJsonSchema":{`, "Function calling with a response mime type: 'application/json' is unsupported"},
	} {
		for _, refusal := range []string{"", c.refusal} {
			name := c.wire
			if refusal != "" {
				name += " refuses"
			}
			t.Run(name, func(t *testing.T) {
				w := wires(t)[c.wire]
				var host structured
				host.serve(t, w.host, c.field, refusal)
				p := embed(t, embedded.Options{Models: []model.Served{w.served}})
				conv := p.Conversation(parley.NewID())
				options := []parley.SendOption{parley.WithModel(w.models[0]), parley.WithSystem("Conversation " + conv.ID() + "."), parley.WithSchema(json.RawMessage(totalSchema))}
				for turn := range 2 {
					r := sendAndWait(t, conv, "what is the total?", options...)
					if r.Outcome != parley.OutcomeCompleted || r.Text != totalAnswer {
						t.Fatalf("the turn ended as %s with %q: %v", r.Outcome, r.Text, r.Error)
					}
					want := 0
					if turn == 0 && refusal != "" || turn == 1 && refusal != "" && c.wire == "anthropic" {
						want = 1 // of Claude's second turn the forced call, which excludes thinking
					}
					if n := w.host.refusals(conv.ID()); len(n) != want {
						t.Errorf("turn %d was refused %q", turn+1, n)
					}
				}
				if refusal == "" && (host.own != 2 || host.tools != 0) || refusal != "" && (host.own != 0 || host.tools != 2) {
					t.Errorf("%d requests by the own mode, %d by the tool", host.own, host.tools)
				}
				told := 0
				for e, err := range conv.Events(t.Context(), parley.From{NoFollow: true}) {
					if err != nil {
						t.Fatal(err)
					}
					switch e := e.Body.(type) {
					case *parley.AnswerRejected:
						t.Errorf("rejected: %s", e.Error)
					case *parley.ToolCallStart:
						t.Errorf("the log has the call %s", e.Name)
					case *parley.GenerationEnded:
						for _, o := range e.OmittedParameters {
							if o.Parameter == "answer_schema" && strings.Contains(o.Reason, refusal) {
								told++
							}
						}
					}
				}
				if told > 0 != (refusal != "") {
					t.Errorf("the log tells of the refusal %d times", told)
				}
			})
		}
	}
}
