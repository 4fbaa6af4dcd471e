package web_test

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/tool/tooltest"
	"github.com/parleybus/parley/internal/tool/web"
)

// says is a server that always answers the same.
func says(t *testing.T, status int, body string, headers ...string) (url string, allow []string) {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		if _, err := io.WriteString(w, body); err != nil {
			t.Logf("the client went away: %v", err)
		}
	})
}

func TestWhatIsAnswered(t *testing.T) {
	for _, c := range []struct {
		name, body, response string
		status               int
		want                 string
	}{
		{"text is the result", "hello\n", "", 200, "hello\n"},
		{"bytes that are no UTF-8 are replaced", "caf\xe9", "text", 200, "caf\uFFFD"},
		{"an empty response is marked", " \n", "", 200, "(HTTP 200 OK: the answer is empty)"},
		{"no content is marked", "", "", 204, "(HTTP 204 No Content: the answer is empty)"},
		{"JSON is brought to one line", "{\"a\":\n [1, 2.0]}\n", "json", 201, `{"a":[1,2.0]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			url, allow := says(t, c.status, c.body)
			got, err := tooltest.Run(t, made(t, events.ToolSpec{}, web.Config{URL: url, Allow: allow, Response: c.response}), `{}`)
			if err != nil || got != c.want {
				t.Fatalf("got %q, %v", got, err)
			}
		})
	}
	t.Run("JSON is data, too", func(t *testing.T) {
		url, allow := says(t, 200, `{"a":1}`)
		var seen string
		it := made(t, events.ToolSpec{Output: json.RawMessage(`{}`)}, web.Config{URL: url + "/p?key=secret", Allow: allow})
		got, err := it.Run(t.Context(), tool.Input{Output: func(s string) { seen += s }})
		if err != nil || string(got.Structured) != `{"a":1}` {
			t.Fatal(got, err)
		}
		if seen != "HTTP 200 OK from "+url+"/p\n" {
			t.Fatalf("who watches sees %q", seen)
		}
	})
}

func TestAnswersThatAreFailures(t *testing.T) {
	for _, c := range []struct {
		name, body, response string
		status               int
		want                 string
	}{
		{"an error response is reported with its text", "no such item", "", 404, "/p answered HTTP 404 Not Found: no such item"},
		{"a long refusal is cut", strings.Repeat("x", 1<<20), "", 500, "xxx…"},
		{"a binary error response is not reported", "\x00\x01", "", 400, "binary data"},
		{"binary data is refused", "\x89PNG\x00", "", 200, "answered image/png, not text"},
		{"garbage is no JSON", "<html>", "json", 200, "not one JSON value"},
		{"nothing is no JSON", "", "json", 200, "It answered: (nothing)"},
		{"two values are not one", "{}{}", "json", 200, "not one JSON value"},
		{"more than is allowed is refused", strings.Repeat("x", 101), "", 200, "answered more than 100 bytes"},
		{"what may pass fails a tool that runs once", "later", "", 503, "HTTP 503 Service Unavailable: later"},
	} {
		t.Run(c.name, func(t *testing.T) {
			url, allow := says(t, c.status, c.body, "Content-Type", "image/png", "Retry-After", "1")
			it := made(t, events.ToolSpec{ResultBytes: 100}, web.Config{URL: url + "/p?key=secret", Allow: allow, Response: c.response})
			_, err := tooltest.Run(t, it, `{}`)
			wantFailure(t, err, c.want)
			if strings.Contains(err.Error(), "secret") {
				t.Fatalf("the error shows the query: %v", err)
			}
		})
	}
}

func TestWhatIsRetried(t *testing.T) {
	soon := time.Now().Add(20 * time.Minute).UTC().Format(http.TimeFormat)
	for _, c := range []struct {
		status int
		after  string
		least  time.Duration
		most   time.Duration
	}{
		{429, "7", 7 * time.Second, 7 * time.Second},
		{503, "", 0, 0},
		{503, soon, 10 * time.Minute, 20 * time.Minute},
		{503, "99999999999999999999", 0, 0},
		{503, "-5", 0, 0},
		{503, "86400", 0, 0},
		{502, "x", 0, 0},
		{504, "", 0, 0},
	} {
		t.Run(fmt.Sprintf("HTTP %d with Retry-After %q", c.status, c.after), func(t *testing.T) {
			url, allow := says(t, c.status, "later", "Retry-After", c.after)
			_, err := tooltest.Run(t, made(t, events.ToolSpec{Effect: events.EffectIdempotent}, web.Config{URL: url, Allow: allow}), `{}`)
			if after, again := tool.RetryAfter(err); !again || after < c.least || after > c.most {
				t.Fatal(after, again, err)
			}
		})
	}
	t.Run("a connection that breaks, if that does no harm", func(t *testing.T) {
		url, allow := serve(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		_, err := tooltest.Run(t, made(t, events.ToolSpec{Effect: events.EffectPure}, web.Config{URL: url + "/?key=secret", Allow: allow}), `{}`)
		if _, again := tool.RetryAfter(err); !again || strings.Contains(err.Error(), "secret") {
			t.Fatal(err)
		}
		_, err = tooltest.Run(t, made(t, events.ToolSpec{}, web.Config{Method: "POST", URL: url, Allow: allow}), `{}`)
		wantFailure(t, err, "it is not known whether it took effect there")
	})
	t.Run("but not a server with an untrusted certificate", func(t *testing.T) {
		url, allow := secure(t)
		_, err := tooltest.Run(t, made(t, events.ToolSpec{Effect: events.EffectPure}, web.Config{URL: url, Allow: allow}), `{}`)
		wantFailure(t, err, "its certificate is not trusted")
	})
}

func TestAGigabyteOfAnswerCostsLittle(t *testing.T) {
	for _, c := range []struct{ name, encoding string }{{"as it is", ""}, {"packed into a megabyte", "gzip"}} {
		t.Run(c.name, func(t *testing.T) {
			url, allow := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Encoding", c.encoding)
				var to io.Writer = w
				if c.encoding != "" {
					to = gzip.NewWriter(w)
				}
				block := make([]byte, 1<<20)
				for range 1 << 10 {
					if _, err := to.Write(block); err != nil {
						return // the client has read enough
					}
				}
			})
			it := made(t, events.ToolSpec{ResultBytes: 1 << 20}, web.Config{URL: url, Allow: allow})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := tooltest.Run(t, it, `{}`)
			wantFailure(t, err, "answered more than 1048576 bytes")
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > 32<<20 {
				t.Fatalf("%d bytes were allocated", used)
			}
		})
	}
}
