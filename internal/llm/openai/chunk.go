package openai

import (
	"strconv"
	"strings"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

// value decodes one JSON value of the body: a chunk, a whole completion or an
// error. It reports whether to read on.
func (d *decoder) value(raw []byte) bool {
	switch raw[skipSpace(raw, 0)] {
	case '[': // Gemini wraps errors in a list
		for _, v := range elements(raw) {
			if v[0] == '{' && !d.value(v) {
				return false
			}
		}
		return true
	case '"':
		if holdsError(raw) {
			d.fail(llm.FromPayload(raw))
		}
		return true
	}
	var choices, kind, typ, code, message, detail []byte
	for key, v := range members(raw) {
		switch string(key) {
		case "choices":
			choices = v
		case "usage":
			d.count(v)
		case "x_groq":
			for key, v := range members(v) {
				if string(key) == "usage" {
					d.count(v)
				}
			}
		case "error":
			if holdsError(v) {
				d.fail(llm.FromPayload(v))
			}
		case "id":
			if d.id == "" {
				d.id = text(v)
			}
		case "model":
			if d.model == "" {
				d.model = text(v)
			}
		case "object":
			kind = v
		case "type":
			typ = v
		case "code":
			code = v
		case "message":
			message = v
		case "detail":
			detail = v
		}
	}
	if choices == nil {
		// vLLM: {"object":"error","message":…}; FastAPI: {"detail":…}.
		if text(kind) == "error" || text(typ) == "error" || !isNull(detail) || !isNull(message) && (!isNull(code) || !isNull(typ)) {
			d.fail(llm.FromPayload(raw))
		}
		return true
	}
	d.choices = true
	for n, v := range elements(choices) {
		if !d.choice(n, v) {
			return false
		}
	}
	return true
}

// holdsError reports whether the value of an "error" field is an error: some
// hosts send null, "" or {} in every chunk.
func holdsError(raw []byte) bool {
	switch string(raw) {
	case "", "null", `""`, "{}", "false":
		return false
	}
	return true
}

// choice decodes one choice of a chunk; the n-th in its list. Only the choice
// with the first index of the answer counts, at any position.
func (d *decoder) choice(n int, raw []byte) bool {
	var delta, message []byte
	index := int64(n)
	word, native := "", ""
	for key, v := range members(raw) {
		switch string(key) {
		case "index":
			if i := number(v); i != nil {
				index = *i
			}
		case "delta":
			delta = v
		case "message":
			message = v
		case "finish_reason":
			word = text(v)
		case "native_finish_reason":
			native = text(v)
		case "error":
			if holdsError(v) {
				d.fail(llm.FromPayload(v))
			}
		}
	}
	if index != 0 {
		return true
	}
	if word != "" {
		d.word = word
	}
	if native != "" {
		d.native = native
	}
	if d.whole && isBlank(delta) || !d.w.Wrote() && (isNull(delta) || word != "" && isBlank(delta)) {
		// A whole completion, or one sent as the only chunk of a stream. In
		// addition to a delta, Perplexity sends a message that repeats all text
		// so far.
		delta = message
	}
	return d.delta(delta)
}

// delta decodes the content of a chunk, or a complete message.
func (d *decoder) delta(raw []byte) bool {
	var content, refusal, toolCalls, legacy, audio []byte
	var thought thought
	var more object
	for key, v := range members(raw) {
		switch string(key) {
		case "content":
			content = v
		case "refusal":
			refusal = v
		case "tool_calls":
			toolCalls = v
		case "function_call":
			legacy = v
		case "audio":
			audio = v
		case "annotations", "images", "citations":
			if string(v) != "[]" {
				more.set(string(key), v)
			}
		case fieldReasoningContent:
			thought.content = v
		case fieldReasoning:
			thought.plain = v
		case fieldDetails:
			thought.details = v
		case fieldExtra:
			d.reasoning.extra = append(d.reasoning.extra[:0], v...)
		}
	}
	if !d.think(thought) || !d.content(content) || !d.refuse(text(refusal)) {
		return false
	}
	for _, v := range elements(toolCalls) {
		if !d.call(v) {
			return false
		}
	}
	return d.speech(audio, &more) && d.keep(&more) && (isNull(legacy) || d.function(legacy))
}

// content decodes text, or a list of parts: Mistral's thinking models stream
// {"type":"thinking"} and {"type":"text"} parts.
func (d *decoder) content(raw []byte) bool {
	if len(raw) == 0 || raw[0] != '[' {
		return d.text(text(raw))
	}
	for _, part := range elements(raw) {
		if len(part) > 0 && part[0] == '"' {
			if !d.text(text(part)) {
				return false
			}
			continue
		}
		for key, v := range members(part) {
			ok := true
			switch string(key) {
			case "text":
				ok = d.text(text(v))
			case "refusal":
				ok = d.refuse(text(v))
			case "thinking":
				ok = d.reason(fieldContent, inner(v), false)
			}
			if !ok {
				return false
			}
		}
	}
	return true
}

// inner is the text of a thinking part: a string or a list of text parts.
func inner(raw []byte) string {
	if len(raw) == 0 || raw[0] != '[' {
		return text(raw)
	}
	var b strings.Builder
	for _, part := range elements(raw) {
		for key, v := range members(part) {
			if string(key) == "text" {
				b.WriteString(text(v))
			}
		}
	}
	return b.String()
}

func (d *decoder) text(s string) bool {
	return s == "" || d.w.Text(d.segment.key("text"), s)
}

func (d *decoder) refuse(s string) bool {
	return s == "" || d.w.Refusal(d.segment.key("refusal"), s)
}

// segment identifies the current content block: a new one starts when the kind
// of content changes, so that blocks keep the order of the answer.
type segment struct {
	kind string
	n    int
	name string
}

func (s *segment) key(kind string) string {
	if s.kind != kind {
		s.n++
		s.kind, s.name = kind, kind+strconv.Itoa(s.n)
	}
	return s.name
}

// count reads a usage object. Providers repeat it, cumulative or corrected: the
// last non-empty one counts, nothing is summed.
func (d *decoder) count(raw []byte) {
	var u events.Usage
	for key, v := range members(raw) {
		switch string(key) {
		case "prompt_tokens":
			u.InputTokens = number(v)
		case "completion_tokens":
			u.OutputTokens = number(v)
		case "total_tokens":
			u.TotalTokens = number(v)
		case "prompt_cache_hit_tokens", "cached_tokens": // DeepSeek, Moonshot
			if n := number(v); u.CachedInputTokens == nil && n != nil && *n > 0 {
				u.CachedInputTokens = n
			}
		case "prompt_tokens_details":
			for key, v := range members(v) {
				if string(key) == "cached_tokens" {
					u.CachedInputTokens = number(v)
				}
			}
		case "completion_tokens_details":
			for key, v := range members(v) {
				if string(key) == "reasoning_tokens" {
					u.ReasoningTokens = number(v)
				}
			}
		}
	}
	if u != (events.Usage{}) {
		d.usage = &u
	}
}

// finish maps the provider's finish reason. Routers also pass on the host's own
// reason, which may say that the output limit was reached while the router's
// says "tool_calls".
func finish(word, native string) events.Finish {
	switch strings.ToLower(native) {
	case "length", "max_tokens", "max_output_tokens":
		return events.FinishLength
	}
	switch strings.ToLower(word) {
	case "":
		return ""
	case "stop", "eos", "end_turn", "stop_sequence", "complete":
		return events.FinishStop
	case "tool_calls", "tool_use", "function_call":
		return events.FinishToolCalls
	case "length", "max_tokens", "max_output_tokens", "model_length":
		return events.FinishLength
	case "content_filter", "safety", "refusal":
		return events.FinishContentFilter
	}
	return events.FinishOther
}

// failedWord returns the error that a special finish_reason means: OpenRouter
// writes "error", DeepSeek "insufficient_system_resource" when it breaks off.
func failedWord(word string) *events.Error {
	switch word {
	case "error", "insufficient_system_resource":
		return &events.Error{Class: events.ErrOverloaded, Code: word,
			Message: "the provider aborted the answer with finish_reason " + word + ": try again"}
	}
	return nil
}
