package transcript

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

// Values of [llm.Request.Demand].
const (
	DemandReasoning = "reasoning_content" // in each assistant message
	DemandSignature = "thought_signature" // in calls
	DemandLeniency  = "block_binding"     // Anthropic's: drop thinking that does not fit instead of refusing it
)

// Reduce returns the request with which to ask again after the provider refused the
// history before it answered, and reports whether there is one: first with the field
// that the refusal demands, then with more and more of the history left out. The
// current turn stays whole, apart from its carries. left is how often the request may
// still be sent.
//
// Images and files are left out first, unless the refusal names something else: which
// models take them is not known everywhere.
func Reduce(name string, req llm.Request, refusal *events.Error, left int) (llm.Request, bool) {
	if left <= 0 {
		return req, false
	}
	if !req.NoImages && sends(req) && refusesImages(refusal) {
		req.NoImages = true
		req.Messages = Fit(name, req, Rules{}) // for providers that do not fit it themselves
		return req, true
	}
	if !refusesHistory(refusal) {
		return req, false
	}
	if req.Demand == "" {
		if demand := demandOf(refusal); demand != "" {
			req.Demand = demand
			return req, true
		}
	}
	was := shape(name, req)
	for _, o := range []events.Omission{events.OmitCarries, events.OmitCalls, events.OmitTurns} {
		if req.Omit.Includes(o) || o == events.OmitCalls && left == 1 {
			continue // the last request is the one that leaves out most
		}
		next := req
		next.Omit = o
		if shape(name, next) != was {
			next.Messages = Fit(name, next, Rules{}) // for providers that do not fit it themselves
			return next, true
		}
	}
	return req, false
}

// demandOf returns the field that a refusal demands.
func demandOf(refusal *events.Error) string {
	for _, demand := range []string{DemandReasoning, DemandSignature, DemandLeniency} {
		if strings.Contains(refusal.Message, demand) {
			return demand
		}
	}
	return ""
}

// sends reports whether a request has images or files.
func sends(req llm.Request) bool {
	return slices.ContainsFunc(req.Messages, func(m events.Message) bool { return slices.ContainsFunc(m.Parts, HasMedia) })
}

// refusesImages reports whether a refusal may be about images and files: it names
// them, or it is about the content of messages and names no other part of it.
func refusesImages(refusal *events.Error) bool {
	text := strings.ToLower(refusal.Code + " " + refusal.Message)
	named := containsAny(text, "image", "vision", "multimodal", "multi-modal", "modalit", "mmproj", "picture", "media", "pdf", "document", "input_file", "file_data", "'file'", "base64")
	switch refusal.HTTPStatus {
	case 0, http.StatusBadRequest, http.StatusUnprocessableEntity:
		return named || refusal.Class == events.ErrInvalidRequest && refusesHistory(refusal) &&
			!containsAny(text, "signature", "thinking", "reasoning", "encrypted", "tool_call", "tool_use", "tool call", "function call", "alternate", "role", "surrogate")
	case http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType:
		return true
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return false
	}
	return named // 404 of OpenRouter, 500 of llama.cpp
}

// refusesHistory reports whether a refusal may be about the history: not if it is
// clearly about something else. Asking once more costs nothing, and a history that is
// refused is refused in every later turn.
func refusesHistory(refusal *events.Error) bool {
	text := strings.ToLower(refusal.Code + " " + refusal.Message)
	switch refusal.HTTPStatus {
	case 0, http.StatusBadRequest, http.StatusUnprocessableEntity:
	default: // servers of chat templates report a template's error as their own
		return containsAny(text, "must alternate", "jinja", "chat template", "chat_template")
	}
	return refusal.Class == events.ErrInvalidRequest && !containsAny(text,
		"unsupported_parameter", "unsupported parameter", "unknown_parameter", "unknown parameter", "unsupported_value", "unsupported value",
		"invalid_function_parameters", "schema for function", "input_schema", "'tools", "tools.", "tools[", "tool_use_failed",
		"model_not_found", "model not found", "max_tokens", "max_completion_tokens", "temperature", "web page", "base url")
}

func containsAny(text string, words ...string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, w) })
}

// counts is what a request has of a history.
type counts struct{ messages, parts, own int }

// shape returns what changes when something is left out.
func shape(name string, req llm.Request) (c counts) {
	for _, m := range Fit(name, req, Rules{}) {
		c.messages++
		for _, p := range m.Parts {
			c.parts++
			if m.Provider != "" && (len(p.Carry) > 0 || p.Kind == events.PartReasoning || p.Kind == events.PartCall && p.ProviderID != "") {
				c.own++
			}
		}
	}
	return c
}

// Advise returns the error of a request that is not made again, with what was left
// out and what to do next.
func Advise(refusal *events.Error, req llm.Request) *events.Error {
	e := *refusal
	switch {
	case refusal.Class == events.ErrContextLength && oneTurn(req.Messages):
		e.Message = strings.TrimRight(e.Message, ". ") + ": this turn alone is longer than the model's window; " + smaller(req) + ", or choose a model with a larger window (parley ask --model PROVIDER/MODEL)"
	case refusal.Class == events.ErrContextLength:
		e.Message = strings.TrimRight(e.Message, ". ") + ": the conversation is longer than the model's window; shorten it (parley compact CONVERSATION), start a new one (parley ask without -c), or choose a model with a larger window (parley ask --model PROVIDER/MODEL)"
	case req.Omit != events.OmitNothing && refusesHistory(refusal):
		e.Message += fmt.Sprintf(" (also refused without %s: start a new conversation, or choose another model)", req.Omit.Words())
	default:
		return refusal
	}
	return &e
}

// oneTurn reports whether messages have no more than one turn: a compaction would leave
// nothing out of them.
func oneTurn(messages []events.Message) bool {
	turns := 0
	for _, m := range messages {
		if m.Role == events.RoleUser && m.By == "" {
			turns++
		}
	}
	return turns < 2
}

// smaller says what could be shorter in a request of one turn.
func smaller(req llm.Request) string {
	has := func(kinds ...events.PartKind) bool {
		return slices.ContainsFunc(req.Messages, func(m events.Message) bool {
			return slices.ContainsFunc(m.Parts, func(p events.Part) bool { return slices.Contains(kinds, p.Kind) })
		})
	}
	what := []string{"send a shorter message"}
	if has(events.PartImage, events.PartFile) {
		what = append(what, "attach smaller or fewer files")
	}
	if has(events.PartResult) {
		what = append(what, "ask for less at once, so that tools return less")
	}
	if len(req.Tools) > 0 {
		what = append(what, "offer fewer tools (parley ask --tools NAMES)")
	}
	return strings.Join(what, ", ")
}
