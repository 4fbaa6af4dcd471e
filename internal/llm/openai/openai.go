// Package openai calls models through OpenAI's Chat Completions, at OpenAI or
// at any of the many compatible hosts.
//
// The vendor's library makes the request. The answer is decoded here, from the
// raw body: the library's decoder loses errors, calls and usage of most hosts
// that are not OpenAI.
//
// Reference: https://platform.openai.com/docs/api-reference/chat.
package openai

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/dialect"
)

// Config holds the address and credentials of a host. New does not read the
// environment: a key for one host must not reach another.
type Config struct {
	// Name is the provider's name in routes; empty means "openai". Data that a
	// model needs back (reasoning, signatures) is sent back only to the name
	// that wrote it, so each host needs a separate name.
	Name string
	// APIKey is sent as bearer token; empty means none.
	APIKey string
	// BaseURL is the URL before chat/completions; empty means OpenAI.
	BaseURL string
	// Header is added to each request.
	Header http.Header
	// HTTPClient makes the requests; nil means [http.DefaultClient]. It must
	// not have a Timeout, which would truncate long answers.
	HTTPClient *http.Client
	// Capabilities returns what a model can do; nil means that all models call
	// tools while streaming.
	Capabilities func(model string) llm.Capabilities
}

// Provider is an [llm.Provider].
type Provider struct {
	config   Config
	client   sdk.Client
	offering *llm.Offering
}

// New returns a provider without connecting. The first request returns the
// error of a wrong configuration.
func New(c Config) *Provider {
	c.Name = cmp.Or(c.Name, "openai")
	c.BaseURL = cmp.Or(llm.BaseURL(c.BaseURL, "/chat/completions", "/completions", "/responses", "/models"), "https://api.openai.com/v1/")
	options := []option.RequestOption{
		option.WithBaseURL(c.BaseURL),
		option.WithMaxRetries(0), // the bus retries; attempts must not multiply
		option.WithHTTPClient(llm.Client(c.HTTPClient)),
		option.WithMiddleware(llm.BoundRefusals),
	}
	if c.APIKey != "" {
		options = append(options, option.WithAPIKey(c.APIKey))
	}
	for key, values := range c.Header {
		for _, v := range values {
			options = append(options, option.WithHeaderAdd(key, v))
		}
	}
	// Not sdk.NewClient, which takes key, host and headers from the environment.
	return &Provider{config: c, client: sdk.Client{Options: options}, offering: llm.NewOffering(dialect.OpenAI())}
}

// BaseURL returns the host's base URL, without a slash at its end.
func (p *Provider) BaseURL() string { return strings.TrimRight(p.config.BaseURL, "/") }

// Name implements [llm.Provider].
func (p *Provider) Name() string { return p.config.Name }

// Capabilities implements [llm.Provider].
func (p *Provider) Capabilities(model string) llm.Capabilities {
	if p.config.Capabilities == nil {
		return llm.Capabilities{Tools: true, StreamTools: true, Schema: true, SchemaTools: true}
	}
	can := p.config.Capabilities(model)
	can.Schema, can.SchemaTools = true, true // hosts that have no such mode say so
	return can
}

// Stream implements [llm.Provider].
func (p *Provider) Stream(ctx context.Context, req llm.Request) llm.Stream {
	return p.offering.Stream(req, func(req llm.Request) (io.ReadCloser, *events.Error) { return p.post(ctx, req) }, Decode)
}

// post sends the request and returns the body of the answer; the caller closes
// it.
func (p *Provider) post(ctx context.Context, req llm.Request) (io.ReadCloser, *events.Error) {
	if len(req.Tools) > 0 {
		can := p.Capabilities(req.Model)
		if !can.Tools {
			return nil, &events.Error{Class: events.ErrUnsupported, Message: p.noTools(req.Model)}
		}
		req.Whole = req.Whole || !can.StreamTools
	}
	if bad := llm.CheckBaseURL(p.config.Name, p.config.BaseURL); bad != nil {
		return nil, bad
	}
	body, err := p.body(req)
	if refused, ok := errors.AsType[*events.Error](err); ok {
		return nil, refused
	}
	if err != nil {
		return nil, &events.Error{Class: events.ErrInvalidRequest, Message: fmt.Sprintf("the request to %s/%s cannot be built: %v", p.config.Name, req.Model, err)}
	}
	accept := "text/event-stream"
	if req.Whole {
		accept = "application/json"
	}
	var res *http.Response
	err = p.client.Post(ctx, "chat/completions", body, &res, option.WithHeader("Accept", accept))
	if res == nil {
		if err == nil {
			err = errors.New("no answer")
		}
		return nil, llm.FromRead(ctx, err)
	}
	answer, refusal := llm.Accept(ctx, res)
	if refusal != nil && refusal.Class == events.ErrUnsupported && strings.Contains(refusal.Message, "tool") && len(req.Tools) > 0 {
		refusal.Message += "; " + p.noTools(req.Model)
	}
	return answer, refusal
}

func (p *Provider) noTools(model string) string {
	return fmt.Sprintf("model %s/%s cannot call tools: choose a model that can, or offer it no tools", p.config.Name, model)
}
