package parley_test

import (
	"fmt"
	"net/http"
	"strings"
)

// blindLocal is Ollama's model that takes no images.
const blindLocal = "qwen3"

// writeShow answers what a model can do.
func writeShow(w http.ResponseWriter, model any) {
	vision := `,"vision"`
	if model == blindLocal {
		vision = ""
	}
	_, _ = fmt.Fprintf(w, `{"capabilities":["completion","tools","thinking"%s]}`, vision)
}

// checkOllama refuses what a template with alternation cannot render, and images for a
// model that does not see.
func checkOllama(_ *strict, _ *http.Request, body map[string]any) string {
	last := ""
	open := 0
	for i, m := range listOf(body) {
		role := m["role"].(string)
		calls := objects(m["tool_calls"])
		if role == "user" && (last == "user" || last == "tool") || role == "assistant" && last == "assistant" {
			return "roles must alternate"
		}
		if role == "tool" {
			open--
		} else if open != 0 {
			return "after a message with tool calls there must be a result of each call"
		}
		if open < 0 {
			return "a result without a call"
		}
		open += len(calls)
		if thought, _ := m["thinking"].(string); thought != "" && thought != thoughtOf(body["model"]) {
			return "thinking of another model"
		}
		images, _ := m["images"].([]any)
		if len(images) > 0 && body["model"] == blindLocal {
			return "this model is missing data required for image input"
		}
		for _, image := range images {
			if !isPicture("image/png", image) {
				return "illegal base64 data or unknown format of an image"
			}
		}
		if s, _ := m["content"].(string); strings.TrimSpace(s) == "" && len(calls) == 0 && len(images) == 0 && role != "tool" {
			return fmt.Sprintf("message %d is empty", i)
		}
		for _, c := range calls {
			if _, is := c["function"].(map[string]any)["arguments"].(map[string]any); !is {
				return "json: cannot unmarshal into Go struct field .messages.tool_calls.function.arguments"
			}
		}
		last = role
	}
	return ""
}

// writeOllama writes calls whole: a call that is cut has its line and no end.
func writeOllama(w http.ResponseWriter, a strictAnswer) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	line := func(message, more string) {
		_, _ = fmt.Fprintf(w, `{"model":%q,"message":%s%s}`+"\n", a.model, message, more)
	}
	line(`{"role":"assistant","content":"","thinking":"`+a.thought()+`"}`, `,"done":false`)
	if a.text != "" {
		line(`{"role":"assistant","content":`+quoted(a.text)+`}`, `,"done":false`)
	}
	for _, c := range a.calls {
		line(`{"role":"assistant","content":"","tool_calls":[{"function":{"name":"`+c.name+`","arguments":`+whole(c.arguments)+`}}]}`, `,"done":false`)
	}
	if !a.cut {
		line(`{"role":"assistant","content":""}`, `,"done":true,"done_reason":"stop","prompt_eval_count":5,"eval_count":7`)
	}
}
