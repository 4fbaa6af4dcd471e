// Package web makes HTTP endpoints available as tools. A call is one request:
// values of the call are inserted, escaped, into the path and query of a fixed
// address, into headers and into a JSON body; the answer is the result.
//
// A value cannot change the host, add a header, or change another part of the
// path. Non-public addresses are refused unless they are allowed, also if a
// name or a redirect leads to them. Proxies are not used.
package web

import (
	"cmp"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
)

const (
	// MaxAnswer bounds a response, in bytes, if the spec's ResultBytes is not
	// set.
	MaxAnswer = 32 << 20
	// Timeout bounds a call if the spec's TimeoutMS is not set.
	Timeout = 30 * time.Second

	maxRedirects = 5
)

// Config describes an endpoint, as in tools.yaml.
type Config struct {
	Method string `yaml:"method"` // GET if empty
	// URL is an http or https address; see [Template] for the values in it.
	URL string `yaml:"url"`
	// Query is added to the address. A missing value omits its name, an array
	// repeats it.
	Query map[string]Value `yaml:"query"`
	// Headers are sent only to the address's own origin.
	Headers map[string]Value `yaml:"headers"`
	Body    Body             `yaml:"body"`
	// Response is "text", or "json" for a structured result. The default is
	// json if the spec has an output schema, else text.
	Response string `yaml:"response"`
	// Redirects follows up to 5 redirects to the address's own host and to those
	// under Allow, never from https to http. Without it a redirect is a failure.
	Redirects bool `yaml:"redirects"`
	// Allow are hosts as for [tool.Hosts]: non-public hosts that may be called,
	// and targets of redirects.
	Allow []string `yaml:"allow"`
	// Resolver resolves names; nil means the system's.
	Resolver *net.Resolver `yaml:"-"`
}

// Value is a fixed text, or a placeholder for an argument of the call.
type Value struct {
	Text string `yaml:"-"` // if there is no Arg
	Arg  string `yaml:"arg"`

	wrong string // the wrong YAML value
}

// UnmarshalYAML implements goccy's yaml.InterfaceUnmarshaler.
func (v *Value) UnmarshalYAML(decode func(any) error) error {
	var it any
	if err := decode(&it); err != nil {
		return err
	}
	switch it := it.(type) {
	case string:
		v.Text = it
		return nil
	case map[string]any:
		type value Value // without this method
		if err := decode((*value)(v)); err != nil {
			return err
		}
		if v.Arg == "" {
			v.wrong = "it names no value: give arg"
		}
		return nil
	}
	v.wrong = "it is not a text: write it in quotes"
	return nil
}

// Body selects the request's body: nothing, all arguments as one JSON object
// ("json"), or some of them (a list of names).
type Body struct {
	Whole  bool
	Fields []string

	wrong string // the wrong YAML value
}

// UnmarshalYAML implements goccy's yaml.InterfaceUnmarshaler.
func (b *Body) UnmarshalYAML(decode func(any) error) error {
	var whole string
	if err := decode(&whole); err == nil {
		b.Whole = true
		if whole != "json" {
			b.wrong = "body must be json or a list of properties"
		}
		return nil
	}
	return decode(&b.Fields)
}

// endpoint is the tool.
type endpoint struct {
	spec      events.ToolSpec
	config    Config
	method    string
	template  *Template
	allow     tool.Hosts
	client    *http.Client
	json      bool // the response is
	limit     int64
	repeating bool // the effect class allows a retry
}

// New returns a tool. The error is [tool.Problems], with fields below "http".
func New(spec events.ToolSpec, c Config) (tool.Tool, error) {
	var p tool.Problems
	spec.TimeoutMS = cmp.Or(spec.TimeoutMS, Timeout.Milliseconds())
	e := &endpoint{spec: spec, config: c, method: cmp.Or(c.Method, http.MethodGet), limit: cmp.Or(spec.ResultBytes, MaxAnswer),
		json:      c.Response == "json" || c.Response == "" && len(spec.Output) > 0,
		repeating: spec.Effect == events.EffectPure || spec.Effect == events.EffectIdempotent}
	var err error
	if e.allow, err = tool.NewHosts(c.Allow); err != nil {
		p.Add("http.allow", "%v", err)
	}
	if e.template, err = NewTemplate(c.URL); err != nil {
		p.Add("http.url", "%v", err)
	} else if err := e.inside(); err != nil {
		p.Add("http.url", "%v", err)
	}
	e.check(&p)
	if err := p.Err(); err != nil {
		return nil, err
	}
	e.client = &http.Client{Transport: e.allow.Transport(c.Resolver), CheckRedirect: e.redirect}
	return e, nil
}

// Spec implements [tool.Tool].
func (e *endpoint) Spec() events.ToolSpec { return e.spec }

// inside refuses a numeric address that no call could reach.
func (e *endpoint) inside() error {
	ip, err := netip.ParseAddr(e.template.base.Hostname())
	if err != nil {
		return nil // a name: checked when it is resolved
	}
	return e.allow.Dial(netip.AddrPortFrom(ip, portOf(e.template.base)).String())
}

// redirect checks the target of a redirect and removes headers that must not be
// sent there.
func (e *endpoint) redirect(req *http.Request, via []*http.Request) error {
	if !e.config.Redirects {
		return http.ErrUseLastResponse
	}
	from, to := via[len(via)-1].URL, req.URL
	switch {
	case len(via) > maxRedirects:
		return tool.Fail("%s redirects more than %d times", place(via[0].URL), maxRedirects)
	case to.Scheme != "http" && to.Scheme != "https", to.User != nil, from.Scheme == "https" && to.Scheme == "http":
		return tool.Fail("%s redirects to %.200s, which is refused: only http and https, never from https to http, and without a password", place(from), place(to))
	case !same(e.template.base, to) && !e.allow.Names(to):
		return tool.Fail("%s redirects to %.200s, which is not allowed. The operator of the tool worker can allow it with an entry under allow of the tool: %.200s",
			place(from), place(to), to.Host)
	}
	req.Header.Del("Referer") // the address may hold a secret
	for _, r := range append(via[1:len(via):len(via)], req) {
		if same(e.template.base, r.URL) {
			continue
		}
		// After another origin, headers for the own origin are not sent any
		// more, also if a redirect leads back.
		for name := range e.config.Headers {
			req.Header.Del(name)
		}
		req.Header.Del(idempotencyKey)
	}
	return nil
}

// same reports whether two addresses have the same origin.
func same(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && hostOf(a) == hostOf(b) && portOf(a) == portOf(b)
}

// place returns an address without parts that may be secret.
func place(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}

// failure returns Parley's own error from an error of the HTTP client, whose
// text contains the whole address.
func failure(err error) (*tool.Failure, error) {
	if f, ok := errors.AsType[*tool.Failure](err); ok {
		return f, nil
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return nil, err
}
