package llm

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/events"
)

// FromHTTP returns the error of a refusal: an HTTP status other than 2xx, or a
// body that is not the requested stream. The class follows from the body's text
// and the status as in [FromPayload]; RetryAfterMS from Retry-After-Ms,
// Retry-After, or the text of the message, at most a day; 1 for a delay that is over.
func FromHTTP(status int, header http.Header, body []byte) *events.Error {
	e := FromPayload(body)
	e.HTTPStatus = status
	e.Class = weigh(e.Class, status)
	if len(bytes.TrimSpace(body)) == 0 {
		e.Message = "the provider gave no details; see " + cmp.Or(http.StatusText(status), "its documentation")
	}
	e.RetryAfterMS = cmp.Or(retryAfter(header), delayOf(e.Class, body)).Milliseconds()
	if status >= 300 || status < 200 {
		e.Message = fmt.Sprintf("HTTP %d: %s", status, e.Message)
	}
	return e
}

// Bounds for error bodies.
const (
	maxQuote   = 500 // bytes quoted of a body that has no message of its own
	maxNesting = 8   // error objects within error objects
)

// FromPayload returns the error of a provider's error object: an object, an
// object in "error", "errors" or "detail", a list of them, a string, or text
// that is not JSON. The class follows from type, code and text; it is
// ErrInternal if nothing is known.
//
// An account without credit (insufficient_quota and the like) is ErrAuth
// although providers answer 429: ErrRateLimited is retried, and waiting does
// not help. Code distinguishes it from a wrong key.
func FromPayload(raw []byte) *events.Error {
	e := fromPayload(bytes.TrimSpace(raw), maxNesting)
	e.Message = strings.ToValidUTF8(e.Message, "\uFFFD")
	e.Code = strings.ToValidUTF8(e.Code, "\uFFFD")
	e.RetryAfterMS = delayOf(e.Class, raw).Milliseconds()
	return e
}

// FromRead returns the error of a request or a body that could not be read. A
// cancelled context takes precedence over err; if its cause is an
// [events.Error], FromRead returns the cause. If err is an [events.Error],
// FromRead returns err.
func FromRead(ctx context.Context, err error) *events.Error {
	if cause := context.Cause(ctx); cause != nil {
		if e, ok := errors.AsType[*events.Error](cause); ok {
			return e
		}
		return &events.Error{Class: events.ErrCancelled, Message: "the request was cancelled: " + cause.Error()}
	}
	if e, ok := errors.AsType[*events.Error](err); ok {
		return e
	}
	return &events.Error{Class: events.ErrNetwork, Message: fmt.Sprintf("the connection to the provider failed: %v", err)}
}

// FromBody returns the error of a body that could not be read: one from [Post] or
// [Accept] returns the reason of a cancellation itself.
func FromBody(err error) *events.Error { return FromRead(context.Background(), err) }

// payload is an error object of any provider. Fields stay raw: providers send
// each of them as a string, a number, an object or null.
type payload struct {
	Error    json.RawMessage `json:"error"`
	Errors   json.RawMessage `json:"errors"`
	Message  json.RawMessage `json:"message"`
	Detail   json.RawMessage `json:"detail"`
	Type     json.RawMessage `json:"type"`
	Code     json.RawMessage `json:"code"`
	Param    json.RawMessage `json:"param"`             // OpenAI: the field of the request
	Status   json.RawMessage `json:"status"`            // Google: RESOURCE_EXHAUSTED
	Inner    json.RawMessage `json:"innererror"`        // Azure: ResponsibleAIPolicyViolation
	Metadata json.RawMessage `json:"metadata"`          // OpenRouter: the host's own answer
	Failed   json.RawMessage `json:"failed_generation"` // Groq: the call that could not be parsed
}

func fromPayload(raw []byte, depth int) *events.Error {
	var said string
	var list []json.RawMessage
	var p payload
	switch {
	case string(raw) != "null" && json.Unmarshal(raw, &said) == nil:
		return &events.Error{Class: classOfWords("", said), Message: said}
	case depth > 0 && json.Unmarshal(raw, &list) == nil && len(list) > 0:
		return fromPayload(list[0], depth-1)
	case json.Unmarshal(raw, &p) != nil:
		return fromText(string(raw))
	}
	typ, code := plain(p.Type), cmp.Or(plain(p.Code), plain(p.Status))
	for _, inner := range []json.RawMessage{p.Error, p.Errors} {
		if plain(inner) == "" || depth == 0 {
			continue
		}
		e := fromPayload(inner, depth-1)
		if e.Code == "" && code != "" { // {"error":"text","code":…}
			e.Code, e.Class = code, classOf(typ, code, e.Message)
		}
		return e
	}
	e := &events.Error{Code: cmp.Or(code, typ), Message: cmp.Or(plain(p.Message), plain(p.Detail))}
	if spent(typ, "") {
		e.Code = typ
	}
	if e.Message == "" {
		e.Message = clip(string(raw))
	}
	if param := plain(p.Param); param != "" && !strings.Contains(e.Message, param) && (strings.Contains(code, "param") || strings.Contains(code, "value")) {
		e.Message += ": " + clip(param)
	}
	for _, more := range []json.RawMessage{p.Metadata, p.Failed} {
		if s := plain(more); s != "" {
			e.Message += ": " + clip(s)
		}
	}
	e.Class = classOf(strings.Join([]string{typ, plain(p.Status), plain(p.Inner)}, " "), code, e.Message)
	return e
}

// plain returns a field as text: a string unquoted, null as "", other values as
// JSON.
func plain(raw json.RawMessage) string {
	var s string
	if len(raw) == 0 || json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

// fromText returns the error of text that is not JSON; of a web page it uses
// the title. A page without an error message does not come from the provider.
func fromText(text string) *events.Error {
	if !strings.HasPrefix(text, "<") {
		said := clip(text)
		return &events.Error{Class: classOfWords("", said), Message: said}
	}
	title := "without a title"
	if m := regexp.MustCompile(`(?is)<title[^>]*>\s*(.*?)\s*</title`).FindStringSubmatch(text); m != nil {
		title = m[1]
	}
	e := &events.Error{Class: classOfWords("", clip(title)),
		Message: fmt.Sprintf("received a web page (%s) instead of an answer: check the base URL and any proxy or gateway in between", clip(title))}
	if e.Class == events.ErrInternal {
		e.Class = events.ErrInvalidRequest
	}
	return e
}

func clip(s string) string {
	if len(s) > maxQuote {
		return s[:maxQuote] + "…"
	}
	return s
}

// classOf finds the class of an error object. Several providers repeat the HTTP
// status as the code; within HTTP 200 only the code has it.
func classOf(typ, code, message string) events.ErrorClass {
	class := classOfWords(typ+" "+code, message)
	if status, err := strconv.Atoi(code); err == nil {
		return weigh(class, status)
	}
	return class
}

// weigh chooses between the class of the text and the class of the status. The
// text wins if it names an error that neither waiting nor another key can fix,
// or an account without credit; otherwise the status wins.
func weigh(words events.ErrorClass, status int) events.ErrorClass {
	var by events.ErrorClass
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusPaymentRequired:
		by = events.ErrAuth
	case status == http.StatusRequestEntityTooLarge:
		by = events.ErrContextLength
	case status == http.StatusTooManyRequests:
		by = events.ErrRateLimited
	case status == http.StatusRequestTimeout || status == http.StatusConflict || status == http.StatusTooEarly || status >= 500 && status < 600:
		by = events.ErrOverloaded
	case status >= 300 && status < 500:
		by = events.ErrInvalidRequest
	default:
		return words
	}
	switch {
	case words == events.ErrContextLength, words == events.ErrContentFilter,
		words == events.ErrUnsupported && by != events.ErrAuth,
		words == events.ErrAuth && (by == events.ErrRateLimited || by == events.ErrInvalidRequest):
		return words
	}
	return by
}

// classOfWords maps the text of providers' types, codes and messages to a
// class; the first match wins. invalid_request_error is only a hint: OpenAI,
// Anthropic and llama.cpp also use it for prompts that are too long.
func classOfWords(code, message string) events.ErrorClass {
	type words struct {
		class events.ErrorClass
		any   []string
	}
	special := []words{
		{events.ErrContextLength, []string{"context_length", "context_window", "context length", "context size", "context window", "context limit",
			"maximum context", "prompt is too long", "input is too long", "too many tokens", "request_too_large", "request too large",
			"exceeds the maximum number of tokens", "reduce the length"}},
		{events.ErrUnsupported, []string{"does not support", "not supported", "unsupported", "no endpoints found that support", "enable-auto-tool-choice"}},
		{events.ErrAuth, []string{"api key not valid", "api_key_invalid"}}, // Google sends it as an invalid argument
		{events.ErrContentFilter, []string{"content_filter", "content filter", "content_policy", "content management policy", "responsibleai", "flagged"}},
	}
	general := []words{
		{events.ErrRateLimited, []string{"rate_limit", "rate limit", "ratelimit", "too many requests", "too_many_requests", "resource_exhausted", "quota"}},
		{events.ErrOverloaded, []string{"overloaded", "server_error", "server error", "api_error", "unavailable", "bad gateway", "try again",
			"timeout", "timed out", "time-out", "deadline_exceeded", "upstream", "provider returned error", "had an error"}},
		{events.ErrAuth, []string{"authentication", "unauthenticated", "invalid_api_key", "unauthorized", "permission", "forbidden", "api key", "api_key"}},
		{events.ErrInvalidRequest, []string{"invalid_request", "invalid request", "invalid_argument", "failed_precondition", "bad_request", "bad request",
			"tool_use_failed", "not_found", "not found", "invalid"}},
	}
	code, message = strings.ToLower(code), strings.ToLower(message)
	message = strings.ReplaceAll(message, "extra_forbidden", "extra field") // pydantic's word for an unknown field
	if spent(code, message) {
		return events.ErrAuth
	}
	for _, try := range []struct {
		list []words
		in   string
	}{{special, code}, {special, message}, {general, code}, {general, message}} {
		for _, w := range try.list {
			for _, s := range w.any {
				if strings.Contains(try.in, s) {
					return w.class
				}
			}
		}
	}
	return events.ErrInternal
}

// spent reports whether the account has no credit left. "You exceeded your
// current quota" is no proof: Google also sends it for a limit per minute.
func spent(code, message string) bool {
	for _, s := range []string{"insufficient_quota", "billing_hard_limit", "billing_not_active", "billing_error", "insufficient_balance", "insufficient_credit"} {
		if strings.Contains(code, s) {
			return true
		}
	}
	for _, s := range []string{"credit balance", "insufficient balance", "insufficient credits"} {
		if strings.Contains(message, s) {
			return true
		}
	}
	return false
}

// atOnce is the delay of a provider that asks to be called again now: unlike 0 it
// says that the provider named one.
const atOnce = time.Millisecond

func retryAfter(h http.Header) time.Duration {
	if ms, err := strconv.ParseFloat(h.Get("Retry-After-Ms"), 64); err == nil && !math.IsNaN(ms) {
		return seconds(ms / 1000)
	}
	v := h.Get("Retry-After")
	if s, err := strconv.ParseFloat(v, 64); err == nil && !math.IsNaN(s) {
		return seconds(s)
	}
	if t, err := http.ParseTime(v); err == nil {
		// Relative to the provider's clock: the local clock may differ.
		now, err := http.ParseTime(h.Get("Date"))
		if err != nil {
			now = time.Now()
		}
		return seconds(t.Sub(now).Seconds())
	}
	return 0
}

// delayOf returns the delay that the text of a retryable error names: OpenAI's
// and Groq's "try again in 7m12.5s", Azure's "retry after 20 seconds", Google's
// "retryDelay":"22s". 0 if it names none.
func delayOf(class events.ErrorClass, raw []byte) time.Duration {
	if class != events.ErrRateLimited && class != events.ErrOverloaded {
		return 0
	}
	m := regexp.MustCompile(`(?i)(?:try again in|retry in|retry after|"retryDelay":)[ "]*((?:[0-9.]+ *(?:h|ms|m|s))+)`).FindSubmatch(raw)
	if m == nil {
		return 0
	}
	d, err := time.ParseDuration(strings.ReplaceAll(strings.ToLower(string(m[1])), " ", ""))
	if err != nil || d <= 0 {
		return 0
	}
	return seconds(d.Seconds())
}

// seconds returns a duration from atOnce to a day: no provider means more, and a
// larger number would overflow.
func seconds(s float64) time.Duration {
	return max(time.Duration(min(max(s, 0), 24*60*60)*float64(time.Second)), atOnce)
}
