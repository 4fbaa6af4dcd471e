package parley_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// anthropicID is what the API takes as the id of a call and as the name of a tool.
var anthropicID = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)

// checkAnthropic refuses as api.anthropic.com does.
//
// Sources: https://platform.claude.com/docs/en/api/messages and
// https://platform.claude.com/docs/en/build-with-claude/extended-thinking, and the API's
// errors, which are quoted.
func checkAnthropic(h *strict, r *http.Request, body map[string]any) string {
	if key := unknownKey(body, "model", "max_tokens", "system", "messages", "tools", "tool_choice", "thinking", "output_config",
		"temperature", "top_p", "stop_sequences", "stream"); key != "" {
		return key + ": Extra inputs are not permitted"
	}
	if why := checkAnthropicFrame(body); why != "" {
		return why
	}
	all := listOf(body)
	if len(all) == 0 || all[0]["role"] != "user" || all[len(all)-1]["role"] != "user" {
		return "messages: the conversation must begin and end with a user message"
	}
	thinking, _ := body["thinking"].(map[string]any)
	binding, _ := thinking["block_binding"].(map[string]any)
	lenient := binding["prefix_mismatch_behavior"] == "drop_block" && r.Header.Get("Anthropic-Beta") == "thinking-binding-controls-2026-08-01"
	open, used := []string{}, map[string]bool{}
	for i, m := range all {
		blocks := objects(m["content"])
		if len(blocks) == 0 {
			return fmt.Sprintf("messages.%d: all messages must have non-empty content", i)
		}
		if last := blocks[len(blocks)-1]; last["type"] == "thinking" {
			return fmt.Sprintf("messages.%d: The final block in an assistant message cannot be `thinking`.", i)
		}
		var next []string
		for j, b := range blocks {
			at := fmt.Sprintf("messages.%d.content.%d", i, j)
			if why := checkBlock(at, m["role"], b); why != "" {
				return why
			}
			switch b["type"] {
			case "thinking":
				was, known := h.issued[b["signature"].(string)]
				if !known || was.model != body["model"] {
					return at + ": Invalid `signature` in `thinking` block"
				}
				if b["thinking"] != thoughtOf(was.model) {
					return at + ": `thinking` blocks in the latest assistant message cannot be modified"
				}
				if !lenient && binds(body["model"]) && was.prefix != prefixOf(body, i) {
					return at + ": Invalid `signature` in `thinking` block. The block is bound to a different conversation."
				}
			case "tool_use":
				id := b["id"].(string)
				if used[id] || !anthropicID.MatchString(id) {
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
			default:
				if len(open) > 0 { // results come first
					return "messages: tool_use ids were found without tool_result blocks immediately after"
				}
			}
		}
		if len(open) > 0 {
			return "messages: tool_use ids were found without tool_result blocks immediately after"
		}
		open = next
	}
	if len(open) > 0 {
		return "messages: tool_use ids were found without tool_result blocks immediately after"
	}
	return ""
}

// checkAnthropicFrame checks what is around the messages.
func checkAnthropicFrame(body map[string]any) string {
	marks := 0
	for _, b := range objects(body["system"]) {
		if s, _ := b["text"].(string); strings.TrimSpace(s) == "" {
			return "system: text content blocks must be non-empty"
		}
		marks += marked(b)
	}
	names := map[string]bool{}
	for i, t := range objects(body["tools"]) {
		name, _ := t["name"].(string)
		schema, _ := t["input_schema"].(map[string]any)
		switch {
		case !anthropicID.MatchString(name) || names[name]:
			return fmt.Sprintf("tools.%d.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$', and be unique", i)
		case schema["type"] != "object":
			return fmt.Sprintf("tools.%d.custom.input_schema.type: Field required", i)
		case schema["anyOf"] != nil || schema["oneOf"] != nil || schema["allOf"] != nil:
			return fmt.Sprintf("tools.%d.custom.input_schema: input_schema does not support oneOf, allOf, or anyOf at the top level", i)
		}
		names[name] = true
		marks += marked(t)
	}
	choice, _ := body["tool_choice"].(map[string]any)
	thinking, _ := body["thinking"].(map[string]any)
	if why := checkThinking(body, thinking); why != "" {
		return why
	}
	if forced := choice["type"] == "any" || choice["type"] == "tool"; forced && (thinking["type"] == "enabled" || thinking["type"] == "adaptive") {
		return "Thinking may not be enabled when tool_choice forces tool use."
	} else if forced && choice["type"] == "tool" && !names[fmt.Sprint(choice["name"])] {
		return fmt.Sprintf("tool_choice.tool.name: Tool '%v' not found in provided tools", choice["name"])
	}
	for _, m := range listOf(body) {
		for _, b := range objects(m["content"]) {
			marks += marked(b)
		}
	}
	if marks > 4 {
		return fmt.Sprintf("A maximum of 4 blocks with cache_control may be provided. Found %d.", marks)
	}
	return ""
}

// binds reports whether a model binds its thinking to the prefix, and takes adaptive
// thinking only.
func binds(model any) bool { return model != "claude-sonnet-4-5" }

// checkThinking checks how reasoning is requested.
func checkThinking(body, thinking map[string]any) string {
	switch kind := thinking["type"]; {
	case kind == "adaptive" && !binds(body["model"]):
		return "adaptive thinking is not supported on this model"
	case kind != "enabled":
		return ""
	case binds(body["model"]):
		return "\"thinking.type.enabled\" is not supported for this model. Use \"thinking.type.adaptive\" and \"output_config.effort\" to control thinking behavior."
	}
	budget, _ := thinking["budget_tokens"].(float64)
	most, _ := body["max_tokens"].(float64)
	if budget < 1024 || budget >= most || body["temperature"] != nil || body["top_p"] != nil {
		return "`max_tokens` must be greater than `thinking.budget_tokens`"
	}
	all := listOf(body)
	if n := len(all); n > 1 && objects(all[n-1]["content"])[0]["type"] == "tool_result" && objects(all[n-2]["content"])[0]["type"] != "thinking" {
		return fmt.Sprintf("messages.%d.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`. When `thinking` is enabled, a final `assistant` message must start with a thinking block", n-2)
	}
	return ""
}

func marked(b map[string]any) int {
	if b["cache_control"] != nil {
		return 1
	}
	return 0
}

// checkBlock checks a block by itself.
func checkBlock(at string, role any, b map[string]any) string {
	fields := map[any][]string{
		"text":        {"text", "cache_control", "citations"},
		"thinking":    {"thinking", "signature"},
		"tool_use":    {"id", "name", "input", "cache_control"},
		"tool_result": {"tool_use_id", "content", "is_error", "cache_control"},
		"image":       {"source", "cache_control"},
	}
	if fields[b["type"]] == nil {
		return fmt.Sprintf("%s: Input tag '%v' found using 'type' does not match any of the expected tags", at, b["type"])
	}
	if key := unknownKey(b, append(fields[b["type"]], "type")...); key != "" {
		return fmt.Sprintf("%s.%s: Extra inputs are not permitted", at, key)
	}
	if of := b["type"] == "thinking" || b["type"] == "tool_use"; of != (role == "assistant") && b["type"] != "text" {
		return fmt.Sprintf("%s: `%v` blocks are not allowed in messages of %v", at, b["type"], role)
	}
	switch b["type"] {
	case "text":
		if s, _ := b["text"].(string); strings.TrimSpace(s) == "" {
			return "messages: text content blocks must contain non-whitespace text"
		}
	case "tool_use":
		if _, is := b["input"].(map[string]any); !is || !anthropicID.MatchString(fmt.Sprint(b["name"])) {
			return at + ".tool_use.input: Input should be a valid dictionary, or the name is not valid"
		}
	case "image":
		source, _ := b["source"].(map[string]any)
		if source["type"] != "base64" || !isPicture(source["media_type"], source["data"]) {
			return at + ".image.source.base64: Could not process image"
		}
	case "tool_result":
		for _, inner := range objects(b["content"]) {
			if b["is_error"] == true && inner["type"] != "text" {
				return at + ".tool_result: all content must be type \"text\" if \"is_error\" is true"
			}
			if why := checkBlock(at, role, inner); why != "" {
				return why
			}
		}
	}
	return ""
}

func writeAnthropic(w http.ResponseWriter, a strictAnswer) {
	payloads := []string{`{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":"` + a.model + `","content":[],"usage":{"input_tokens":5,"output_tokens":1}}}`,
		`{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"` + a.thought() + `"}}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"` + a.carry + `"}}`,
		`{"type":"content_block_stop","index":0}`}
	block := func(start, delta string) {
		n := fmt.Sprint((len(payloads) - 2) / 3)
		payloads = append(payloads, `{"type":"content_block_start","index":`+n+`,"content_block":`+start+`}`,
			`{"type":"content_block_delta","index":`+n+`,"delta":`+delta+`}`, `{"type":"content_block_stop","index":`+n+`}`)
	}
	reason := "end_turn"
	if a.text != "" {
		block(`{"type":"text","text":""}`, `{"type":"text_delta","text":`+quoted(a.text)+`}`)
	}
	for _, c := range a.calls {
		block(`{"type":"tool_use","id":"toolu_`+c.id+`","name":"`+c.name+`","input":{}}`, `{"type":"input_json_delta","partial_json":`+quoted(c.arguments)+`}`)
		reason = "tool_use"
	}
	if a.cut {
		stream(w, true, payloads[:len(payloads)-1]...)
		return
	}
	stream(w, true, append(payloads, `{"type":"message_delta","delta":{"stop_reason":"`+reason+`"},"usage":{"output_tokens":7}}`, `{"type":"message_stop"}`)...)
}
