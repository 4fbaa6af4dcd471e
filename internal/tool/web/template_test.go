package web_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/tool/web"
)

func TestTemplatesAreExpanded(t *testing.T) {
	for _, c := range []struct{ name, template, args, want string }{
		{"a value in the path", "https://a.example/items/{id}", `{"id":7}`, "https://a.example/items/7"},
		{"everything with a meaning is escaped", "https://a.example/i/{id}/x", `{"id":"a/b?c#d&e=f%2F+ ;:@$,"}`, "https://a.example/i/a%2Fb%3Fc%23d%26e%3Df%252F%2B%20%3B%3A%40%24%2C/x"},
		{"a line break is escaped", "https://a.example/{id}", `{"id":"a\r\nHost: evil"}`, "https://a.example/a%0D%0AHost%3A%20evil"},
		{"unreserved characters stay", "https://a.example/{id}", `{"id":"aZ09-._~"}`, "https://a.example/aZ09-._~"},
		{"other alphabets are escaped as UTF-8", "https://a.example/{id}", `{"id":"é€"}`, "https://a.example/%C3%A9%E2%82%AC"},
		{"several values have commas between them", "https://a.example/{a,b}", `{"a":1,"b":[2,"3,4"]}`, "https://a.example/1,2,3%2C4"},
		{"a value in the query", "https://a.example/?q={q}&x=1", `{"q":"a&x=2"}`, "https://a.example/?q=a%26x%3D2&x=1"},
		{"a missing value in the query is empty", "https://a.example/?q={q}", `{}`, "https://a.example/?q="},
		{"dots in the query are fine", "https://a.example/?q={q}", `{"q":"../.."}`, "https://a.example/?q=..%2F.."},
		{"a query is made", "https://a.example/s{?q,n}", `{"q":"a b","n":5}`, "https://a.example/s?q=a%20b&n=5"},
		{"what is missing is left out of it", "https://a.example/s{?q,n,m}", `{"n":5,"m":null}`, "https://a.example/s?n=5"},
		{"a query without values is none", "https://a.example/s{?q}", `{}`, "https://a.example/s"},
		{"a query is continued", "https://a.example/s?v=1{&q}", `{"q":""}`, "https://a.example/s?v=1&q="},
		{"a continued query without a start is started", "https://a.example/s{?a}{&b}", `{"b":1}`, "https://a.example/s?b=1"},
		{"an array has commas", "https://a.example{?l}", `{"l":["a","b,c"]}`, "https://a.example?l=a,b%2Cc"},
		{"an object is JSON", "https://a.example{?o}", `{"o":{"a":[1]}}`, "https://a.example?o=%7B%22a%22%3A%5B1%5D%7D"},
		{"nothing in it, nothing done", "http://a.example:8080/x%20y", `{}`, "http://a.example:8080/x%20y"},
		{"a placeholder in a value stays text", "https://a.example/{a}/{b}", `{"a":"{b}","b":1}`, "https://a.example/%7Bb%7D/1"},
		{"names may have a hyphen", "https://a.example/{user-id}{?per-page}", `{"user-id":7,"per-page":20}`, "https://a.example/7?per-page=20"},
		{"three dots are a name", "https://a.example/{a}", `{"a":"..."}`, "https://a.example/..."},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := expand(t, c.template, c.args)
			if err != nil || got != c.want {
				t.Fatalf("got %s, %v; want %s", got, err, c.want)
			}
		})
	}
	for _, c := range []struct{ name, template, args string }{
		{"a path upwards is refused", "https://a.example/{a}", `{"a":".."}`},
		{"a path upwards with more is refused", "https://a.example/{a}", `{"a":"../admin"}`},
		{"a path upwards inside is refused", "https://a.example/{a}", `{"a":"x/../../admin"}`},
		{"a path upwards with backslashes is refused", "https://a.example/{a}", `{"a":"..\\admin"}`},
		{"a path upwards in an array is refused", "https://a.example/{a}", `{"a":["x",".."]}`},
		{"a dot alone is refused", "https://a.example/{a}", `{"a":"."}`},
		{"dots that come together are refused", "https://a.example/.{a}", `{"a":"/admin"}`},
		{"an empty value in the path is refused", "https://a.example/users/{a}", `{"a":""}`},
		{"a missing value in the path is refused", "https://a.example/users/{a}", `{}`},
		{"an empty array in the path is refused", "https://a.example/users/{a}", `{"a":[]}`},
		{"what is too long is refused", "https://a.example/{a}", `{"a":"` + strings.Repeat("x", 20<<10) + `"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := expand(t, c.template, c.args)
			wantFailure(t, err, "")
		})
	}
}

func expand(t *testing.T, template, args string) (string, error) {
	t.Helper()
	it, err := web.NewTemplate(template)
	if err != nil {
		t.Fatal(err)
	}
	object, err := tool.Input{Arguments: json.RawMessage(args)}.Object()
	if err != nil {
		t.Fatal(err)
	}
	u, err := it.Expand(object)
	if err != nil {
		return "", err
	}
	return u.String(), nil
}

func TestTemplatesThatAreRefused(t *testing.T) {
	for _, c := range []struct{ name, template string }{
		{"nothing", ""},
		{"no scheme", "a.example/{id}"},
		{"a file", "file:///etc/passwd"},
		{"no host", "https:///x"},
		{"a host that the call chooses", "https://{host}/x"},
		{"a part of a host that the call chooses", "https://api.{region}.example/x"},
		{"a port that the call chooses", "https://a.example:{port}/x"},
		{"a host that the call extends", "https://a.example{id}"},
		{"a scheme that the call chooses", "{scheme}://a.example/"},
		{"a user that the call chooses", "https://{user}@a.example/"},
		{"a password", "https://me:secret@a.example/"},
		{"a port out of bounds", "https://a.example:99999/"},
		{"a fragment", "https://a.example/#{id}"},
		{"a place that is never closed", "https://a.example/{id"},
		{"a place that is never opened", "https://a.example/id}"},
		{"a place without a name", "https://a.example/{}"},
		{"a place with an empty name", "https://a.example/{a,}"},
		{"an unescaped expansion", "https://a.example/{+path}"},
		{"an explosion", "https://a.example/{?l*}"},
		{"a prefix", "https://a.example/{a:3}"},
		{"a second query", "https://a.example/?a=1{?b}"},
		{"more of a query that is none", "https://a.example/{&b}"},
		{"a path upwards", "https://a.example/x/../y"},
		{"a path upwards, escaped", "https://a.example/x/%2e%2e/y"},
		{"a line break", "https://a.example/\r\nHost: x"},
		{"a space", "https://a.example/a b"},
		{"a broken escape", "https://a.example/%zz"},
		{"what is too long", "https://a.example/" + strings.Repeat("x", 20<<10)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := web.NewTemplate(c.template); err == nil {
				t.Fatal("was taken")
			}
		})
	}
}

func FuzzTemplate(f *testing.F) {
	f.Add("https://a.example/i/{id}/x?y={q}{&z}", "..", "a&b")
	f.Add("http://a.example{?id,q}", "/", "\r\n")
	f.Add("https://a.example:1/.{id}{q}", "./", "é\xff")
	f.Add("https://[::1]/%2e{id}", ".", "@b.example")
	f.Add("http://0/{id}/0?{a}{&a}", " ", "")
	f.Fuzz(func(t *testing.T, template, id, q string) {
		it, err := web.NewTemplate(template)
		if err != nil {
			return
		}
		fixed, err := it.Expand(map[string]any{"id": "1", "q": "1", "z": "1", "a": "1", "b": "1"})
		if err != nil {
			return // it has other names
		}
		u, err := it.Expand(map[string]any{"id": id, "q": q, "z": q, "a": q, "b": q})
		if err != nil {
			return
		}
		again, err := url.Parse(u.String())
		switch {
		case err != nil:
			t.Fatal(err)
		case again.Host != fixed.Host, again.Scheme != fixed.Scheme, again.User != nil, again.Fragment != "":
			t.Fatalf("%s with %q and %q became %s", template, id, q, u)
		case strings.Count(again.EscapedPath(), "/") != strings.Count(fixed.EscapedPath(), "/"):
			t.Fatalf("%s with %q and %q has another path: %s", template, id, q, u)
		case strings.Count(again.RawQuery, "&") != strings.Count(fixed.RawQuery, "&"):
			t.Fatalf("%s with %q and %q has another query: %s", template, id, q, u)
		case strings.ContainsAny(u.String(), "\r\n "):
			t.Fatalf("%q", u.String())
		}
		for part := range strings.SplitSeq(again.Path, "/") {
			if part == ".." || part == "." {
				t.Fatalf("%s with %q and %q climbs: %s", template, id, q, u)
			}
		}
	})
}
