package parley_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
)

// checkResponses refuses as api.openai.com does for Responses: fields that it does not
// know, encrypted reasoning of another model or without the item that follows it,
// outputs without calls and calls without outputs, ids and names.
//
// Sources: https://platform.openai.com/docs/api-reference/responses/create and the
// API's errors, which are quoted.
func checkResponses(h *strict, _ *http.Request, body map[string]any) string {
	if key := unknownKey(body, "model", "input", "instructions", "tools", "tool_choice", "stream", "store", "include", "reasoning",
		"max_output_tokens", "temperature", "top_p", "prompt_cache_key", "text"); key != "" {
		return "Unknown parameter: '" + key + "'."
	}
	fields := map[any][]string{"reasoning": {"type", "id", "summary", "encrypted_content", "status", "content"}, "function_call": {"type", "id", "call_id", "name", "arguments", "status"},
		"function_call_output": {"type", "id", "call_id", "output", "status"}, nil: {"role", "content", "phase"}, "message": {"type", "role", "content", "phase"}}
	open, used := map[string]bool{}, map[string]bool{}
	items := listOf(body)
	for i, m := range items {
		if key := unknownKey(m, fields[m["type"]]...); key != "" {
			return fmt.Sprintf("Unknown parameter: 'input[%d].%s'.", i, key)
		}
		switch m["type"] {
		case "reasoning":
			if was, known := h.issued[m["encrypted_content"].(string)]; !known || was.model != body["model"] {
				return fmt.Sprintf("The encrypted content for item %v could not be verified.", m["id"])
			}
			if i == len(items)-1 || items[i+1]["role"] == "user" {
				return fmt.Sprintf("Item '%v' of type 'reasoning' was provided without its required following item.", m["id"])
			}
		case "function_call":
			id, name := m["call_id"].(string), m["name"].(string)
			if used[id] || len(id) > 64 || !strings.HasPrefix(id, "call") {
				return fmt.Sprintf("Invalid 'input[%d].call_id': %s", i, id)
			}
			if !regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`).MatchString(name) {
				return fmt.Sprintf("Invalid 'input[%d].name': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.", i)
			}
			used[id], open[id] = true, true
			if args := m["arguments"].(string); loneSurrogate.MatchString(args) || !strings.HasPrefix(args, "{") {
				return "arguments are not valid JSON: no low surrogate"
			}
		case "function_call_output":
			if !open[m["call_id"].(string)] {
				return fmt.Sprintf("No tool call found for function call output with call_id %v.", m["call_id"])
			}
			delete(open, m["call_id"].(string))
			if why := checkItemContent(i, "output", m["output"]); why != "" {
				return why
			}
		default:
			if len(open) > 0 {
				return fmt.Sprintf("No tool output found for function call %v.", open)
			}
			if why := checkItemContent(i, "content", m["content"]); why != "" {
				return why
			}
		}
	}
	if len(open) > 0 {
		return fmt.Sprintf("No tool output found for function call %v.", open)
	}
	return ""
}

// checkItemContent checks a text, or a list of texts and images.
func checkItemContent(i int, field string, content any) string {
	if s, is := content.(string); is {
		if field == "content" && strings.TrimSpace(s) == "" {
			return fmt.Sprintf("Invalid 'input[%d].content': empty string", i)
		}
		return ""
	}
	parts := objects(content)
	for _, p := range parts {
		if s, _ := p["text"].(string); p["type"] == "input_text" && s != "" || p["type"] == "input_image" && isPictureURL(p["image_url"]) {
			continue
		}
		return fmt.Sprintf("Invalid value: '%v'. Supported values are: 'input_text', 'input_image', and 'input_file'. (input[%d].%s)", p["type"], i, field)
	}
	if len(parts) == 0 {
		return fmt.Sprintf("Invalid 'input[%d].%s': empty", i, field)
	}
	return ""
}

// checkTemplated refuses as servers of Responses behind a chat template do: they also
// demand alternation, and outputs that are texts.
func checkTemplated(h *strict, r *http.Request, body map[string]any) string {
	last := ""
	for i, m := range listOf(body) {
		switch m["type"] {
		case "reasoning":
		case "function_call":
			last = "call"
		case "function_call_output":
			last = "output"
			if _, is := m["output"].(string); !is {
				return fmt.Sprintf("input[%d].output: Input should be a valid string", i)
			}
		default:
			role := m["role"].(string)
			if role == last || role == "user" && last == "output" {
				return "conversation roles must alternate user and assistant"
			}
			last = role
		}
	}
	return checkResponses(h, r, body)
}

func writeResponses(w http.ResponseWriter, a strictAnswer) {
	var items, payloads []string
	add := func(item string) {
		payloads = append(payloads, fmt.Sprintf(`{"type":"response.output_item.done","output_index":%d,"item":%s}`, len(items), item))
		items = append(items, item)
	}
	add(`{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"` + a.thought() + `"}],"encrypted_content":"` + a.carry + `"}`)
	if a.cut {
		kind, delta := `{"type":"message","id":"msg_1","role":"assistant","content":[]}`, `{"type":"response.output_text.delta","item_id":"msg_1","output_index":1,"content_index":0,"delta":`+quoted(a.text)+`}`
		if len(a.calls) > 0 {
			c := a.calls[0]
			kind = `{"type":"function_call","id":"fc_1","call_id":"` + c.id + `","name":"` + c.name + `","arguments":""}`
			delta = `{"type":"response.function_call_arguments.delta","item_id":"fc_1","output_index":1,"delta":` + quoted(c.arguments) + `}`
		}
		stream(w, true, append(payloads, `{"type":"response.output_item.added","output_index":1,"item":`+kind+`}`, delta)...)
		return
	}
	if a.text != "" {
		add(`{"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[{"type":"output_text","text":` + quoted(a.text) + `}]}`)
	}
	for i, c := range a.calls {
		add(fmt.Sprintf(`{"type":"function_call","id":"fc_%d","status":"completed","call_id":"%s","name":"%s","arguments":%s}`, i, c.id, c.name, quoted(c.arguments)))
	}
	stream(w, true, append(payloads, `{"type":"response.completed","response":{"id":"r","status":"completed","model":"`+a.model+`","output":[`+strings.Join(items, ",")+`]}}`)...)
}
