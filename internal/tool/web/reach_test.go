package web_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/tool/tooltest"
	"github.com/parleybus/parley/internal/tool/web"
)

// secure serves TLS with an untrusted certificate.
func secure(t *testing.T) (url string, allow []string) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // it tells of every handshake
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL, []string{strings.TrimPrefix(s.URL, "https://")}
}

func wantProblem(t *testing.T, err error, field string) {
	t.Helper()
	p, ok := errors.AsType[tool.Problems](err)
	if !ok || len(p) != 1 || p[0].Field != field {
		t.Fatalf("got %v, want one problem at %s", err, field)
	}
}

func TestAddressesInsideAreRefused(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "10.1.2.3", "192.168.1.1", "172.16.0.1", "169.254.169.254", "0.0.0.0", "100.64.0.1",
		"[::1]", "[fe80::1]", "[fd00::1]", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]"} {
		t.Run("as a number at once: "+host, func(t *testing.T) {
			_, err := web.New(events.ToolSpec{Name: "it"}, web.Config{URL: "http://" + host + "/"})
			wantProblem(t, err, "http.url")
		})
		t.Run("but may be allowed: "+host, func(t *testing.T) {
			if _, err := web.New(events.ToolSpec{Name: "it"}, web.Config{URL: "http://" + host + "/", Allow: []string{host}}); err != nil {
				t.Fatal(err)
			}
		})
	}
	t.Run("a name that resolves to loopback is refused", func(t *testing.T) {
		at, _ := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the server got a request") })
		it := made(t, events.ToolSpec{}, web.Config{URL: strings.Replace(at, "127.0.0.1", "localhost", 1)})
		_, err := tooltest.Run(t, it, `{}`)
		wantFailure(t, err, "not a public address. The operator of the tool worker can allow it with an entry under allow of the tool: ")
	})
	for name, ip := range map[string][4]byte{"metadata": {169, 254, 169, 254}, "loopback": {127, 0, 0, 1}, "private": {10, 0, 0, 1}} {
		t.Run("a name that resolves to a "+name+" address is refused", func(t *testing.T) {
			r := names(t, func() [4]byte { return ip })
			_, err := tooltest.Run(t, made(t, events.ToolSpec{}, web.Config{URL: "http://rebind.test/", Resolver: r}), `{}`)
			wantFailure(t, err, "not a public address")
		})
	}
	t.Run("a name that is allowed is not allowed to lead inside", func(t *testing.T) {
		r := names(t, func() [4]byte { return [4]byte{127, 0, 0, 1} })
		_, err := tooltest.Run(t, made(t, events.ToolSpec{}, web.Config{URL: "http://rebind.test/", Resolver: r, Allow: []string{"rebind.test", "*.test"}}), `{}`)
		wantFailure(t, err, "not a public address")
	})
	t.Run("a name whose address is allowed is reached, and each time it is looked at anew", func(t *testing.T) {
		at, allow := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })
		var lookups atomic.Int32
		r := names(t, func() [4]byte { return [4]byte{127, 0, 0, byte(lookups.Add(1))} })
		it := made(t, events.ToolSpec{}, web.Config{URL: strings.Replace(at, "127.0.0.1", "rebind.test", 1), Resolver: r, Allow: []string{"127.0.0.1"}})
		if got, err := tooltest.Run(t, it, `{}`); err != nil || got != "hello" {
			t.Fatal(got, err, allow)
		}
		_, err := tooltest.Run(t, it, `{}`)
		wantFailure(t, err, "127.0.0.2, which is not a public address")
	})
}

func TestRedirects(t *testing.T) {
	var mu sync.Mutex
	var seen []http.Header
	h := func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen = append(seen, r.Header)
		mu.Unlock()
		if to := r.FormValue("to"); to != "" {
			http.Redirect(w, r, to, http.StatusTemporaryRedirect)
			return
		}
		fmt.Fprint(w, "arrived")
	}
	own, allow := serve(t, h)
	other, more := serve(t, h)
	all := append(allow, more...)
	to := func(u string) string { return "/x?to=" + url.QueryEscape(u) }
	for _, c := range []struct {
		name   string
		path   string
		config web.Config
		want   string
	}{
		{"one is a failure where they are not followed", to("/y?secret"), web.Config{Allow: all}, "redirects to " + own + "/y: redirects are not followed"},
		{"one to a link-local address is refused", to("http://169.254.169.254/latest"), web.Config{Allow: allow, Redirects: true}, "redirects to http://169.254.169.254/latest, which is not allowed"},
		{"one to loopback is refused", to(other), web.Config{Allow: allow, Redirects: true}, "which is not allowed"},
		{"one to a name that leads to loopback is refused", to("http://localhost:1/"), web.Config{Allow: append(allow, "localhost:2"), Redirects: true}, "which is not allowed"},
		{"one to an allowed name that leads inside is refused", to("http://rebind.test/"), web.Config{Allow: append(allow, "rebind.test"), Redirects: true}, "not a public address"},
		{"one to a file is refused", to("file:///etc/passwd"), web.Config{Allow: all, Redirects: true}, "only http and https"},
		{"one with a password is refused", to("http://me:secret@" + more[0]), web.Config{Allow: all, Redirects: true}, "without a password"},
		{"one without an end is refused", "/x?to=" + url.QueryEscape("/x?to=%2Fx%3Fto%3D%252Fx%253Fto%253D%25252Fx%25253Fto%25253D%2525252Fx%2525253Fto%2525253D%252525252Fx%252525253Fto%252525253D%25252525252Fx"), web.Config{Allow: all, Redirects: true}, "redirects more than 5 times"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.config.URL = own + c.path
			c.config.Resolver = names(t, func() [4]byte { return [4]byte{127, 0, 0, 1} })
			_, err := tooltest.Run(t, made(t, events.ToolSpec{}, c.config), `{}`)
			wantFailure(t, err, c.want)
			if strings.Contains(err.Error(), "secret") {
				t.Fatalf("the error shows a secret: %v", err)
			}
		})
	}
	secrets := map[string]web.Value{"X-Api-Key": {Text: "secret"}, "Authorization": {Text: "Bearer secret"}}
	for _, c := range []struct {
		name, path string
		want       []string // X-Api-Key of each request
	}{
		{"the own host gets the headers again", to("/y"), []string{"secret", "secret"}},
		{"another host gets no credentials", to(other + "/y"), []string{"secret", ""}},
		{"nor does the own host when it is reached through another", to(other + to(own+"/y")), []string{"secret", "", ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			seen = nil
			it := made(t, events.ToolSpec{Schema: schema("v")}, web.Config{Method: "POST", Body: web.Body{Whole: true}, URL: own + c.path, Allow: all, Redirects: true, Headers: secrets})
			if got, err := tooltest.Run(t, it, `{"v":1}`); err != nil || got != "arrived" || len(seen) != len(c.want) {
				t.Fatal(got, err, len(seen))
			}
			for i, want := range c.want {
				h := seen[i]
				if h.Get("X-Api-Key") != want || (h.Get("Authorization") == "") != (want == "") || (h.Get("Idempotency-Key") == "") != (want == "") || h.Get("Referer") != "" {
					t.Errorf("request %d has %v", i, h)
				}
			}
		})
	}
}

func TestWhatIsRefusedInADescription(t *testing.T) {
	type values = map[string]web.Value
	const at = "https://a.example/"
	for _, c := range []struct {
		name   string
		config web.Config
		field  string
	}{
		{"no address", web.Config{Body: web.Body{Whole: true}, Method: "POST"}, "http.url"},
		{"an unknown method", web.Config{URL: at + "{v}", Method: "TRACE"}, "http.method"},
		{"a method with a line break", web.Config{URL: at + "{v}", Method: "GET / HTTP/1.1\r\nX: y"}, "http.method"},
		{"a GET with a body", web.Config{URL: at, Body: web.Body{Whole: true}}, "http.body"},
		{"an unknown response", web.Config{URL: at + "{v}", Response: "xml"}, "http.response"},
		{"a place that the input does not have", web.Config{URL: at + "{v}/{w}"}, "http.url"},
		{"a place in the path that may be missing", web.Config{URL: at + "{v}/{o}"}, "http.url"},
		{"a property that goes nowhere", web.Config{URL: at}, "input.properties.v"},
		{"a query that the input does not have", web.Config{URL: at + "{v}", Query: values{"q": arg("w")}}, "http.query.q"},
		{"a header that the input does not have", web.Config{URL: at + "{v}", Headers: values{"Q": arg("w")}}, "http.headers.Q"},
		{"a field of the body that the input does not have", web.Config{URL: at + "{v}", Method: "POST", Body: web.Body{Fields: []string{"w"}}}, "http.body"},
		{"a header with a line break in its name", web.Config{URL: at + "{v}", Headers: values{"A\r\nB": {Text: "x"}}}, "http.headers"},
		{"the header Host", web.Config{URL: at + "{v}", Headers: values{"host": {Text: "x"}}}, "http.headers.host"},
		{"the header Content-Length", web.Config{URL: at + "{v}", Headers: values{"Content-Length": {Text: "0"}}}, "http.headers.Content-Length"},
		{"an allowed host that is none", web.Config{URL: at + "{v}", Allow: []string{"https://a.example"}}, "http.allow"},
	} {
		t.Run(c.name, func(t *testing.T) {
			names := []string{"v!"}
			if strings.Contains(c.config.URL, "{o}") {
				names = append(names, "o")
			}
			_, err := web.New(events.ToolSpec{Name: "it", Schema: schema(names...)}, c.config)
			wantProblem(t, err, c.field)
		})
	}
}
