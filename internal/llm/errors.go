package llm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/events"
)

// FromHTTP makes the error of an answer that was refused: an HTTP status other
// than 2xx, or a body that is not the stream that was asked for.
func FromHTTP(status int, header http.Header, body []byte) *events.Error {
	e := FromPayload(body)
	e.HTTPStatus = status
	if c := classOfStatus(status); e.Class == events.ErrInternal || (c != events.ErrInternal && c != events.ErrInvalidRequest) {
		if c != "" && !(e.Class == events.ErrContextLength || e.Class == events.ErrUnsupported) {
			e.Class = c
		}
	}
	if d := retryAfter(header); d > 0 {
		e.RetryAfterMS = d.Milliseconds()
	}
	if status >= 300 || status < 200 {
		e.Message = fmt.Sprintf("HTTP %d: %s", status, e.Message)
	}
	return e
}

// FromPayload makes the error of an error object as providers write it: an
// object, an object in "error" or "detail", a string, or text that is no JSON.
// The class is guessed from type, code and words; it is ErrInternal when
// nothing is known.
func FromPayload(raw []byte) *events.Error {
	raw = bytes.TrimSpace(raw)
	var v struct {
		Error   json.RawMessage `json:"error"`
		Message string          `json:"message"`
		Detail  json.RawMessage `json:"detail"`
		Type    string          `json:"type"`
		Code    json.RawMessage `json:"code"`
	}
	var text string
	switch {
	case json.Unmarshal(raw, &text) == nil:
		return &events.Error{Class: classOfWords("", text), Message: text}
	case json.Unmarshal(raw, &v) != nil:
		text = string(raw)
		if len(text) > 500 {
			text = text[:500] + "…"
		}
		return &events.Error{Class: events.ErrInternal, Message: strings.ToValidUTF8(text, "\uFFFD")}
	}
	if len(v.Error) > 0 && string(v.Error) != "null" {
		return FromPayload(v.Error)
	}
	e := &events.Error{Message: v.Message, Code: v.Type}
	if code := strings.Trim(string(v.Code), `"`); code != "" && code != "null" {
		e.Code = code
	}
	if e.Message == "" && len(v.Detail) > 0 {
		if json.Unmarshal(v.Detail, &e.Message) != nil {
			e.Message = string(v.Detail)
		}
	}
	if e.Message == "" {
		e.Message = string(raw)
	}
	e.Class = classOfWords(v.Type+" "+e.Code, e.Message)
	if status, err := strconv.Atoi(e.Code); err == nil && e.Class == events.ErrInternal {
		if c := classOfStatus(status); c != "" {
			e.Class = c
		}
	}
	return e
}

// FromRead makes the error of a request or a body that could not be read.
func FromRead(ctx context.Context, err error) *events.Error {
	if cause := context.Cause(ctx); cause != nil {
		var e *events.Error
		if errors.As(cause, &e) {
			return e
		}
		return &events.Error{Class: events.ErrCancelled, Message: "the request was cancelled: " + cause.Error()}
	}
	return &events.Error{Class: events.ErrNetwork, Message: "the connection to the provider failed: " + err.Error()}
}

func classOfStatus(status int) events.ErrorClass {
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusPaymentRequired:
		return events.ErrAuth
	case status == http.StatusTooManyRequests:
		return events.ErrRateLimited
	case status == http.StatusServiceUnavailable || status == 529:
		return events.ErrOverloaded
	case status == http.StatusRequestTimeout || status == http.StatusConflict || status >= 500:
		return events.ErrOverloaded
	case status >= 400:
		return events.ErrInvalidRequest
	}
	return ""
}

// words maps what providers write into types, codes and messages to a class;
// the first match stands.
var words = []struct {
	class events.ErrorClass
	any   []string
}{
	{events.ErrContextLength, []string{"context_length", "context length", "context size", "context window", "maximum context", "prompt is too long", "too many tokens"}},
	{events.ErrUnsupported, []string{"does not support", "not supported", "unsupported"}},
	{events.ErrContentFilter, []string{"content_filter", "content_policy", "content management policy", "responsibleai"}},
	{events.ErrRateLimited, []string{"rate_limit", "rate limit", "too many requests", "insufficient_quota", "quota"}},
	{events.ErrOverloaded, []string{"overloaded", "server_error", "server error", "api_error", "unavailable", "try again", "timeout"}},
	{events.ErrAuth, []string{"authentication", "invalid_api_key", "unauthorized", "permission", "api key"}},
	{events.ErrInvalidRequest, []string{"invalid_request", "invalid request", "tool_use_failed", "not_found", "invalid"}},
}

func classOfWords(code, message string) events.ErrorClass {
	for _, text := range []string{strings.ToLower(code), strings.ToLower(message)} {
		for _, w := range words {
			for _, s := range w.any {
				if strings.Contains(text, s) {
					return w.class
				}
			}
		}
	}
	return events.ErrInternal
}

func retryAfter(h http.Header) time.Duration {
	if ms, err := strconv.ParseFloat(h.Get("Retry-After-Ms"), 64); err == nil && ms > 0 {
		return time.Duration(ms * float64(time.Millisecond))
	}
	v := h.Get("Retry-After")
	if s, err := strconv.ParseFloat(v, 64); err == nil && s > 0 {
		return time.Duration(s * float64(time.Second))
	}
	if t, err := http.ParseTime(v); err == nil {
		if d := time.Until(t); d > 0 {
			return d
		}
	}
	return 0
}
