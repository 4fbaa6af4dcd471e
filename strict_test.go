package parley_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// strict is a host that refuses what the real host of its wire is documented to
// refuse, and answers by the last message: "use the tool" with reasoning and a call,
// "fail" with a refusal of the key, "be slow" with silence, "say nothing" with white
// space, anything else with reasoning and a text.
type strict struct {
	t     *testing.T
	check func(h *strict, r *http.Request, body map[string]any) string // why it refuses
	write func(w http.ResponseWriter, a strictAnswer)

	mu      sync.Mutex
	n       int
	issued  map[string]issued // what was handed out: signatures, encrypted reasoning, ids
	refused []string
	slow    chan struct{} // gets a value for each request that is not answered
}

// issued is to what a signature is bound.
type issued struct{ model, prefix string }

// strictAnswer is one answer: a call if it has a tool's name.
type strictAnswer struct {
	model, carry, id, tool, text string
}

func newStrict(t *testing.T, check func(*strict, *http.Request, map[string]any) string, write func(http.ResponseWriter, strictAnswer)) (*strict, string) {
	h := &strict{t: t, check: check, write: write, issued: map[string]issued{}, slow: make(chan struct{}, 10)}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return h, s.URL
}

// ServeHTTP implements [http.Handler].
func (h *strict) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	var body map[string]any
	if err != nil || json.Unmarshal(raw, &body) != nil {
		h.refuse(w, 400, "the body is not JSON")
		return
	}
	if named := geminiModel.FindStringSubmatch(r.URL.Path); named != nil {
		body["model"] = named[1]
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if loneSurrogate.Match(raw) {
		h.refuse(w, 400, "the request body is not valid JSON: no low surrogate in string")
		return
	}
	if why := h.check(h, r, body); why != "" {
		h.refuse(w, 400, why)
		return
	}
	model := body["model"].(string)
	last := lastSaid(body)
	h.n++
	a := strictAnswer{model: model, carry: fmt.Sprintf("sig-%s-%d", model, h.n), id: fmt.Sprintf("call%05d", h.n)}
	h.issued[a.carry] = issued{model, prefixOf(body, -1)}
	h.issued[a.id] = issued{model: model}
	switch {
	case strings.HasSuffix(last, "fail"):
		http.Error(w, `{"error":{"message":"invalid api key"}}`, http.StatusUnauthorized)
		return
	case strings.HasSuffix(last, "be slow"):
		h.slow <- struct{}{}
		h.mu.Unlock()
		<-r.Context().Done()
		h.mu.Lock()
		return
	case strings.HasSuffix(last, "say nothing"):
		a.text = "\n\n"
	case strings.HasSuffix(last, "use the tool"):
		a.tool = "lookup"
	default:
		a.text = "answer of " + model
	}
	h.write(w, a)
}

// refusals returns why requests were refused since the last call.
func (h *strict) refusals() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := h.refused
	h.refused = nil
	return all
}

func (h *strict) refuse(w http.ResponseWriter, status int, why string) {
	h.refused = append(h.refused, why)
	raw, _ := json.Marshal(map[string]any{"type": "error", "error": map[string]any{"type": "invalid_request_error", "message": why}})
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(raw)
}

// loneSurrogate finds an escape of a first half without its second, if no backslash is
// before it.
var loneSurrogate = regexp.MustCompile(`(?:^|[^\\])(?:\\\\)*\\u[dD][89abAB][0-9a-fA-F]{2}(?:[^\\]|\\[^u])`)

// listOf returns the messages of a request, whatever the wire.
func listOf(body map[string]any) []map[string]any {
	var list []any
	for _, key := range []string{"messages", "input", "contents"} {
		if list == nil {
			list, _ = body[key].([]any)
		}
	}
	var all []map[string]any
	for _, m := range list {
		all = append(all, m.(map[string]any))
	}
	return all
}

// lastSaid returns the last text of a request.
func lastSaid(body map[string]any) string {
	all := listOf(body)
	last := all[len(all)-1]
	blocks, ok := last["content"].([]any)
	if !ok {
		blocks, ok = last["parts"].([]any)
	}
	if ok {
		last = blocks[len(blocks)-1].(map[string]any)
		if s, ok := last["text"].(string); ok {
			return s
		}
	}
	s, _ := last["content"].(string)
	return s
}

// unmarked is a part of a request without its marks for the cache, which a model does
// not read.
func unmarked(v any) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = unmarked(e)
		}
		return out
	case []map[string]any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = unmarked(e)
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			if k != "cache_control" {
				out[k] = unmarked(e)
			}
		}
		return out
	}
	return v
}

// prefixOf returns what a model reads before a message; -1 is the end.
func prefixOf(body map[string]any, upTo int) string {
	all := listOf(body)
	if upTo < 0 {
		upTo = len(all)
	}
	raw, _ := json.Marshal(unmarked([]any{body["system"], body["tools"], all[:upTo]}))
	return string(raw)
}

func stream(w http.ResponseWriter, named bool, payloads ...string) {
	w.Header().Set("Content-Type", "text/event-stream")
	for _, p := range payloads {
		var e struct {
			Type string `json:"type"`
		}
		if named && json.Unmarshal([]byte(p), &e) == nil {
			_, _ = fmt.Fprintf(w, "event: %s\n", e.Type)
		}
		_, _ = fmt.Fprintf(w, "data: %s\n\n", p)
	}
}

// badArguments are the arguments of each call: valid for a lenient parser only.
const badArguments = `{"q":"\ud99c x"}`

func quoted(s string) string {
	raw, _ := json.Marshal(s)
	return string(raw)
}

// checkAnthropic refuses as api.anthropic.com does.
func checkAnthropic(h *strict, r *http.Request, body map[string]any) string {
	all := listOf(body)
	if len(all) == 0 || all[0]["role"] != "user" || all[len(all)-1]["role"] != "user" {
		return "messages: the conversation must begin and end with a user message"
	}
	thinking, _ := body["thinking"].(map[string]any)
	binding, _ := thinking["block_binding"].(map[string]any)
	lenient := binding["prefix_mismatch_behavior"] == "drop_block" && r.Header.Get("Anthropic-Beta") == "thinking-binding-controls-2026-08-01"
	open, used := []string{}, map[string]bool{}
	for i, m := range all {
		blocks, _ := m["content"].([]any)
		if len(blocks) == 0 {
			return fmt.Sprintf("messages.%d: all messages must have non-empty content", i)
		}
		if last := blocks[len(blocks)-1].(map[string]any); last["type"] == "thinking" {
			return fmt.Sprintf("messages.%d: The final block in an assistant message cannot be `thinking`.", i)
		}
		var next []string
		for j, b := range blocks {
			b := b.(map[string]any)
			switch b["type"] {
			case "text":
				if strings.TrimSpace(b["text"].(string)) == "" {
					return "messages: text content blocks must be non-empty"
				}
			case "thinking":
				was, known := h.issued[b["signature"].(string)]
				if !known || was.model != body["model"] {
					return fmt.Sprintf("messages.%d.content.%d: Invalid `signature` in `thinking` block", i, j)
				}
				if !lenient && was.prefix != prefixOf(body, i) {
					return fmt.Sprintf("messages.%d.content.%d: Invalid `signature` in `thinking` block. The block is bound to a different conversation.", i, j)
				}
			case "tool_use":
				id := b["id"].(string)
				if used[id] || !regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`).MatchString(id) {
					return "messages: tool_use ids must be unique and match the pattern: " + id
				}
				used[id] = true
				next = append(next, id)
			case "tool_result":
				at := slices.Index(open, b["tool_use_id"].(string))
				if at < 0 {
					return "messages: unexpected tool_use_id in tool_result"
				}
				open = slices.Delete(open, at, at+1)
			}
		}
		if len(open) > 0 {
			return "messages: tool_use ids were found without tool_result blocks immediately after"
		}
		open = next
	}
	return ""
}

func writeAnthropic(w http.ResponseWriter, a strictAnswer) {
	block := `{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}`
	delta := `{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":` + quoted(a.text) + `}}`
	stop := "end_turn"
	if a.tool != "" {
		block = `{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"toolu_` + a.id + `","name":"` + a.tool + `","input":{}}}`
		delta = `{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":` + quoted(badArguments) + `}}`
		stop = "tool_use"
	}
	stream(w, true, `{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":"`+a.model+`","content":[],"usage":{"input_tokens":5,"output_tokens":1}}}`,
		`{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"thought of `+a.model+`"}}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"`+a.carry+`"}}`,
		`{"type":"content_block_stop","index":0}`, block, delta, `{"type":"content_block_stop","index":1}`,
		`{"type":"message_delta","delta":{"stop_reason":"`+stop+`"},"usage":{"output_tokens":7}}`, `{"type":"message_stop"}`)
}

// checkChat refuses as hosts of the chat completions do: DeepSeek demands reasoning,
// Mistral ids of nine characters, chat templates alternation.
func checkChat(h *strict, _ *http.Request, body map[string]any) string {
	index, open, seen := 0, []string{}, map[string]bool{}
	for i, m := range listOf(body) {
		calls, _ := m["tool_calls"].([]any)
		if m["role"] != "tool" && len(open) > 0 {
			return "An assistant message with 'tool_calls' must be followed by tool messages"
		}
		if m["role"] == "user" || m["role"] == "assistant" && len(calls) == 0 {
			if (m["role"] == "user") != (index%2 == 0) {
				return "conversation roles must alternate user and assistant roles except for tool calls and results"
			}
			index++
			if s, _ := m["content"].(string); strings.TrimSpace(s) == "" {
				return fmt.Sprintf("messages.%d: content must not be empty", i)
			}
		}
		if reasoning, ok := m["reasoning_content"].(string); m["role"] == "assistant" && !ok {
			return "The `reasoning_content` in the thinking mode must be passed back to the API."
		} else if reasoning != "" && reasoning != "thought of "+body["model"].(string) {
			return "reasoning of another model"
		}
		for _, c := range calls {
			c := c.(map[string]any)
			id := c["id"].(string)
			if seen[id] || !regexp.MustCompile(`^[a-zA-Z0-9]{9}$`).MatchString(id) {
				return "Tool call id was " + id + " but must be a-z, A-Z, 0-9, with a length of 9, and unique"
			}
			seen[id] = true
			open = append(open, id)
			if args := c["function"].(map[string]any)["arguments"].(string); loneSurrogate.MatchString(args) {
				return "arguments are not valid JSON: no low surrogate"
			}
		}
		if m["role"] == "tool" {
			at := slices.Index(open, m["tool_call_id"].(string))
			if at < 0 {
				return "messages with role 'tool' must be a response to a preceding message with 'tool_calls'"
			}
			open = slices.Delete(open, at, at+1)
		}
	}
	return ""
}

func writeChat(w http.ResponseWriter, a strictAnswer) {
	chunk := func(delta, finish string) string {
		return `{"id":"c","object":"chat.completion.chunk","model":"` + a.model + `","choices":[{"index":0,"delta":` + delta + `,"finish_reason":` + finish + `}]}`
	}
	delta, finish := `{"content":`+quoted(a.text)+`}`, `"stop"`
	if a.tool != "" {
		delta = `{"tool_calls":[{"index":0,"id":"` + a.id + `","type":"function","function":{"name":"` + a.tool + `","arguments":` + quoted(badArguments) + `}}]}`
		finish = `"tool_calls"`
	}
	stream(w, false, chunk(`{"role":"assistant","reasoning_content":"thought of `+a.model+`"}`, "null"), chunk(delta, "null"), chunk("{}", finish), "[DONE]")
}

// checkResponses refuses as api.openai.com does, and as servers behind a template do.
func checkResponses(h *strict, _ *http.Request, body map[string]any) string {
	open, used, last := map[string]bool{}, map[string]bool{}, ""
	items := listOf(body)
	for i, m := range items {
		switch m["type"] {
		case "reasoning":
			if was, known := h.issued[m["encrypted_content"].(string)]; !known || was.model != body["model"] {
				return fmt.Sprintf("The encrypted content for item %v could not be verified.", m["id"])
			}
			if i == len(items)-1 || items[i+1]["role"] == "user" {
				return fmt.Sprintf("Item '%v' of type 'reasoning' was provided without its required following item.", m["id"])
			}
		case "function_call":
			id := m["call_id"].(string)
			if used[id] || len(id) > 64 || !strings.HasPrefix(id, "call") {
				return "Invalid 'input[" + fmt.Sprint(i) + "].call_id': " + id
			}
			used[id], open[id], last = true, true, "call"
			if args := m["arguments"].(string); loneSurrogate.MatchString(args) {
				return "arguments are not valid JSON: no low surrogate"
			}
		case "function_call_output":
			if !open[m["call_id"].(string)] {
				return "No tool call found for function call output"
			}
			delete(open, m["call_id"].(string))
			last = "output"
		default:
			role := m["role"].(string)
			if role == last || role == "user" && last == "output" {
				return "conversation roles must alternate user and assistant"
			}
			last = role
		}
	}
	if len(open) > 0 {
		return fmt.Sprintf("No tool output found for function call %v.", open)
	}
	return ""
}

func writeResponses(w http.ResponseWriter, a strictAnswer) {
	item := `{"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[{"type":"output_text","text":` + quoted(a.text) + `}]}`
	if a.tool != "" {
		item = `{"type":"function_call","id":"fc_1","status":"completed","call_id":"` + a.id + `","name":"` + a.tool + `","arguments":` + quoted(badArguments) + `}`
	}
	reasoning := `{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"thought of ` + a.model + `"}],"encrypted_content":"` + a.carry + `"}`
	stream(w, true, `{"type":"response.output_item.done","output_index":0,"item":`+reasoning+`}`,
		`{"type":"response.output_item.done","output_index":1,"item":`+item+`}`,
		`{"type":"response.completed","response":{"id":"r","status":"completed","model":"`+a.model+`","output":[`+reasoning+`,`+item+`]}}`)
}

// checkOllama refuses what a template with alternation cannot render.
func checkOllama(_ *strict, _ *http.Request, body map[string]any) string {
	last := ""
	for i, m := range listOf(body) {
		role := m["role"].(string)
		calls, _ := m["tool_calls"].([]any)
		if role == "user" && (last == "user" || last == "tool") {
			return "roles must alternate"
		}
		if thought, _ := m["thinking"].(string); thought != "" && thought != "thought of "+body["model"].(string) {
			return "thinking of another model"
		}
		if s, _ := m["content"].(string); strings.TrimSpace(s) == "" && len(calls) == 0 {
			return fmt.Sprintf("message %d is empty", i)
		}
		last = role
	}
	return ""
}

func writeOllama(w http.ResponseWriter, a strictAnswer) {
	message := `{"role":"assistant","content":` + quoted(a.text) + `}`
	if a.tool != "" {
		message = `{"role":"assistant","content":"","tool_calls":[{"function":{"name":"` + a.tool + `","arguments":` + badArguments + `}}]}`
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	_, _ = fmt.Fprintf(w, `{"model":%q,"message":{"role":"assistant","content":"","thinking":"thought of %s"},"done":false}`+"\n", a.model, a.model)
	_, _ = fmt.Fprintf(w, `{"model":%q,"message":%s,"done":false}`+"\n", a.model, message)
	_, _ = fmt.Fprintf(w, `{"model":%q,"message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","prompt_eval_count":5,"eval_count":7}`+"\n", a.model)
}
