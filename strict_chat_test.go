package parley_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// checkOpenAI refuses as api.openai.com does for Chat Completions: fields that it does
// not know, ids above 40 characters, names, results that do not follow their calls at
// once and all, images outside a user's message.
//
// Sources: https://platform.openai.com/docs/api-reference/chat/create and the API's
// errors, which are quoted.
func checkOpenAI(_ *strict, _ *http.Request, body map[string]any) string {
	if key := unknownKey(body, "model", "messages", "tools", "tool_choice", "stream", "stream_options", "max_completion_tokens",
		"temperature", "top_p", "seed", "stop", "reasoning_effort", "prompt_cache_key", "response_format"); key != "" {
		return "Unrecognized request argument supplied: " + key
	}
	fields := map[any][]string{"system": {"content"}, "user": {"content"}, "assistant": {"content", "refusal", "tool_calls"}, "tool": {"content", "tool_call_id"}}
	for i, m := range listOf(body) {
		if key := unknownKey(m, append(fields[m["role"]], "role")...); key != "" {
			return fmt.Sprintf("Additional properties are not allowed ('%s' was unexpected) - 'messages.%d'", key, i)
		}
		for _, c := range objects(m["tool_calls"]) {
			if key := unknownKey(c, "id", "type", "function"); key != "" {
				return fmt.Sprintf("Additional properties are not allowed ('%s' was unexpected) - 'messages.%d.tool_calls'", key, i)
			}
			if id := c["id"].(string); len(id) > 40 {
				return fmt.Sprintf("Invalid 'messages[%d].tool_calls[0].id': string too long. Expected a string with maximum length 40", i)
			}
		}
	}
	return checkMessages(body)
}

// checkMessages checks what all hosts of Chat Completions demand of messages.
func checkMessages(body map[string]any) string {
	open, seen := []string{}, map[string]bool{}
	for i, m := range listOf(body) {
		if m["role"] != "tool" && len(open) > 0 {
			return "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'"
		}
		calls := objects(m["tool_calls"])
		text, isText := m["content"].(string)
		switch {
		case m["role"] == "user" && !isText:
			if why := checkContent(i, m["content"]); why != "" {
				return why
			}
		case !isText && (m["role"] != "assistant" || len(calls) == 0):
			return fmt.Sprintf("Invalid value for 'messages[%d].content': expected a string, got null or a list.", i)
		case strings.TrimSpace(text) == "" && len(calls) == 0:
			return fmt.Sprintf("messages.%d: content must not be empty", i)
		}
		for _, c := range calls {
			id, function := c["id"].(string), c["function"].(map[string]any)
			name, arguments := function["name"].(string), function["arguments"].(string)
			switch {
			case seen[id]:
				return "Duplicate value for 'tool_call_id' of '" + id + "'"
			case !regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`).MatchString(name):
				return fmt.Sprintf("Invalid 'messages[%d].tool_calls[0].function.name': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.", i)
			case loneSurrogate.MatchString(arguments) || !strings.HasPrefix(arguments, "{"):
				return "arguments are not a valid JSON object: " + arguments
			}
			seen[id] = true
			open = append(open, id)
		}
		if m["role"] == "tool" {
			at := slices.Index(open, m["tool_call_id"].(string))
			if at < 0 {
				return "messages with role 'tool' must be a response to a preceding message with 'tool_calls'"
			}
			open = slices.Delete(open, at, at+1)
		}
	}
	if len(open) > 0 {
		return "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'"
	}
	return ""
}

// checkContent checks a user's message with images.
func checkContent(i int, content any) string {
	parts := objects(content)
	for _, p := range parts {
		image, _ := p["image_url"].(map[string]any)
		if s, _ := p["text"].(string); p["type"] == "text" && strings.TrimSpace(s) != "" || p["type"] == "image_url" && isPictureURL(image["url"]) {
			continue
		}
		return fmt.Sprintf("Invalid 'messages[%d].content': %v", i, p["type"])
	}
	if len(parts) == 0 {
		return fmt.Sprintf("Invalid 'messages[%d].content': empty array", i)
	}
	return ""
}

// seeing is the model of the compatible host that takes images.
const seeing = "glm-4.6v"

// checkCompatible refuses as hosts of Chat Completions other than OpenAI do: DeepSeek
// demands reasoning and takes no images, Mistral demands ids of nine characters, and
// chat templates demand alternation.
//
// Sources: https://api-docs.deepseek.com/guides/thinking_mode and the hosts' errors,
// which are quoted.
func checkCompatible(_ *strict, _ *http.Request, body map[string]any) string {
	index := 0
	all := listOf(body)
	for i, m := range all {
		calls := objects(m["tool_calls"])
		if m["role"] == "user" || m["role"] == "assistant" && len(calls) == 0 {
			if (m["role"] == "user") != (index%2 == 0) {
				return "conversation roles must alternate user and assistant roles except for tool calls and results"
			}
			index++
		}
		if m["role"] == "user" && i > 0 && all[i-1]["role"] == "tool" {
			return "Unexpected role 'user' after role 'tool'"
		}
		if reasoning, ok := m["reasoning_content"].(string); m["role"] == "assistant" && !ok {
			return "The `reasoning_content` in the thinking mode must be passed back to the API."
		} else if reasoning != "" && reasoning != thoughtOf(body["model"]) {
			return "reasoning of another model"
		}
		for _, p := range objects(m["content"]) {
			if p["type"] != "text" && body["model"] != seeing {
				return fmt.Sprintf("Failed to deserialize the JSON body into the target type: messages[%d]: unknown variant `image_url`, expected `text`", i)
			}
		}
		for _, c := range calls {
			if id := c["id"].(string); !regexp.MustCompile(`^[a-zA-Z0-9]{9}$`).MatchString(id) {
				return "Tool call id was " + id + " but must be a-z, A-Z, 0-9, with a length of 9."
			}
		}
	}
	if last := all[len(all)-1]; last["role"] != "user" && last["role"] != "tool" {
		return "Expected last role User or Tool for serving"
	}
	return checkMessages(body)
}

// writeOpenAI answers without reasoning, which the API keeps.
func writeOpenAI(w http.ResponseWriter, a strictAnswer) {
	writeChat(w, a, `{"role":"assistant","content":null}`, "call_")
}

func writeCompatible(w http.ResponseWriter, a strictAnswer) {
	writeChat(w, a, `{"role":"assistant","reasoning_content":"`+a.thought()+`"}`, "")
}

func writeChat(w http.ResponseWriter, a strictAnswer, first, prefix string) {
	chunk := func(delta, finish string) string {
		return `{"id":"c","object":"chat.completion.chunk","model":"` + a.model + `","choices":[{"index":0,"delta":` + delta + `,"finish_reason":` + finish + `}]}`
	}
	payloads, finish := []string{chunk(first, "null")}, `"stop"`
	if a.text != "" {
		payloads = append(payloads, chunk(`{"content":`+quoted(a.text)+`}`, "null"))
	}
	for i, c := range a.calls {
		payloads = append(payloads, chunk(fmt.Sprintf(`{"tool_calls":[{"index":%d,"id":"%s","type":"function","function":{"name":"%s","arguments":%s}}]}`, i, prefix+c.id, c.name, quoted(c.arguments)), "null"))
		finish = `"tool_calls"`
	}
	if !a.cut {
		payloads = append(payloads, chunk("{}", finish), "[DONE]")
	}
	stream(w, false, payloads...)
}
