// Package ollama calls the native API of Ollama, /api/chat.
//
// Calls arrive complete, one line each, and often without an id: the worker
// generates Parley's. The types of requests are those of
// github.com/ollama/ollama/api if they lose no data; answers are decoded here,
// because that package converts numbers to float64 and treats the end of a body
// as a normal end.
//
// Source: https://github.com/ollama/ollama/blob/main/docs/api.md
package ollama

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/ollama/ollama/api"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/dialect"
	"github.com/parleybus/parley/internal/secret"
)

const (
	defaultName = "ollama"
	defaultHost = "127.0.0.1"
	defaultPort = "11434"
)

// Config holds the address of an Ollama server. New does not read the
// environment: an empty field means the default.
type Config struct {
	Name       string       // first part of a model's full name; "ollama"
	Host       string       // as in OLLAMA_HOST: host, host:port or a URL; "http://127.0.0.1:11434"
	HTTPClient *http.Client // no timeout on bodies; http.DefaultClient
}

// Provider calls the models of one Ollama server.
type Provider struct {
	name     string
	base     *url.URL
	bad      *events.Error // why Host is no address
	client   *http.Client
	offering *llm.Offering

	mu    sync.Mutex
	sight map[string]bool // whether a model takes images, as the server said
}

// New returns a provider without connecting. The first request reports an
// invalid Host.
func New(c Config) *Provider {
	p := &Provider{name: cmp.Or(c.Name, defaultName), client: llm.Client(c.HTTPClient), offering: llm.NewOffering(dialect.Ollama()), sight: map[string]bool{}}
	var err error
	if p.base, err = address(c.Host); err != nil {
		p.bad = &events.Error{Class: events.ErrInvalidRequest,
			Message: fmt.Sprintf("the host %q of provider %s is not an address: %v: write http://HOST:PORT", secret.URL(c.Host), p.name, err)}
	}
	return p
}

// address reads a host as Ollama's own client reads OLLAMA_HOST: the port is
// 11434 unless a scheme says otherwise.
func address(host string) (*url.URL, error) {
	host = strings.TrimSpace(host)
	port := ""
	if !strings.Contains(host, "://") {
		host, port = "http://"+cmp.Or(host, defaultHost), defaultPort
	}
	u, err := url.Parse(secret.Escape(host))
	if bad, ok := errors.AsType[*url.Error](err); ok {
		return nil, bad.Err // the text of bad has the whole URL
	}
	if u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("it has no host or is not http")
	}
	if u.Port() == "" && port != "" {
		u.Host = net.JoinHostPort(u.Hostname(), port)
	}
	u.Path = llm.BaseURL(u.Path, "/api", "/v1", "/chat", "/tags", "/chat/completions")
	if ip := net.ParseIP(u.Hostname()); ip != nil && ip.IsUnspecified() { // where a server listens is no address to call
		u.Host = net.JoinHostPort(defaultHost, cmp.Or(u.Port(), defaultPort))
	}
	return u, nil
}

// Name implements [llm.Provider].
func (p *Provider) Name() string { return p.name }

// Capabilities implements [llm.Provider]. Whether a model calls tools is only
// known after a request; the server refuses the request if it does not. Calls
// stream since Ollama 0.8.0.
func (p *Provider) Capabilities(string) llm.Capabilities {
	return llm.Capabilities{Tools: true, StreamTools: true, Schema: true}
}

// Models returns the models of the server, in the server's order: the latest
// changed first.
func (p *Provider) Models(ctx context.Context) ([]string, error) {
	if p.bad != nil {
		return nil, p.bad
	}
	list, err := api.NewClient(p.base, p.client).List(ctx)
	if err != nil {
		if _, said := errors.AsType[api.StatusError](err); !said {
			err = p.unreachable(llm.FromRead(ctx, err))
		}
		return nil, fmt.Errorf("list the models of %s: %w", secret.URL(p.base.String()), err)
	}
	names := make([]string, 0, len(list.Models))
	for _, m := range list.Models {
		names = append(names, cmp.Or(m.Name, m.Model))
	}
	return names, nil
}

// Stream implements [llm.Provider].
func (p *Provider) Stream(ctx context.Context, req llm.Request) llm.Stream {
	return p.offering.Stream(req, func(req llm.Request) (io.ReadCloser, *events.Error) { return p.post(ctx, req) }, Decode)
}

func (p *Provider) post(ctx context.Context, req llm.Request) (io.ReadCloser, *events.Error) {
	if p.bad != nil {
		return nil, p.bad
	}
	req.NoImages = req.NoImages || p.blind(ctx, req)
	body, failed := p.body(req)
	if failed != nil {
		return nil, failed
	}
	answer, failed := llm.Post(ctx, p.client, p.base.JoinPath("api", "chat").String(), http.Header{"Accept": {"application/x-ndjson"}}, body)
	switch {
	case failed == nil:
		return answer, nil
	case failed.HTTPStatus == 0:
		return nil, p.unreachable(failed)
	}
	return nil, advised(failed, req.Model)
}

// unreachable returns an error that says what to do if no server listens,
// instead of the operating system's text.
func (p *Provider) unreachable(e *events.Error) *events.Error {
	if e.Class != events.ErrNetwork || !strings.Contains(e.Message, "refused") {
		return e
	}
	return &events.Error{Class: events.ErrNetwork,
		Message: fmt.Sprintf("no Ollama answers at %s (connection refused): is it running? Start it with `ollama serve`", secret.URL(p.base.String()))}
}

// advised adds advice to the most common refusals.
func advised(e *events.Error, model string) *events.Error {
	switch said := strings.ToLower(e.Message); {
	case strings.Contains(said, "does not support tools"):
		e.Class = events.ErrUnsupported
		e.Message = fmt.Sprintf("the model %s does not support tools: take one that does (for example `ollama pull qwen3`), or offer no tools (%s)", model, e.Message)
	case strings.Contains(said, "does not support thinking"):
		e.Class = events.ErrUnsupported
		e.Message = fmt.Sprintf("the model %s does not support thinking: leave out the reasoning effort, or take another model (%s)", model, e.Message)
	case e.HTTPStatus == http.StatusNotFound && strings.Contains(said, "not found") && strings.Contains(said, "model"):
		e.Class = events.ErrInvalidRequest
		e.Message = fmt.Sprintf("the model %s is not on the server: get it with `ollama pull %s` (%s)", model, model, e.Message)
	}
	return e
}
