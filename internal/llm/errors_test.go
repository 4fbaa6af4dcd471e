package llm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/events"
)

func TestTheClassOfAnErrorInsideTheStream(t *testing.T) {
	cases := []struct {
		name  string
		body  string
		class events.ErrorClass
		code  string
		says  string
	}{
		{"openai's server error is overload", `{"message":"The server had an error while processing your request. Sorry about that!","type":"server_error","param":null,"code":null}`, events.ErrOverloaded, "server_error", "The server had an error"},
		{"anthropic's overload is overload", `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, events.ErrOverloaded, "overloaded_error", "Overloaded"},
		{"an account without money cannot be waited for", `{"error":{"code":"insufficient_quota","message":"You exceeded your current quota, please check your plan and billing details."}}`, events.ErrAuth, "insufficient_quota", "quota"},
		{"the type tells an account without money too", `{"error":{"type":"insufficient_quota","code":"429","message":"quota"}}`, events.ErrAuth, "insufficient_quota", "quota"},
		{"google's quota per minute can be waited for", `[{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details.","status":"RESOURCE_EXHAUSTED"}}]`, events.ErrRateLimited, "429", "quota"},
		{"llama.cpp's full context is no plain invalid request", `{"code":400,"message":"the request exceeds the available context size. try increasing the context size or enable context shift","type":"invalid_request_error"}`, events.ErrContextLength, "400", "context size"},
		{"gpustack's two messages are one", `{"detail":"failed to decode, try again, increasing context size or reducing parallel","error":{"message":"failed to decode, try again, increasing context size or reducing parallel"}}`, events.ErrContextLength, "", "failed to decode"},
		{"a model without tools is unsupported", `{"error":"registry.ollama.ai/library/gemma does not support tools"}`, events.ErrUnsupported, "", "does not support tools"},
		{"a model without thinking is unsupported", `"\"gemma\" does not support thinking"`, events.ErrUnsupported, "", "thinking"},
		{"a router that finds no host with tools is unsupported", `{"error":{"message":"No endpoints found that support tool use.","code":404}}`, events.ErrUnsupported, "404", "tool use"},
		{"groq's failed call is an invalid request that shows the call", `{"error":{"message":"Failed to call a function.","type":"invalid_request_error","code":"tool_use_failed","failed_generation":"<function=f>"}}`, events.ErrInvalidRequest, "tool_use_failed", "<function=f>"},
		{"an error of the router's host has the host's text", `{"error":{"code":429,"message":"Provider returned error","metadata":{"raw":"slow down","provider_name":"Host"}}}`, events.ErrRateLimited, "429", "slow down"},
		{"a code that is a status decides where words are vague", `{"error":{"code":400,"message":"Token limit reached"}}`, events.ErrInvalidRequest, "400", "Token limit reached"},
		{"azure's filter is a content filter", `{"error":{"code":"BadRequest","message":"no","innererror":{"code":"ResponsibleAIPolicyViolation"}}}`, events.ErrContentFilter, "BadRequest", "no"},
		{"a plain string is a message", `"something broke"`, events.ErrInternal, "", "something broke"},
		{"text that is no JSON is a message", `upstream connect error`, events.ErrOverloaded, "", "upstream connect error"},
		{"a code beside a string counts", `{"error":"no","code":"rate_limit_exceeded"}`, events.ErrRateLimited, "rate_limit_exceeded", "no"},
		{"an object without a message is quoted", `{"a":1}`, events.ErrInternal, "", `{"a":1}`},
		{"fastapi's list of details is quoted", `{"detail":[{"msg":"field required"}]}`, events.ErrInternal, "", "field required"},
		{"nothing at all is an error", ``, events.ErrInternal, "", ""},
		{"null is an error", `null`, events.ErrInternal, "", "null"},
		{"a web page is recognized by its title", "<!DOCTYPE html><html><head><TITLE>\n Sign in\n</TITLE>", events.ErrInvalidRequest, "", "(Sign in)"},
		{"a gateway's page of an overload is one", "<html><title>503 Service Temporarily Unavailable</title>", events.ErrOverloaded, "", "503"},
		{"fields of other types do no harm", `{"error":{"message":{"en":"bad"},"type":3,"code":null}}`, events.ErrInternal, "3", `{"en":"bad"}`},
		{"errors within errors end somewhere", strings.Repeat(`{"error":`, 20) + `"x"` + strings.Repeat("}", 20), events.ErrInternal, "", "x"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			e := FromPayload([]byte(c.body))
			if e.Class != c.class || e.Code != c.code || !strings.Contains(e.Message, c.says) {
				t.Errorf("got class %s, code %q, %q; want %s, %q, %q", e.Class, e.Code, e.Message, c.class, c.code, c.says)
			}
			if e.Class == events.ErrAuth && e.Retryable() {
				t.Error("it is retried")
			}
		})
	}
}

func TestTheClassOfARefusedRequest(t *testing.T) {
	cases := []struct {
		name   string
		status int
		body   string
		class  events.ErrorClass
	}{
		{"401 is the key", 401, `{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}`, events.ErrAuth},
		{"401 is the key whatever the words", 401, `{"error":"not supported"}`, events.ErrAuth},
		{"402 is the money", 402, `{"error":{"message":"Insufficient Balance"}}`, events.ErrAuth},
		{"403 with a flag is the content", 403, `{"error":{"code":403,"message":"Your input was flagged"}}`, events.ErrContentFilter},
		{"404 is the request", 404, `{"error":{"message":"The model x does not exist","code":"model_not_found"}}`, events.ErrInvalidRequest},
		{"429 can be waited for", 429, `{"error":{"message":"Rate limit reached","code":"rate_limit_exceeded"}}`, events.ErrRateLimited},
		{"429 without money cannot", 429, `{"error":{"type":"insufficient_quota","code":"insufficient_quota"}}`, events.ErrAuth},
		{"429 for a request that never fits is its length", 429, `{"error":{"message":"Request too large for m on tokens per min (TPM): Limit 10, Requested 20","code":"rate_limit_exceeded"}}`, events.ErrContextLength},
		{"413 is the length", 413, `too big`, events.ErrContextLength},
		{"529 is overload", 529, `{"error":{"type":"overloaded_error"}}`, events.ErrOverloaded},
		{"500 with a full context is its length", 500, `{"error":"context size exceeded"}`, events.ErrContextLength},
		{"502 with a web page is overload", 502, `<html><title>502 Bad Gateway</title></html>`, events.ErrOverloaded},
		{"500 whatever the words is overload", 500, `{"error":"invalid"}`, events.ErrOverloaded},
		{"400 is the request though it speaks of a timeout", 400, `{"error":"invalid timeout"}`, events.ErrInvalidRequest},
		{"400 with a bad key is the key", 400, `[{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT"}}]`, events.ErrAuth},
		{"400 without money is the money", 400, `{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low"}}`, events.ErrAuth},
		{"400 for reasoning that was dropped is the request", 400, `{"error":{"message":"The reasoning_content in the thinking mode must be passed back"}}`, events.ErrInvalidRequest},
		{"400 for tools is unsupported", 400, `{"error":"registry.ollama.ai/library/x does not support tools"}`, events.ErrUnsupported},
		{"an empty body leaves the status", 503, ``, events.ErrOverloaded},
		{"200 leaves the words", 200, `{"error":{"message":"Overloaded"}}`, events.ErrOverloaded},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			e := FromHTTP(c.status, nil, []byte(c.body))
			if e.Class != c.class || e.HTTPStatus != c.status {
				t.Errorf("got class %s, status %d, want %s: %s", e.Class, e.HTTPStatus, c.class, e.Message)
			}
			if c.status != 200 && !strings.Contains(e.Message, fmt.Sprint(c.status)) {
				t.Errorf("the message hides the status: %q", e.Message)
			}
		})
	}
}

func TestHowLongToWait(t *testing.T) {
	head := func(key, value string) http.Header { return http.Header{key: {value}} }
	cases := []struct {
		name   string
		header http.Header
		body   string
		ms     int64
	}{
		{"Retry-After in seconds", head("Retry-After", "1.5"), "", 1500},
		{"Retry-After-Ms", head("Retry-After-Ms", "250"), "", 250},
		{"no number of days is too many for the clock", head("Retry-After", "1e300"), "", 86_400_000},
		{"a date in the past is now", head("Retry-After", "Mon, 02 Jan 2006 15:04:05 GMT"), "", 1},
		{"nothing is now", head("Retry-After", "0"), "", 1},
		{"less than nothing is now", head("Retry-After", "-5"), "", 1},
		{"not a number is nothing", head("Retry-After", "nan"), "", 0},
		{"nonsense is nothing", head("Retry-After", "soon"), "", 0},
		{"OpenAI and Groq say it", nil, `{"error":{"message":"Please try again in 1m2.5s. Visit"}}`, 62_500},
		{"milliseconds too", nil, `{"error":{"message":"Please try again in 850ms."}}`, 850},
		{"Azure says it", nil, `{"error":{"message":"Please retry after 20 seconds."}}`, 20_000},
		{"Google says it", nil, `{"error":{"code":429,"details":[{"retryDelay":"22s"}]}}`, 22_000},
		{"the header counts before the words", head("Retry-After", "3"), `{"error":"try again in 9s"}`, 3000},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := FromHTTP(429, c.header, []byte(c.body)).RetryAfterMS; got != c.ms {
				t.Errorf("got %d ms, want %d", got, c.ms)
			}
		})
	}
	t.Run("Retry-After as a date", func(t *testing.T) {
		at := time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)
		if d := FromHTTP(429, head("Retry-After", at), nil).RetryAfter(); d < 50*time.Second || d > time.Minute {
			t.Errorf("got %v, want about a minute", d)
		}
	})
}

func TestFromRead(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	idle, stop := context.WithCancelCause(t.Context())
	stop(&events.Error{Class: events.ErrIdle, Message: "nothing came for a minute"})
	cases := []struct {
		name  string
		ctx   context.Context
		class events.ErrorClass
	}{
		{"a lost connection is the network", t.Context(), events.ErrNetwork},
		{"a cancelled request is cancelled", cancelled, events.ErrCancelled},
		{"a cancel for a reason has that reason", idle, events.ErrIdle},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if e := FromRead(c.ctx, errors.New("reset")); e.Class != c.class {
				t.Errorf("got %v, want class %s", e, c.class)
			}
		})
	}
}

func FuzzFromPayload(f *testing.F) {
	for _, s := range []string{`{"error":{"message":"x"}}`, `[[["x"]]]`, `"x"`, `<title>`, "\xff", `{"error":{"error":[{}]}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if e := FromHTTP(429, http.Header{}, raw); e.Class == "" || e.RetryAfterMS < 0 {
			t.Errorf("%+v", e)
		}
	})
}

func TestATimeToRetryAtIsReadByTheProvidersClock(t *testing.T) {
	const date, later = "Fri, 01 Jan 2010 00:00:00 GMT", "Fri, 01 Jan 2010 00:00:07 GMT"
	header := http.Header{"Retry-After": {later}, "Date": {date}}
	if got := FromHTTP(http.StatusTooManyRequests, header, nil).RetryAfter(); got != 7*time.Second {
		t.Errorf("it is to be asked again after %v", got)
	}
}
