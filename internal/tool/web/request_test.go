package web_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/tool/tooltest"
	"github.com/parleybus/parley/internal/tool/web"
)

// arg is where an argument goes.
func arg(name string) web.Value { return web.Value{Arg: name} }

func TestWhatIsSent(t *testing.T) {
	type values = map[string]web.Value
	for _, c := range []struct {
		name   string
		spec   events.ToolSpec
		config web.Config // URL is the path
		args   string
		want   []string
	}{
		{"a GET by default, without a body", events.ToolSpec{}, web.Config{URL: "/x"}, `{}`, []string{"GET /x ", "\n\n<>"}},
		{"values in path and query", events.ToolSpec{Schema: schema("id!", "q", "n")},
			web.Config{URL: "/items/{id}{?q}", Query: values{"n": arg("n"), "fixed": {Text: "a&b"}}},
			`{"id":"a/b","q":"é","n":[1,2]}`, []string{"GET /items/a%2Fb?q=%C3%A9&fixed=a%26b&n=1&n=2 "}},
		{"a missing value of the query is left out", events.ToolSpec{Schema: schema("n")}, web.Config{URL: "/x", Query: values{"n": arg("n")}}, `{}`, []string{"GET /x "}},
		{"all arguments as the body", events.ToolSpec{Schema: schema("a", "b")}, web.Config{Method: "POST", URL: "/x", Body: web.Body{Whole: true}},
			`{"b":"<", "a":1.0}`, []string{"POST /x ", "Content-Type: application/json\n", `<{"a":1.0,"b":"<"}>`}},
		{"some arguments as the body", events.ToolSpec{Schema: schema("id!", "a", "b")}, web.Config{Method: "PUT", URL: "/x/{id}", Body: web.Body{Fields: []string{"a", "b"}}},
			`{"id":1,"a":[2]}`, []string{"PUT /x/1 ", `<{"a":[2]}>`}},
		{"headers, also from arguments", events.ToolSpec{Schema: schema("e")}, web.Config{URL: "/x", Headers: values{"X-Key": {Text: "secret"}, "If-Match": arg("e")}},
			`{"e":"\"v1\""}`, []string{"X-Key: secret\n", "If-Match: \"v1\"\n"}},
		{"a variable of the environment in an argument stays text", events.ToolSpec{Schema: schema("e")}, web.Config{URL: "/x", Headers: values{"E": arg("e")}}, `{"e":"${HOME}"}`, []string{"E: ${HOME}\n"}},
		{"the call's id as the key of the effect", events.ToolSpec{}, web.Config{Method: "DELETE", URL: "/x"}, `{}`, []string{"Idempotency-Key: c1\n"}},
		{"a JSON response is requested by Accept", events.ToolSpec{}, web.Config{URL: "/x", Response: "json"}, `{}`, []string{"Accept: application/json\n"}},
		{"a configured header replaces the default", events.ToolSpec{}, web.Config{URL: "/x", Headers: values{"user-agent": {Text: "me"}}}, `{}`, []string{"User-Agent: me\n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got string
			url, allow := serve(t, func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				got = r.Method + " " + r.RequestURI + " \n"
				for name, all := range r.Header {
					got += name + ": " + strings.Join(all, ", ") + "\n"
				}
				got += "\n<" + string(body) + ">"
				if _, err := io.WriteString(w, "null"); err != nil {
					t.Error(err)
				}
			})
			c.config.URL, c.config.Allow = url+c.config.URL, allow
			if _, err := tooltest.Run(t, made(t, c.spec, c.config), c.args); err != nil {
				t.Fatal(err)
			}
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("%q is missing in:\n%s", want, got)
				}
			}
		})
	}
}

func TestHeaderInjectionIsRefused(t *testing.T) {
	url, allow := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the server got a request") })
	for _, c := range []struct{ name, value string }{
		{"a line break", `a\r\nX-Admin: yes`},
		{"a line feed", `a\nX-Admin: yes`},
		{"a carriage return", `a\rX`},
		{"a zero byte", `a\u0000`},
		{"a line break of Unicode", `a\u2028b`},
		{"a letter beyond ASCII that some cut to a line break", `\u010a`},
	} {
		t.Run(c.name+" in an argument fails the call", func(t *testing.T) {
			it := made(t, events.ToolSpec{Schema: schema("v")}, web.Config{URL: url, Allow: allow, Headers: map[string]web.Value{"X-V": arg("v")}})
			_, err := tooltest.Run(t, it, `{"v":"`+c.value+`"}`)
			wantFailure(t, err, "one line of ASCII")
		})
		t.Run(c.name+" in a fixed value is refused without showing the value", func(t *testing.T) {
			var value string
			if err := json.Unmarshal([]byte(`"secret`+c.value+`"`), &value); err != nil {
				t.Fatal(err)
			}
			_, err := web.New(events.ToolSpec{Name: "it"}, web.Config{URL: url, Allow: allow, Headers: map[string]web.Value{"X-V": {Text: value}}})
			wantProblem(t, err, "http.headers.X-V")
			if strings.Contains(err.Error(), "secret") {
				t.Fatal(err)
			}
		})
	}
}

func TestARequestEndsWithItsCall(t *testing.T) {
	requested := make(chan struct{}, 1)
	url, allow := serve(t, func(w http.ResponseWriter, r *http.Request) {
		requested <- struct{}{}
		<-r.Context().Done()
	})
	t.Run("on cancel", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		it := made(t, events.ToolSpec{}, web.Config{URL: url, Allow: allow})
		go func() {
			_, err := it.Run(ctx, tool.Input{})
			done <- err
		}()
		<-requested
		cancel()
		if err := <-done; tool.StatusOf(err) != events.StatusCancelled || !strings.Contains(err.Error(), "not known whether it took effect") {
			t.Fatal(err)
		}
	})
	t.Run("at its deadline", func(t *testing.T) {
		_, err := tooltest.Run(t, made(t, events.ToolSpec{TimeoutMS: 100, Effect: events.EffectPure}, web.Config{URL: url, Allow: allow}), `{}`)
		if tool.StatusOf(err) != events.StatusTimeout {
			t.Fatal(err)
		}
	})
}
