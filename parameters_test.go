package parley_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/embedded"
	"github.com/parleybus/parley/model"
)

// TestAParameterThatTheModelRefusesIsLeftOut: over each wire, in the words of its host,
// a temperature is refused once, the turn is answered without it, the log says so, and
// neither later turns nor other conversations are refused again.
func TestAParameterThatTheModelRefusesIsLeftOut(t *testing.T) {
	for wire, says := range map[string]string{
		"anthropic":        "`temperature` is deprecated for this model.",
		"openai":           "Unsupported parameter: 'temperature' is not supported with this model.",
		"compatible":       "property 'temperature' is unsupported",
		"openai-responses": "Unsupported parameter: 'temperature' is not supported with this model.",
		"ollama":           "this model does not support temperature",
		"gemini":           `Invalid JSON payload received. Unknown name "temperature" at 'generation_config': Cannot find field.`,
	} {
		t.Run(wire, func(t *testing.T) {
			w := wires(t)[wire]
			var tokens []bool // whether the requests have the bound of the answer
			check := w.host.check
			w.host.check = func(h *strict, r *http.Request, body map[string]any) string {
				raw, err := json.Marshal(body)
				if err != nil {
					t.Error(err)
				}
				tokens = append(tokens, strings.Contains(string(raw), ":777"))
				if strings.Contains(string(raw), `"temperature":`) {
					return says
				}
				return check(h, r, body)
			}
			p := embed(t, embedded.Options{Models: []model.Served{w.served}})
			say := func(conv *parley.Conversation, refused int, options ...parley.SendOption) {
				t.Helper()
				options = append(options, parley.WithModel(w.models[0]))
				if r := sendAndWait(t, conv, "hello", options...); r.Outcome != parley.OutcomeCompleted {
					t.Fatalf("the turn ended as %s: %v", r.Outcome, r.Error)
				}
				if n := len(w.host.refusals(conv.ID())); n != refused {
					t.Errorf("%d requests were refused, want %d", n, refused)
				}
			}
			one, other := p.Conversation(parley.NewID()), p.Conversation(parley.NewID())
			given := parley.WithParameters(parley.Parameters{Temperature: new(0.2), MaxTokens: 777})
			say(one, 1, parley.WithSystem("Conversation "+one.ID()+"."), given)
			say(one, 0)
			say(other, 0, parley.WithSystem("Conversation "+other.ID()+"."), parley.WithParameters(parley.Parameters{Temperature: new(0.7), MaxTokens: 777}))
			if slices.Contains(tokens, false) || len(tokens) != 4 {
				t.Errorf("requests with the other parameter: %v", tokens)
			}
			for e, err := range one.Events(t.Context(), parley.From{NoFollow: true}) {
				if err != nil {
					t.Fatal(err)
				}
				end, is := e.Body.(*parley.GenerationEnded)
				if is && (len(end.OmittedParameters) != 1 || end.OmittedParameters[0].Parameter != "temperature" || !strings.Contains(end.OmittedParameters[0].Reason, says)) {
					t.Errorf("the log does not say what was left out: %+v", end)
				}
			}
		})
	}
}
