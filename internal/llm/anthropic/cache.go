package anthropic

import "encoding/json"

// cacheMark marks the end of a prefix that the API stores for five minutes and reads
// again for a tenth of the price. A request has at most four marks; a prefix that is
// too short (1,024 tokens, for some models more) is not stored, without an error.
//
// Source: https://docs.claude.com/en/docs/build-with-claude/prompt-caching
const cacheMark = `,"cache_control":{"type":"ephemeral"}}`

// marked is a JSON object with a cacheMark.
type marked struct{ value any }

// MarshalJSON implements [json.Marshaler].
func (m marked) MarshalJSON() ([]byte, error) {
	raw, err := json.Marshal(m.value)
	if err != nil || len(raw) < 3 || raw[len(raw)-1] != '}' {
		return raw, err
	}
	return append(raw[:len(raw)-1:len(raw)-1], cacheMark...), nil
}

// cache marks the tools, the system prompt and the last two messages of the user: the
// next request repeats all of them. The last but one is the end of what the request
// before has stored.
func (r *request) cache() {
	if n := len(r.Tools); n > 0 {
		r.Tools[n-1] = marked{r.Tools[n-1]}
	}
	if text, ok := r.System.(string); ok {
		r.System = []any{marked{textBlock{Type: "text", Text: text}}}
	}
	left := 2
	for i := len(r.Messages) - 1; i >= 0 && left > 0; i-- {
		content := r.Messages[i].Content
		if n := len(content); r.Messages[i].Role == "user" && n > 0 {
			content[n-1] = marked{content[n-1]}
			left--
		}
	}
}
