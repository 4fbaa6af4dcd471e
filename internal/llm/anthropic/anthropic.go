// Package anthropic speaks Anthropic's Messages API with its own thin client.
//
// A request holds the whole history; nothing is kept between requests. What
// Anthropic must get back unchanged (signatures of thinking, redacted thinking,
// blocks of tools that it runs itself) travels as Carry of the events and is
// returned only when the message's Provider is this provider's name.
//
// Sources: https://docs.claude.com/en/api/messages and
// https://docs.claude.com/en/docs/build-with-claude/streaming; what is really
// sent is in PROVIDERS.md 54 to 63. docs/adr/0003 says why there is no SDK.
package anthropic

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

const (
	defaultName    = "anthropic"
	defaultBaseURL = "https://api.anthropic.com"
	apiVersion     = "2023-06-01"
	// maxErrorBody bounds how much of a refused answer is read, in bytes.
	maxErrorBody = 64 << 10
)

// Config says how a server of the Messages API is reached. The environment is
// not read: what is empty here is the default.
type Config struct {
	Name       string       // first part of a model's full name; "anthropic"
	APIKey     string       // sent as x-api-key
	AuthToken  string       // sent as Authorization: Bearer, what gateways expect
	BaseURL    string       // with or without /v1 at its end; "https://api.anthropic.com"
	HTTPClient *http.Client // no timeout on bodies; http.DefaultClient
}

// Provider asks the models of one server of the Messages API.
type Provider struct {
	name      string
	endpoint  string
	apiKey    string
	authToken string
	client    *http.Client
}

// New returns a provider; it connects to nothing.
func New(c Config) *Provider {
	base := strings.TrimRight(cmp.Or(c.BaseURL, defaultBaseURL), "/")
	return &Provider{
		name:      cmp.Or(c.Name, defaultName),
		endpoint:  strings.TrimSuffix(base, "/v1") + "/v1/messages",
		apiKey:    c.APIKey,
		authToken: c.AuthToken,
		client:    cmp.Or(c.HTTPClient, http.DefaultClient),
	}
}

// Name implements [llm.Provider].
func (p *Provider) Name() string { return p.name }

// Capabilities implements [llm.Provider]: every model of this API calls tools
// and streams them.
func (p *Provider) Capabilities(string) llm.Capabilities {
	return llm.Capabilities{Tools: true, StreamTools: true}
}

// Stream implements [llm.Provider].
func (p *Provider) Stream(ctx context.Context, req llm.Request) llm.Stream {
	return func(yield func(events.Event, error) bool) {
		resp, err := p.post(ctx, req)
		if err != nil {
			fail(yield, err)
			return
		}
		// The answer is read or given up; a failure to close loses nothing.
		defer func() { _ = resp.Body.Close() }()
		if err := p.check(ctx, resp); err != nil {
			fail(yield, err)
			return
		}
		decode(ctx, resp.Body)(yield)
	}
}

func fail(yield func(events.Event, error) bool, err error) {
	var e *events.Error
	if !errors.As(err, &e) {
		e = &events.Error{Class: events.ErrInvalidRequest, Message: err.Error()}
	}
	llm.NewWriter(yield).End(events.GenerationEnded{Error: e})
}

func (p *Provider) post(ctx context.Context, req llm.Request) (*http.Response, error) {
	body, err := p.body(req)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.endpoint, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("the base URL of provider %s cannot be used: %w", p.name, err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "text/event-stream, application/json")
	r.Header.Set("Anthropic-Version", apiVersion)
	if p.apiKey != "" {
		r.Header.Set("X-Api-Key", p.apiKey)
	}
	if p.authToken != "" {
		r.Header.Set("Authorization", "Bearer "+p.authToken)
	}
	resp, err := p.client.Do(r)
	if err != nil {
		return nil, llm.FromRead(ctx, err)
	}
	return resp, nil
}

// check refuses answers that hold neither a stream nor a message. Gateways
// label both loosely: only what is surely something else is refused here, the
// rest is for the decoder to see.
func (p *Provider) check(ctx context.Context, resp *http.Response) error {
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	ok := resp.StatusCode >= 200 && resp.StatusCode < 300
	if ok && (err != nil || kind != "text/html" && kind != "application/xml" && kind != "text/xml") {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err != nil && ctx.Err() != nil {
		return llm.FromRead(ctx, err)
	}
	if ok {
		e := notAnswer("a page of type " + kind)
		e.HTTPStatus = resp.StatusCode
		return e
	}
	e := llm.FromHTTP(resp.StatusCode, resp.Header, body)
	if e.Class == events.ErrAuth {
		e.Message += fmt.Sprintf(" (check the API key of provider %q)", p.name)
	}
	if id := resp.Header.Get("Request-Id"); id != "" {
		e.Message += " (request " + id + ")"
	}
	return e
}
