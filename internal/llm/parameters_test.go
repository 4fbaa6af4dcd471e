package llm_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

func all() events.Parameters {
	t, p, s := 0.2, 0.9, int64(7)
	return events.Parameters{MaxTokens: 9000, Temperature: &t, TopP: &p, Seed: &s, Stop: []string{"END"}, ReasoningEffort: "minimal", ToolChoice: "required"}
}

// left lists the parameters that a request has.
func left(q events.Parameters) string {
	var have []string
	for name, has := range map[string]bool{"max_tokens": q.MaxTokens > 0, "temperature": q.Temperature != nil, "top_p": q.TopP != nil, "seed": q.Seed != nil,
		"stop": len(q.Stop) > 0, "reasoning_effort": q.ReasoningEffort != "", "tool_choice": q.ToolChoice != ""} {
		if has {
			have = append(have, name)
		}
	}
	slices.Sort(have)
	return strings.Join(have, " ")
}

// TestARefusedParameterIsLeftOut: the bodies of refusals of real hosts, all with status
// 400 or 422, the parameter that they refuse, and whether they refuse every value of it.
func TestARefusedParameterIsLeftOut(t *testing.T) {
	for _, c := range []struct {
		host, body, parameter string
		anyValue              bool
	}{
		{"OpenAI", `{"error":{"message":"Unsupported parameter: 'temperature' is not supported with this model.","type":"invalid_request_error","param":"temperature","code":"unsupported_parameter"}}`, "temperature", true},
		{"OpenAI, the field only in param", `{"error":{"message":"Unsupported value","type":"invalid_request_error","param":"temperature","code":"unsupported_value"}}`, "temperature", false},
		{"OpenAI, only the default", `{"error":{"message":"Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value is supported.","type":"invalid_request_error","param":"temperature","code":"unsupported_value"}}`, "temperature", true},
		{"OpenAI, an effort", `{"error":{"message":"Unsupported value: 'reasoning_effort' does not support 'minimal' with this model. Supported values are: 'low', 'medium', and 'high'.","type":"invalid_request_error","param":"reasoning_effort","code":"unsupported_value"}}`, "reasoning_effort", false},
		{"OpenAI Responses", `{"error":{"message":"Unsupported parameter: 'reasoning.effort' is not supported with this model.","type":"invalid_request_error","param":"reasoning.effort","code":"unsupported_parameter"}}`, "reasoning_effort", true},
		{"OpenAI, older models", `{"error":{"message":"Unrecognized request argument supplied: reasoning_effort","type":"invalid_request_error","param":null,"code":null}}`, "reasoning_effort", true},
		{"OpenAI, too large", `{"error":{"message":"max_tokens is too large: 9000. This model supports at most 4096 completion tokens, whereas you provided 9000.","type":"invalid_request_error","param":"max_tokens","code":"invalid_value"}}`, "max_tokens", false},
		{"OpenAI, out of range", `{"error":{"message":"Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 3 instead.","type":"invalid_request_error","param":"temperature","code":"decimal_above_max_value"}}`, "temperature", false},
		{"OpenAI, stop", `{"error":{"message":"Unsupported parameter: 'stop' is not supported with this model.","param":"stop","code":"unsupported_parameter"}}`, "stop", true},
		{"Anthropic, deprecated", "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"`temperature` is deprecated for this model.\"}}", "temperature", true},
		{"Anthropic, not known", `{"type":"error","error":{"type":"invalid_request_error","message":"output_config: Extra inputs are not permitted"}}`, "reasoning_effort", true},
		{"Anthropic, an effort", `{"type":"error","error":{"type":"invalid_request_error","message":"This model does not support the effort parameter."}}`, "reasoning_effort", true},
		{"Anthropic, both", "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"`temperature` and `top_p` cannot both be specified for this model. Please use only one.\"}}", "top_p", false},
		{"Anthropic, too large", `{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: 9000 > 4096, which is the maximum allowed number of output tokens for claude-3-haiku-20240307"}}`, "max_tokens", false},
		{"Anthropic, adaptive", `{"type":"error","error":{"type":"invalid_request_error","message":"adaptive thinking is not supported on this model"}}`, "reasoning_effort", true},
		{"Anthropic, forced calls", `{"type":"error","error":{"type":"invalid_request_error","message":"Thinking may not be enabled when tool_choice forces tool use."}}`, "reasoning_effort", false},
		{"Gemini, range", `{"error":{"code":400,"message":"Unable to submit request because it has a maxOutputTokens value of 9000 but the supported range is from 1 (inclusive) to 8193 (exclusive). Update the value and try again.","status":"INVALID_ARGUMENT"}}`, "max_tokens", false},
		{"Gemini, thinking level", `{"error":{"code":400,"message":"Thinking level is not supported for this model.","status":"INVALID_ARGUMENT"}}`, "reasoning_effort", true},
		{"Gemini, unknown field", `{"error":{"code":400,"message":"Invalid JSON payload received. Unknown name \"thinkingConfig\" at 'generation_config': Cannot find field.","status":"INVALID_ARGUMENT"}}`, "reasoning_effort", true},
		{"Gemini, topP", `{"error":{"code":400,"message":"Unable to submit request because it has a topP value of 0.9 but the supported range is from 0 (inclusive) to 0.5 (inclusive).","status":"INVALID_ARGUMENT"}}`, "top_p", false},
		{"Groq, not supported", "{\"error\":{\"message\":\"`reasoning_effort` is not supported with this model\",\"type\":\"invalid_request_error\"}}", "reasoning_effort", true},
		{"Groq, a value", "{\"error\":{\"message\":\"`reasoning_effort` must be one of `none` or `default`\",\"type\":\"invalid_request_error\"}}", "reasoning_effort", false},
		{"Groq, a property", `{"error":{"message":"property 'seed' is unsupported","type":"invalid_request_error"}}`, "seed", true},
		{"Groq, tokens", "{\"error\":{\"message\":\"`max_tokens` must be less than or equal to `8192`\",\"type\":\"invalid_request_error\"}}", "max_tokens", false},
		{"Ollama, thinking", `{"error":"\"llama3.2\" does not support thinking"}`, "reasoning_effort", true},
		{"Ollama, a level", `{"error":"invalid think value: \"minimal\" (must be \"high\", \"medium\", \"low\", true, or false)"}`, "reasoning_effort", false},
		{"Mistral", `{"detail":[{"type":"extra_forbidden","loc":["body","reasoning_effort"],"msg":"Extra inputs are not permitted","input":"minimal"}]}`, "reasoning_effort", true},
		{"xAI, effort", `{"code":"Client specified an invalid argument","error":"Model grok-4 does not support parameter reasoningEffort."}`, "reasoning_effort", true},
		{"xAI, stop", `{"code":"Client specified an invalid argument","error":"Argument not supported on this model: stop"}`, "stop", true},
		{"DeepSeek", `{"error":{"message":"Invalid max_tokens value, the valid range of max_tokens is [1, 8192]","type":"invalid_request_error","code":"invalid_request_error"}}`, "max_tokens", false},
		{"Together", `{"error":{"message":"Extra inputs are not permitted, field: 'reasoning_effort', value: 'minimal'","type":"invalid_request_error"}}`, "reasoning_effort", true},
		{"LiteLLM", `{"error":{"message":"litellm.UnsupportedParamsError: groq does not support parameters: ['reasoning_effort'], for model=x","type":"None","param":null,"code":"400"}}`, "reasoning_effort", true},
		{"LiteLLM, a value", `{"error":{"message":"gpt-5 models (including gpt-5-codex) don't support temperature=0.2. Only temperature=1 is supported.","code":"400"}}`, "temperature", false},
		{"Bedrock", `{"message":"Malformed input request: extraneous key [temperature] is not permitted, please reformat your input and try again."}`, "temperature", true},
		{"Cohere", `{"message":"invalid request: temperature must be between 0 and 0.1 inclusive."}`, "temperature", false},
		{"vLLM, a forced call", `{"object":"error","message":"tool_choice=\"required\" is not supported","type":"BadRequestError","code":400}`, "tool_choice", true},
	} {
		t.Run(c.host, func(t *testing.T) {
			var asked []string
			refusal := llm.FromHTTP(400, nil, []byte(c.body))
			p := llm.Lenient(provider{answer: func(_ context.Context, req llm.Request, yield func(events.Event, error) bool) {
				asked = append(asked, left(req.Parameters))
				w := llm.NewWriter(yield)
				if strings.Contains(left(req.Parameters), c.parameter) {
					w.End(events.GenerationEnded{Error: refusal})
					return
				}
				w.Text("0", "hi")
				w.End(events.GenerationEnded{Terminated: true})
			}})
			requests := 1
			req := llm.Request{Model: "m", Parameters: all(), Again: func() bool { requests++; return true }}
			full := left(all())
			without := strings.Join(slices.DeleteFunc(strings.Fields(full), func(f string) bool { return f == c.parameter }), " ")
			got := read(t, p.Stream(t.Context(), req))
			if got.end.Error != nil || requests != 2 || len(got.end.OmittedParameters) != 1 || got.end.OmittedParameters[0].Parameter != c.parameter ||
				!strings.Contains(got.end.OmittedParameters[0].Reason, "refuses it: HTTP 400: ") {
				t.Errorf("after %d requests the end is %+v", requests, got.end)
			}
			got = read(t, p.Stream(t.Context(), req)) // it is remembered
			if got.end.Error != nil || len(got.end.OmittedParameters) != 1 || !slices.Equal(asked, []string{full, without, without}) {
				t.Fatalf("the second time the end is %+v, and all requests have %q", got.end, asked)
			}
			other := req
			other.Model = "other"
			read(t, p.Stream(t.Context(), other))
			if asked[3] != full {
				t.Errorf("another model is asked with %q", asked[3])
			}
			changed := req
			changed.Parameters = events.Parameters{MaxTokens: 5, Temperature: new(1.0), TopP: new(0.1), Seed: new(int64(1)), Stop: []string{"x"}, ReasoningEffort: "low", ToolChoice: "auto"}
			asked = nil
			read(t, p.Stream(t.Context(), changed))
			if remembered := asked[0] == without; remembered != c.anyValue {
				t.Errorf("with other values it is asked with %q", asked[0])
			}
		})
	}
}

// TestOtherRefusalsKeepTheParameters: what is not about a parameter is no reason to
// change the request.
func TestOtherRefusalsKeepTheParameters(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
	}{
		{400, `{"error":{"message":"Invalid schema for function 'weather': In context=('properties', 'temperature'), array schema missing items.","param":"tools[0].function.parameters","code":"invalid_function_parameters"}}`},
		{400, `{"type":"error","error":{"type":"invalid_request_error","message":"tools.0.custom.input_schema: property temperature is not permitted"}}`},
		{400, "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `text`. When `thinking` is enabled, a final `assistant` message must start with a thinking block.\"}}"},
		{400, `{"error":{"message":"Invalid value for 'content': expected a string, got null.","param":"messages.[1].content"}}`},
		{400, `{"error":{"message":"The model produced output that did not stop at a valid place: invalid seeds of doubt"}}`},
		{400, "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"input length and `max_tokens` exceed context limit: 190000 + 21333 > 200000, decrease input length or `max_tokens` and try again\"}}"},
		{429, `{"error":{"message":"temperature is not supported","code":"unsupported_parameter"}}`},
		{401, `{"error":{"message":"max_tokens must be paid for"}}`},
		{400, `{"error":{"message":"Your temperature and seed are fine."}}`},
	} {
		asked := 0
		refusal := llm.FromHTTP(c.status, nil, []byte(c.body))
		p := llm.Lenient(provider{answer: func(_ context.Context, _ llm.Request, yield func(events.Event, error) bool) {
			asked++
			llm.NewWriter(yield).End(events.GenerationEnded{Error: refusal})
		}})
		got := read(t, p.Stream(t.Context(), llm.Request{Model: "m", Parameters: all()}))
		if asked != 1 || got.end.Error == nil || got.end.OmittedParameters != nil {
			t.Errorf("%s: %d requests, %+v", c.body, asked, got.end)
		}
	}
}

// TestARefusedParameterIsWithinTheBudget: refusals of one parameter after the other end
// with the budget, and what they taught is kept.
func TestARefusedParameterIsWithinTheBudget(t *testing.T) {
	order := []string{"seed", "top_p", "temperature", "stop", "max_tokens", "tool_choice"}
	asked := 0
	p := llm.Lenient(provider{answer: func(_ context.Context, req llm.Request, yield func(events.Event, error) bool) {
		asked++
		w := llm.NewWriter(yield)
		for _, name := range order {
			if slices.Contains(strings.Fields(left(req.Parameters)), name) {
				w.End(events.GenerationEnded{Error: llm.FromHTTP(400, nil, fmt.Appendf(nil, `{"error":{"message":"Unknown parameter: '%s'.","code":"unknown_parameter"}}`, name))})
				return
			}
		}
		w.Text("0", "hi")
		w.End(events.GenerationEnded{Terminated: true})
	}})
	got := read(t, p.Stream(t.Context(), llm.Request{Model: "m", Parameters: all()}))
	if asked != llm.MostRequests || got.end.Error == nil {
		t.Fatalf("%d requests, then %+v", asked, got.end)
	}
	got = read(t, p.Stream(t.Context(), llm.Request{Model: "m", Parameters: all()}))
	if asked != llm.MostRequests+3 || got.end.Error != nil || len(got.end.OmittedParameters) != len(order) {
		t.Errorf("%d requests, then %+v", asked, got.end)
	}
	asked = 0
	budget := 1
	spent := llm.Request{Model: "n", Parameters: all(), Again: func() bool { budget--; return budget >= 0 }}
	if read(t, p.Stream(t.Context(), spent)); asked != 2 {
		t.Errorf("%d requests with a budget of one more", asked)
	}
}

// TestMaxTokensHasAnotherName: the bound of the answer is kept where only its name is
// refused.
func TestMaxTokensHasAnotherName(t *testing.T) {
	var asked []bool
	p := llm.Lenient(provider{answer: func(_ context.Context, req llm.Request, yield func(events.Event, error) bool) {
		asked = append(asked, req.CompletionTokens && req.Parameters.MaxTokens == 9000)
		w := llm.NewWriter(yield)
		if !req.CompletionTokens {
			w.End(events.GenerationEnded{Error: llm.FromHTTP(400, nil, []byte(`{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.","param":"max_tokens","code":"unsupported_parameter"}}`))})
			return
		}
		w.Text("0", "hi")
		w.End(events.GenerationEnded{Terminated: true})
	}})
	for range 2 {
		if got := read(t, p.Stream(t.Context(), llm.Request{Model: "m", Parameters: all()})); got.end.Error != nil || got.end.OmittedParameters != nil {
			t.Errorf("%+v", got.end)
		}
	}
	if !slices.Equal(asked, []bool{false, true, true}) {
		t.Errorf("max_completion_tokens was used in %v", asked)
	}
}
