// Package openairesponses calls models through OpenAI's Responses API, at
// OpenAI or at a compatible server. The requests are stateless: the provider
// stores nothing, and encrypted reasoning is sent back with the history.
//
// Source: https://platform.openai.com/docs/api-reference/responses
package openairesponses

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/dialect"
)

// Config holds the address and credentials of a server.
type Config struct {
	// Name is the first part of the models' full names. Default: openai-responses.
	Name string
	// APIKey is sent as bearer token; without one nothing is sent. The
	// environment is never read.
	APIKey string
	// BaseURL is what "/responses" is added to. Default: https://api.openai.com/v1.
	BaseURL string
	// HTTPClient makes the requests. Default: [http.DefaultClient]. Its Timeout
	// would bound whole answers: leave it 0.
	HTTPClient *http.Client
}

// Provider is the [llm.Provider] of this API.
type Provider struct {
	name     string
	baseURL  string
	service  responses.ResponseService
	offering *llm.Offering
}

// New returns a provider. Stream returns the error of an invalid base URL.
func New(c Config) *Provider {
	c.BaseURL = cmp.Or(llm.BaseURL(c.BaseURL, "/responses", "/chat/completions", "/models"), "https://api.openai.com/v1")
	// The service, unlike the client, reads nothing from the environment.
	return &Provider{
		name:     cmp.Or(c.Name, "openai-responses"),
		baseURL:  c.BaseURL,
		offering: llm.NewOffering(dialect.Responses()),
		service: responses.NewResponseService(
			option.WithBaseURL(c.BaseURL),
			option.WithAPIKey(c.APIKey),
			option.WithHTTPClient(llm.Client(c.HTTPClient)),
			option.WithMaxRetries(0),
			option.WithMiddleware(llm.BoundRefusals),
		),
	}
}

// Name implements [llm.Provider].
func (p *Provider) Name() string { return p.name }

// Capabilities implements [llm.Provider]: the API has tools for every model and
// streams them.
func (p *Provider) Capabilities(string) llm.Capabilities {
	return llm.Capabilities{Tools: true, StreamTools: true, Schema: true, SchemaTools: true}
}

// Stream implements [llm.Provider].
func (p *Provider) Stream(ctx context.Context, req llm.Request) llm.Stream {
	decode := Decode
	if req.Whole {
		decode = DecodeWhole
	}
	return p.offering.Stream(req, func(req llm.Request) (io.ReadCloser, *events.Error) { return p.post(ctx, req) }, decode)
}

// post sends the request and returns the body of the answer.
func (p *Provider) post(ctx context.Context, req llm.Request) (io.ReadCloser, *events.Error) {
	params, err := p.params(req)
	if refused, ok := errors.AsType[*events.Error](err); ok {
		return nil, refused
	}
	if err != nil {
		return nil, &events.Error{Class: events.ErrInvalidRequest, Message: err.Error()}
	}
	if bad := llm.CheckBaseURL(p.name, p.baseURL); bad != nil {
		return nil, bad
	}
	accept := "text/event-stream"
	if req.Whole {
		accept = "application/json"
	}
	var answer *http.Response
	_, err = p.service.New(ctx, params,
		option.WithJSONSet("stream", !req.Whole),
		option.WithHeader("Accept", accept),
		option.WithResponseBodyInto(&answer))
	switch {
	case answer == nil:
		return nil, llm.FromRead(ctx, cmp.Or(err, errNoAnswer))
	case err != nil && answer.StatusCode >= 200 && answer.StatusCode < 300:
		return nil, llm.FromRead(ctx, errors.Join(err, answer.Body.Close()))
	}
	// Not the library's error for a refusal, which is empty if "error" is a
	// string.
	return llm.Accept(ctx, answer)
}

var errNoAnswer = errors.New("no answer came")

// params returns the content of the request.
func (p *Provider) params(req llm.Request) (responses.ResponseNewParams, error) {
	q := req.Parameters
	if err := llm.CheckExtra(q.Extra); err != nil {
		return responses.ResponseNewParams{}, err
	}
	params := responses.ResponseNewParams{
		Model: req.Model,
		Store: param.NewOpt(false),
		Input: responses.ResponseNewParamsInputUnion{OfInputItemList: p.input(req)},
	}
	if reasons(req.Model) {
		params.Include = []responses.ResponseIncludable{responses.ResponseIncludableReasoningEncryptedContent}
	}
	if req.System != "" {
		params.Instructions = param.NewOpt(req.System)
	}
	if req.CacheKey != "" && llm.IsOpenAI(p.baseURL) {
		params.PromptCacheKey = param.NewOpt(req.CacheKey)
	}
	if q.MaxTokens > 0 {
		params.MaxOutputTokens = param.NewOpt(q.MaxTokens)
	}
	if q.Temperature != nil {
		params.Temperature = param.NewOpt(*q.Temperature)
	}
	if q.TopP != nil {
		params.TopP = param.NewOpt(*q.TopP)
	}
	if len(req.Schema) > 0 {
		format := &responses.ResponseFormatTextJSONSchemaConfigParam{Name: "answer", Strict: param.NewOpt(dialect.Strict(req.Schema))}
		format.SetExtraFields(map[string]any{"schema": req.Schema}) // unchanged: a map would lose the order of the properties
		params.Text.Format.OfJSONSchema = format
	}
	params.Reasoning.Effort = responses.ReasoningEffort(q.ReasoningEffort)
	tools(&params, req)
	if len(q.Extra) > 0 {
		extra := make(map[string]any, len(q.Extra))
		for k, v := range q.Extra {
			extra[k] = v
		}
		params.SetExtraFields(extra)
	}
	return params, nil
}
