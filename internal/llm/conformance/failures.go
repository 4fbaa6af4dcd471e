package conformance

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
)

func (c Case) refusals(t *testing.T) {
	const object = `{"error":{"message":"no such luck","type":"x"}}`
	after := map[string]string{"Retry-After": "7"}
	for _, r := range []struct {
		name  string
		reply answer
		class events.ErrorClass
		words string
		wait  int64 // ms
	}{
		{"401 is a matter of the key", answer{status: 401, body: object}, events.ErrAuth, "no such luck", 0},
		{"403 is a matter of the key", answer{status: 403, body: object}, events.ErrAuth, "no such luck", 0},
		{"413 is a request that is too long", answer{status: 413, body: object}, events.ErrContextLength, "no such luck", 0},
		{"429 says how long to wait", answer{status: 429, header: after, body: object}, events.ErrRateLimited, "no such luck", 7000},
		{"429 of an account without money is not waited for", answer{status: 429, body: `{"error":{"message":"pay","code":"insufficient_quota"}}`}, events.ErrAuth, "pay", 0},
		{"500 may pass", answer{status: 500, body: object}, events.ErrOverloaded, "no such luck", 0},
		{"503 may pass and says when", answer{status: 503, header: after, body: object}, events.ErrOverloaded, "no such luck", 7000},
		{"529 may pass", answer{status: 529, body: object}, events.ErrOverloaded, "no such luck", 0},
		{"a refusal may be a string in an object", answer{status: 400, body: `{"error":"no such luck"}`}, events.ErrInvalidRequest, "no such luck", 0},
		{"a refusal may be a string", answer{status: 400, body: `"no such luck"`}, events.ErrInvalidRequest, "no such luck", 0},
		{"a refusal may be no JSON", answer{status: 400, contentType: "text/plain", body: `no such luck`}, events.ErrInvalidRequest, "no such luck", 0},
		{"a gateway's page keeps its status", answer{status: 502, contentType: "text/html", body: `<html><title>no such luck</title>`}, events.ErrOverloaded, "no such luck", 0},
		{"a refusal may be empty", answer{status: 500}, events.ErrOverloaded, "HTTP 500", 0},
		{"what is neither an answer nor a refusal is an error", answer{status: 304}, events.ErrInvalidRequest, "HTTP 304", 0},
	} {
		t.Run(r.name, func(t *testing.T) {
			if r.reply.contentType == "" {
				r.reply.contentType = "application/json"
			}
			p, s := c.start(t, r.reply)
			err := failed(t, read(t, p.Stream(t.Context(), c.Calls)), r.class)
			if !strings.Contains(err.Message, r.words) || err.HTTPStatus != r.reply.status || err.RetryAfterMS != r.wait {
				t.Errorf("the error is %+v", err)
			}
			if n := s.requests(); n != 1 {
				t.Errorf("the server is asked %d times: the bus retries, adapters do not", n)
			}
		})
	}
}

// particular tests the provider's own refusals, for requests with a tool.
func (c Case) particular(t *testing.T) {
	req := c.Calls
	req.Tools = []events.ToolSpec{{Name: Tool}}
	for _, r := range c.Wire.Refusals {
		t.Run(r.Name, func(t *testing.T) {
			p, _ := c.start(t, answer{status: r.Status, header: r.Header, contentType: "application/json", body: r.Body})
			if err := failed(t, read(t, p.Stream(t.Context(), req)), r.Want.Class); *err != r.Want {
				t.Errorf("the error is\n%+v, want\n%+v", *err, r.Want)
			}
		})
	}
}

// endless tests that reading a refusal is bounded.
func (c Case) endless(t *testing.T) {
	p, s := c.start(t, answer{status: 500, contentType: "text/plain", body: strings.Repeat("x", 1<<16), then: again})
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	failed(t, read(t, p.Stream(ctx, c.Calls)), events.ErrOverloaded)
	s.disconnected(t)
}

func (c Case) notAnswers(t *testing.T) {
	const overload = `{"error":{"message":"the server is overloaded","type":"overloaded_error"}}`
	for _, a := range []struct {
		name  string
		reply answer
		class events.ErrorClass
		words string
		text  string
	}{
		{"an error as JSON under 200 is the error", answer{contentType: "application/json", body: overload}, events.ErrOverloaded, "the server is overloaded", ""},
		{"a page under 200 tells its title", answer{contentType: "text/html; charset=utf-8", body: "<!doctype html>\n<title>Sign in</title>"}, events.ErrInvalidRequest, "Sign in", ""},
		{"a page that is labelled a stream is one", answer{contentType: c.Wire.ContentType, body: "\n<!doctype html>\n<p>"}, events.ErrInvalidRequest, "web page", ""},
		{"a page of an overload may pass", answer{contentType: "text/html", body: `<html><title>503 Service Unavailable</title>`}, events.ErrOverloaded, "503", ""},
		{"an empty body was cut", answer{contentType: c.Wire.ContentType}, events.ErrCut, "empty", ""},
		{"an empty body in place of a whole answer was cut", answer{contentType: "application/json"}, events.ErrCut, "empty", ""},
		{"a body that ends too early was cut", answer{contentType: c.Wire.ContentType, body: c.Wire.Beginning}, events.ErrCut, "cut", Beginning},
		{"an error within the stream keeps what came before", answer{contentType: c.Wire.ContentType, body: c.Wire.Failed}, events.ErrOverloaded, "", Beginning},
	} {
		t.Run(a.name, func(t *testing.T) {
			p, _ := c.start(t, a.reply)
			got := read(t, p.Stream(t.Context(), c.Calls))
			err := failed(t, got, a.class)
			if got.Text != a.text || !strings.Contains(err.Message, a.words) {
				t.Errorf("the answer is %q with error %v", got.Text, err)
			}
			if a.class == events.ErrCut && got.End.Terminated {
				t.Error("the answer is called terminated")
			}
		})
	}
}

func (c Case) network(t *testing.T) {
	t.Run("a server that does not listen is reported", func(t *testing.T) {
		s := httptest.NewServer(nil)
		s.Close()
		err := failed(t, read(t, c.New(s.URL, s.Client()).Stream(t.Context(), c.Calls)), events.ErrNetwork)
		if !strings.Contains(err.Message, "refused") {
			t.Errorf("the error is %v", err)
		}
	})
	t.Run("a connection that breaks keeps what came before", func(t *testing.T) {
		p, _ := c.start(t, answer{contentType: c.Wire.ContentType, body: c.Wire.Beginning, then: reset})
		got := read(t, p.Stream(t.Context(), c.Calls))
		if err := failed(t, got, events.ErrNetwork); got.Text != Beginning || !err.Retryable() || got.End.Terminated {
			t.Errorf("the answer is %q with end %+v", got.Text, got.End)
		}
	})
	t.Run("an answer that is complete does not wait for the connection's end", func(t *testing.T) {
		p, _ := c.start(t, answer{contentType: c.Wire.ContentType, body: c.Wire.Calls, then: stall})
		checkContent(t, read(t, p.Stream(t.Context(), c.Calls)))
	})
	t.Run("an invalid base URL is reported", func(t *testing.T) {
		got := read(t, c.New("http://bad host", nil).Stream(t.Context(), c.Calls))
		failed(t, got, events.ErrInvalidRequest)
	})
}
