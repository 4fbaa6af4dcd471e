// Package anthropic calls Anthropic's Messages API with a thin client of its
// own.
//
// A request holds the complete history; the provider keeps no state between
// requests. Data that Anthropic must get back unchanged (signatures of
// thinking, redacted thinking, blocks of tools that it runs itself) is stored
// as Carry in the events and is sent back only to the model that wrote it.
//
// Sources: https://docs.claude.com/en/api/messages and
// https://docs.claude.com/en/docs/build-with-claude/streaming. See
// docs/adr/0003 for the reasons against the SDK.
package anthropic

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/dialect"
)

const (
	defaultName    = "anthropic"
	defaultBaseURL = "https://api.anthropic.com"
)

// Version is the version of the API, which every request names.
const Version = "2023-06-01"

// Config holds the address and credentials of a server of the Messages API. New
// does not read the environment: an empty field means the default.
type Config struct {
	Name       string       // first part of a model's full name; "anthropic"
	APIKey     string       // sent as x-api-key
	AuthToken  string       // sent as Authorization: Bearer, for gateways
	BaseURL    string       // with or without /v1 at its end; "https://api.anthropic.com"
	HTTPClient *http.Client // no timeout on bodies; http.DefaultClient
}

// Provider calls the models of one server of the Messages API.
type Provider struct {
	name      string
	endpoint  string
	apiKey    string
	authToken string
	client    *http.Client
	offering  *llm.Offering
}

// New returns a provider without connecting.
func New(c Config) *Provider {
	base := cmp.Or(llm.BaseURL(c.BaseURL, "/messages", "/models", "/v1"), defaultBaseURL)
	return &Provider{
		name:      cmp.Or(c.Name, defaultName),
		endpoint:  base + "/v1/messages",
		apiKey:    c.APIKey,
		authToken: c.AuthToken,
		client:    llm.Client(c.HTTPClient),
		offering:  llm.NewOffering(dialect.Anthropic()),
	}
}

// BaseURL returns the host's base URL with the API's version, "/v1".
func (p *Provider) BaseURL() string { return strings.TrimSuffix(p.endpoint, "/messages") }

// Name implements [llm.Provider].
func (p *Provider) Name() string { return p.name }

// Capabilities implements [llm.Provider]: every model of this API calls tools
// and streams them.
func (p *Provider) Capabilities(model string) llm.Capabilities {
	own := structured(model)
	return llm.Capabilities{Tools: true, StreamTools: true, Schema: own, SchemaTools: own}
}

// Stream implements [llm.Provider].
func (p *Provider) Stream(ctx context.Context, req llm.Request) llm.Stream {
	return p.offering.Stream(req, func(req llm.Request) (io.ReadCloser, *events.Error) { return p.post(ctx, req) }, Decode)
}

func (p *Provider) post(ctx context.Context, req llm.Request) (io.ReadCloser, *events.Error) {
	body, beta, failed := p.body(req)
	if failed != nil {
		return nil, failed
	}
	header := http.Header{"Accept": {"text/event-stream, application/json"}, "Anthropic-Version": {Version}}
	if beta != "" {
		header.Set("Anthropic-Beta", beta)
	}
	if p.apiKey != "" {
		header.Set("X-Api-Key", p.apiKey)
	}
	if p.authToken != "" {
		header.Set("Authorization", "Bearer "+p.authToken)
	}
	answer, failed := llm.Post(ctx, p.client, p.endpoint, header, body)
	if failed != nil && failed.HTTPStatus > 0 && failed.Class == events.ErrAuth {
		failed.Message += fmt.Sprintf(" (check the API key of provider %q)", p.name)
	}
	return answer, failed
}
