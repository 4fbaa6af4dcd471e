// Package gemini calls Google's Gemini API (generateContent) with a thin client of its
// own.
//
// A request holds the complete history. Data that the API must get back unchanged
// (thought signatures, parts of kinds that Parley does not know) is stored as Carry in
// the events and is sent back only to the model that wrote it.
//
// Sources: https://ai.google.dev/api/generate-content,
// https://ai.google.dev/gemini-api/docs/function-calling and
// https://ai.google.dev/gemini-api/docs/thought-signatures. See docs/adr/0074.
package gemini

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/dialect"
)

const (
	defaultName    = "gemini"
	defaultBaseURL = "https://generativelanguage.googleapis.com"
	defaultVersion = "/v1beta"
)

// lingerTime bounds how long the end of the connection is awaited after a finish
// reason. The API has no other terminal sign and closes the connection at once, but
// translating gateways also send finish reasons before content.
const lingerTime = 2 * time.Second

// Config holds the address and the key of a server of the Gemini API. New does not read
// the environment: an empty field means the default.
type Config struct {
	Name       string       // first part of a model's full name; "gemini"
	APIKey     string       // sent as x-goog-api-key
	BaseURL    string       // with or without the version at its end; "https://generativelanguage.googleapis.com/v1beta"
	HTTPClient *http.Client // no timeout on bodies; http.DefaultClient
}

// Provider calls the models of one server of the Gemini API.
type Provider struct {
	name     string
	base     string // with the version, without a slash at its end
	apiKey   string
	linger   time.Duration
	client   *http.Client
	offering *llm.Offering
}

// New returns a provider without connecting.
func New(c Config) *Provider {
	base := cmp.Or(llm.BaseURL(c.BaseURL, "/models", "/openai", "/chat/completions"), defaultBaseURL)
	if !versioned(base) {
		base += defaultVersion
	}
	return &Provider{
		name:     cmp.Or(c.Name, defaultName),
		base:     base,
		apiKey:   c.APIKey,
		linger:   lingerTime,
		client:   llm.Client(c.HTTPClient),
		offering: llm.NewOffering(dialect.Gemini()),
	}
}

// versioned reports whether a base URL ends with a version of the API.
func versioned(base string) bool {
	for _, version := range []string{"/v1", "/v1beta", "/v1alpha"} {
		if strings.HasSuffix(base, version) {
			return true
		}
	}
	return false
}

// BaseURL returns the host's base URL with the API's version, "/v1beta".
func (p *Provider) BaseURL() string { return p.base }

// Name implements [llm.Provider].
func (p *Provider) Name() string { return p.name }

// Capabilities implements [llm.Provider]. Whether a model calls tools is only known
// after a request; the API refuses the request if it does not.
func (p *Provider) Capabilities(model string) llm.Capabilities {
	// Models before Gemini 3 refuse a schema of answers beside tools.
	return llm.Capabilities{Tools: true, StreamTools: true, Schema: true, SchemaTools: signs(model)}
}

// Stream implements [llm.Provider].
func (p *Provider) Stream(ctx context.Context, req llm.Request) llm.Stream {
	return func(yield func(events.Event, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		var linger *time.Timer
		finished := func(is bool) {
			if linger != nil {
				linger.Stop()
			}
			if is {
				linger = time.AfterFunc(p.linger, cancel)
			}
		}
		defer finished(false)
		p.offering.Stream(req,
			func(req llm.Request) (io.ReadCloser, *events.Error) { return p.post(ctx, req) },
			func(body io.Reader) llm.Stream { return decode(body, finished) })(yield)
	}
}

func (p *Provider) post(ctx context.Context, req llm.Request) (io.ReadCloser, *events.Error) {
	if bad := llm.CheckBaseURL(p.name, p.base); bad != nil {
		return nil, bad
	}
	body, failed := p.body(req)
	if failed != nil {
		return nil, failed
	}
	header := http.Header{"Accept": {"text/event-stream, application/json"}}
	if p.apiKey != "" {
		header.Set("X-Goog-Api-Key", p.apiKey)
	}
	to := p.base + "/" + resource(req.Model) + ":streamGenerateContent?alt=sse"
	if req.Whole {
		to = p.base + "/" + resource(req.Model) + ":generateContent"
	}
	answer, failed := llm.Post(ctx, p.client, to, header, body)
	if failed != nil && failed.HTTPStatus > 0 && failed.Class == events.ErrAuth {
		failed.Message += fmt.Sprintf(" (check the API key of provider %q)", p.name)
	}
	return answer, failed
}

// resource returns the path of a model: "models/gemini-2.5-flash". Nothing in a name
// may change the method or the query.
func resource(model string) string {
	kind := "models"
	for _, k := range []string{"models", "tunedModels"} {
		if rest, ok := strings.CutPrefix(model, k+"/"); ok {
			kind, model = k, rest
		}
	}
	return kind + "/" + strings.ReplaceAll(url.PathEscape(model), ":", "%3A")
}
