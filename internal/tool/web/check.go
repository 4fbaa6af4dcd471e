package web

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/parleybus/parley/internal/tool"
)

// check finds the errors in a description, except in its address.
func (e *endpoint) check(p *tool.Problems) {
	c := e.config
	switch e.method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
	default:
		p.Add("http.method", "method %.50q: give GET, HEAD, POST, PUT, PATCH or DELETE", e.method)
	}
	if c.Response != "" && c.Response != "json" && c.Response != "text" {
		p.Add("http.response", "response is %.50q: give text or json", c.Response)
	}
	if c.Response == "text" && len(e.spec.Output) > 0 {
		p.Add("http.response", "a tool with an output schema answers JSON: leave response out, or output")
	}
	if c.Body.wrong != "" {
		p.Add("http.body", "%s", c.Body.wrong)
	}
	if (c.Body.Whole || len(c.Body.Fields) > 0) && (e.method == http.MethodGet || e.method == http.MethodHead) {
		p.Add("http.body", "a %s has no body: give another method, or the values in query", e.method)
	}
	e.checkValues(p)
	e.checkNames(p)
}

func (e *endpoint) checkValues(p *tool.Problems) {
	for name, v := range e.config.Query {
		if v.wrong != "" {
			p.Add("http.query."+name, "%s", v.wrong)
		}
	}
	for name, v := range e.config.Headers {
		at := "http.headers." + name
		switch {
		case v.wrong != "":
			p.Add(at, "%s", v.wrong)
		case !token(name):
			p.Add("http.headers", "%.100q is not a header name: give letters, digits and -", name)
		case reserved(name):
			p.Add(at, "%s is set by the HTTP client: leave it out", name)
		case !headerText(v.Text):
			// Not the value itself: it may be a secret.
			p.Add(at, "the value holds a line break or another control character, or one beyond ASCII")
		}
	}
}

// checkNames checks that every used argument exists, and that every argument is
// used.
func (e *endpoint) checkNames(p *tool.Problems) {
	known := tool.Parameters(e.spec.Schema)
	used := map[string]bool{}
	use := func(at, name string, inPath bool) {
		used[name] = true
		required, exists := known[name]
		switch {
		case !exists:
			p.Add(at, "the input has no property %.100q", name)
		case inPath && !required:
			p.Add(at, "%q is used in the path, so it must be among the required of the input", name)
		}
	}
	if e.template != nil {
		names := e.template.Names()
		for _, name := range slices.Sorted(maps.Keys(names)) {
			use("http.url", name, names[name])
		}
	}
	for _, list := range []struct {
		at     string
		values map[string]Value
	}{{"http.query.", e.config.Query}, {"http.headers.", e.config.Headers}} {
		for _, name := range slices.Sorted(maps.Keys(list.values)) {
			if v := list.values[name]; v.Arg != "" {
				use(list.at+name, v.Arg, false)
			}
		}
	}
	for _, name := range e.config.Body.Fields {
		use("http.body", name, false)
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if !used[name] && !e.config.Body.Whole {
			p.Add("input.properties."+name, "the request never holds %q: put it into url, query, headers or body", name)
		}
	}
}

// token reports whether a text is a valid header name. Source: RFC 9110 section
// 5.6.2.
func token(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune("\"(),/:;<=>?@[\\]{}", r)
	})
}

// headerText reports whether a text is a valid header value: one line of ASCII.
func headerText(value string) bool {
	return !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r > '~' })
}

// reserved are the headers that could make a request ambiguous.
func reserved(name string) bool {
	switch http.CanonicalHeaderKey(name) {
	case "Host", "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Upgrade", "Te", "Trailer", "Expect",
		"Proxy-Authorization", "Proxy-Connection", "Accept-Encoding":
		return true
	}
	return false
}

func hostOf(u *url.URL) string { return strings.TrimSuffix(strings.ToLower(u.Hostname()), ".") }

// portOf returns the port of u, or the default of its scheme.
func portOf(u *url.URL) uint16 {
	if n, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		return uint16(n)
	}
	if u.Scheme == "http" {
		return 80
	}
	return 443
}
