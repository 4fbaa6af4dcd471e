package tool_test

import (
	"compress/gzip"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/tool/tooltest"
)

// site answers whatever the tests ask for.
func site(t *testing.T) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	serve := func(path, kind, body string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			if _, err := w.Write([]byte(body)); err != nil {
				t.Logf("the client went away: %v", err)
			}
		})
	}
	serve("/text", "text/plain; charset=utf-8", "hello")
	serve("/json", "application/problem+json", `{"a":1}`)
	serve("/latin", "text/plain", "caf\xe9")
	serve("/image", "image/png", "\x89PNG")
	serve("/large", "text/plain", strings.Repeat("x", 1<<20+10))
	serve("/exact", "text/plain", strings.Repeat("x", 1<<20))
	mux.HandleFunc("/bomb", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Content-Type", "text/plain")
		z := gzip.NewWriter(w)
		block := make([]byte, 1<<20)
		for range 64 {
			if _, err := z.Write(block); err != nil {
				return // the client has read enough
			}
		}
	})
	mux.HandleFunc("/status/{code}", func(w http.ResponseWriter, r *http.Request) {
		code, err := strconv.Atoi(r.PathValue("code"))
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Retry-After", "7")
		http.Error(w, "because", code)
	})
	mux.HandleFunc("/to", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.FormValue("url"), http.StatusFound)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func TestHTTPGet(t *testing.T) {
	s := site(t)
	host := strings.TrimPrefix(s.URL, "http://")
	r := builtins(t, tool.Config{AllowHosts: []string{host, "example.invalid"}})
	for _, c := range []struct{ name, path, want string }{
		{"text comes with status and type", "/text", "HTTP 200 OK, text/plain; charset=utf-8, from " + s.URL + "/text\n\nhello"},
		{"any kind of JSON is text", "/json", `{"a":1}`},
		{"bytes that are no UTF-8 are replaced", "/latin", "caf\uFFFD"},
		{"a redirect is followed and the last address reported", "/to?url=/text", "from " + s.URL + "/text"},
		{"a large body is cut and says so", "/large", "xxx\n\n(truncated: only the first 1048576 bytes are shown)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := call(t, r, "http_get", args{"url": s.URL + c.path})
			if err != nil || !strings.Contains(got, c.want) {
				t.Fatalf("got %.200q, %v; want %q", got, err, c.want)
			}
		})
	}
	t.Run("a body of exactly the bound is whole", func(t *testing.T) {
		got, err := call(t, r, "http_get", args{"url": s.URL + "/exact"})
		if err != nil || strings.Contains(got, "cut here") || len(got) < 1<<20 {
			t.Fatal(len(got), err)
		}
	})
	t.Run("a body that unpacks to more than the bound is cut", func(t *testing.T) {
		got, err := call(t, r, "http_get", args{"url": s.URL + "/bomb"})
		if err != nil || len(got) > 1<<20+500 {
			t.Fatal(len(got), err)
		}
	})
	for _, c := range []struct{ name, url, want string }{
		{"a host that is not listed is refused and the flag named", "http://example.com/", "--allow-host example.com"},
		{"a redirect to a host that is not listed is refused", s.URL + "/to?url=" + url.QueryEscape("http://169.254.169.254/latest"), "redirects to http://169.254.169.254/latest"},
		{"a redirect to a file is refused", s.URL + "/to?url=" + url.QueryEscape("file:///etc/passwd"), "only http and https"},
		{"a redirect without end is refused", s.URL + "/to?url=" + url.QueryEscape("/to?url=/to"), ""},
		{"a picture is refused", s.URL + "/image", "image/png, not text"},
		{"a status other than 200 is a failure with its text", s.URL + "/status/404", "HTTP 404 Not Found: because"},
		{"a password in the address is refused and not repeated", "http://me:secret@" + host, "leave it out"},
		{"an address that cannot be parsed is refused", "http://%zz/", "not a web address"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := call(t, r, "http_get", args{"url": c.url})
			tooltest.Failed(t, err, c.want)
			if _, retry := tool.RetryAfter(err); retry {
				t.Fatal("would be tried again")
			}
		})
	}
	t.Run("a scheme other than http is refused by the schema", func(t *testing.T) {
		if _, err := call(t, r, "http_get", args{"url": "file:///etc/passwd"}); err == nil || !strings.Contains(err.Error(), "arguments.url") {
			t.Fatal(err)
		}
	})
	t.Run("a server that asks to wait is asked again", func(t *testing.T) {
		_, err := call(t, r, "http_get", args{"url": s.URL + "/status/503"})
		if after, retry := tool.RetryAfter(err); !retry || after != 7*time.Second {
			t.Fatal(after, retry, err)
		}
	})
	t.Run("a name that does not resolve may be tried again", func(t *testing.T) {
		_, err := call(t, r, "http_get", args{"url": "http://example.invalid/"})
		if _, retry := tool.RetryAfter(err); !retry {
			t.Fatal(err)
		}
	})
	t.Run("who watches sees the status", func(t *testing.T) {
		it, _ := r.Lookup("http_get")
		var seen string
		in := tool.Input{Arguments: []byte(`{"url":"` + s.URL + `/text"}`), Output: func(text string) { seen += text }}
		if _, err := it.Run(t.Context(), in); err != nil || !strings.HasPrefix(seen, "HTTP 200 OK from http://") {
			t.Fatal(seen, err)
		}
	})
}

func TestHTTPGetReachesLoopbackAsLocalhost(t *testing.T) {
	s := site(t)
	host := "localhost" + s.URL[strings.LastIndex(s.URL, ":"):]
	r := builtins(t, tool.Config{AllowHosts: []string{host}})
	if got, err := call(t, r, "http_get", args{"url": "http://" + host + "/text"}); err != nil || !strings.HasSuffix(got, "hello") {
		t.Fatal(got, err)
	}
}

func TestHTTPGetEndsWithItsContext(t *testing.T) {
	asked := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	}))
	defer s.Close()
	r := builtins(t, tool.Config{AllowHosts: []string{"127.0.0.1"}})
	it, _ := r.Lookup("http_get")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := it.Run(ctx, tool.Input{Arguments: []byte(`{"url":"` + s.URL + `"}`)})
		done <- err
	}()
	<-asked
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || tool.StatusOf(err) != events.StatusCancelled {
		t.Fatal(err)
	}
}
