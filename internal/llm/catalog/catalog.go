// Package catalog opens the configured providers by name, selects the default
// model, and returns a provider's decoder.
package catalog

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/anthropic"
	"github.com/parleybus/parley/internal/llm/gemini"
	"github.com/parleybus/parley/internal/llm/ollama"
	"github.com/parleybus/parley/internal/llm/openai"
	"github.com/parleybus/parley/internal/llm/openairesponses"
	"github.com/parleybus/parley/internal/llm/scripted"
	"github.com/parleybus/parley/internal/secret"
)

// Names of the providers, which are the first parts of their models' full names.
const (
	OpenAI          = "openai"
	OpenAIResponses = "openai-responses"
	Anthropic       = "anthropic"
	Gemini          = "gemini"
	Ollama          = "ollama"
	Scripted        = "scripted"
)

// Providers returns the names of all providers.
func Providers() []string {
	return []string{OpenAI, OpenAIResponses, Anthropic, Gemini, Ollama, Scripted}
}

// Default models.
const (
	defaultOpenAI    = "gpt-5-mini"
	defaultAnthropic = "claude-sonnet-4-5"
	defaultGemini    = "gemini-flash-latest" // Google's alias of its newest one
	defaultScripted  = "demo"
)

// ollamaProbe is the timeout of the probe for a server that may not exist.
const ollamaProbe = 500 * time.Millisecond

// Entry is a configured provider.
type Entry struct {
	Provider llm.Provider
	Model    string // the provider's default model
	Why      string // what configured it

	at    *site            // where its models are listed; nil for one without a list
	local *ollama.Provider // nil for all others
}

// Catalog holds the configured providers.
type Catalog struct {
	Entries map[string]Entry // by the provider's name
	Default string           // full name of the default model
	Why     string           // why it is the default
}

// Options configure [Open].
type Options struct {
	Getenv func(string) string
	Models []string      // full names that override the defaults; the first is the default model
	Script string        // file for the scripted provider; the demo when empty
	Idle   time.Duration // of the watchdog around each provider
	// NoTools and NoToolStream are patterns (path.Match) of full names: models
	// that cannot call tools, and models that can only without streaming.
	NoTools, NoToolStream []string
	// NoImages are patterns of models that take no images.
	NoImages []string
	// TellReasoning sends the reasoning of other models as text; otherwise it is left
	// out of the history.
	TellReasoning bool
	// Endpoints are servers of Chat Completions, as [ParseEndpoint] reads them.
	Endpoints []string
}

// Open opens the configured providers: OPENAI_API_KEY or OPENAI_BASE_URL,
// ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN, GEMINI_API_KEY or GOOGLE_API_KEY, a server at OLLAMA_HOST (or
// Ollama's own port) that answers, and always the scripted provider.
func Open(ctx context.Context, o Options) (*Catalog, error) {
	c := &Catalog{Entries: map[string]Entry{}}
	if err := checkKeys(o.Getenv); err != nil {
		return nil, err
	}
	o.Getenv = cleaned(o.Getenv)
	for _, p := range slices.Concat(o.NoTools, o.NoToolStream, o.NoImages) {
		if _, err := path.Match(p, ""); err != nil {
			return nil, fmt.Errorf("pattern %q of models: %w", p, err)
		}
	}
	add := func(p llm.Provider, at *site, model, why string) {
		e := Entry{Provider: llm.Lenient(llm.Guard(llm.Fallback(&overridden{p, o.NoTools, o.NoToolStream, o.NoImages, o.TellReasoning}), o.Idle)), Model: model, Why: why, at: at}
		e.local, _ = p.(*ollama.Provider)
		c.Entries[p.Name()] = e
		if c.Default == "" && model != "" {
			c.Default, c.Why = p.Name()+"/"+model, why
		}
	}
	if key, base := o.Getenv("OPENAI_API_KEY"), o.Getenv("OPENAI_BASE_URL"); key != "" || base != "" {
		why := "OPENAI_API_KEY is set"
		if key == "" {
			why = "OPENAI_BASE_URL is set"
		}
		p := openai.New(openai.Config{APIKey: key, BaseURL: base})
		at := &site{base: p.BaseURL(), header: bearer(key), key: "OPENAI_API_KEY"}
		add(p, at, defaultOpenAI, why)
		add(openairesponses.New(openairesponses.Config{APIKey: key, BaseURL: base}), at, defaultOpenAI, why)
	}
	if key, token := o.Getenv("ANTHROPIC_API_KEY"), o.Getenv("ANTHROPIC_AUTH_TOKEN"); key != "" || token != "" {
		why := "ANTHROPIC_API_KEY is set"
		if key == "" {
			why = "ANTHROPIC_AUTH_TOKEN is set"
		}
		p := anthropic.New(anthropic.Config{APIKey: key, AuthToken: token, BaseURL: o.Getenv("ANTHROPIC_BASE_URL")})
		at := &site{base: p.BaseURL(), header: bearer(token), key: "ANTHROPIC_AUTH_TOKEN"}
		if key != "" {
			at.header, at.key = http.Header{"X-Api-Key": {key}}, "ANTHROPIC_API_KEY"
		}
		at.header.Set("Anthropic-Version", anthropic.Version)
		add(p, at, defaultAnthropic, why)
	}
	if variable, key := geminiKey(o.Getenv); key != "" {
		p := gemini.New(gemini.Config{APIKey: key, BaseURL: o.Getenv("GEMINI_BASE_URL")})
		at := &site{base: p.BaseURL(), query: "?pageSize=1000", header: http.Header{"X-Goog-Api-Key": {key}}, key: variable}
		add(p, at, defaultGemini, variable+" is set")
	}
	host := o.Getenv("OLLAMA_HOST")
	local := ollama.New(ollama.Config{Host: host})
	model, found, answers := probe(ctx, local)
	switch {
	case model != "":
		add(local, nil, model, found)
	case answers || host != "":
		add(local, nil, "", cmp.Or(found, "OLLAMA_HOST is set"))
	}
	named, err := o.endpoints()
	if err != nil {
		return nil, err
	}
	for _, e := range named {
		key := o.Getenv(e.KeyVariable())
		p := openai.New(openai.Config{Name: e.Name, APIKey: key, BaseURL: e.BaseURL})
		add(p, &site{base: p.BaseURL(), header: bearer(key), key: e.KeyVariable()}, "", "it is named, or "+e.KeyVariable()+" is set")
	}
	source := scripted.Demo()
	why := "no provider is configured: set OPENAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY or OLLAMA_HOST"
	switch {
	case answers && model == "":
		why = "no key is set, and " + found
	case host != "":
		why = "no Ollama server with a model answers at OLLAMA_HOST, and no key is set"
	}
	if o.Script != "" {
		raw, err := os.ReadFile(o.Script)
		if err != nil {
			return nil, fmt.Errorf("read the script: %w", err)
		}
		source, why = raw, "--script "+o.Script
		c.Default = ""
	}
	p, err := scripted.New(Scripted, source)
	if err != nil {
		return nil, err
	}
	add(p, nil, defaultScripted, why)
	return c, c.choose(o.Models)
}

// probe looks for a server of Ollama and for a model of it that can chat. The search
// for the model has more time than the search for the server, which may not exist.
func probe(ctx context.Context, local *ollama.Provider) (model, why string, answers bool) {
	quick, cancel := context.WithTimeout(ctx, ollamaProbe)
	defer cancel()
	if _, err := local.Models(quick); err != nil {
		return "", "", false
	}
	longer, stop := context.WithTimeout(ctx, 10*ollamaProbe)
	defer stop()
	model, why, err := local.Choose(longer)
	return model, why, err == nil
}

// overridden overrides the capabilities of a provider's models, and what they are
// sent, with the user's settings.
type overridden struct {
	llm.Provider
	noTools, noToolStream, noImages []string
	tellReasoning                   bool
}

// Stream implements [llm.Provider].
func (t *overridden) Stream(ctx context.Context, req llm.Request) llm.Stream {
	req.TellReasoning = t.tellReasoning
	req.NoImages = req.NoImages || t.Capabilities(req.Model).NoImages
	return t.Provider.Stream(ctx, req)
}

// Capabilities implements [llm.Provider].
func (t *overridden) Capabilities(model string) llm.Capabilities {
	c := t.Provider.Capabilities(model)
	full := t.Name() + "/" + model
	matches := func(pattern string) bool { ok, err := path.Match(pattern, full); return ok && err == nil }
	c.Tools = c.Tools && !slices.ContainsFunc(t.noTools, matches)
	c.StreamTools = c.StreamTools && !slices.ContainsFunc(t.noToolStream, matches)
	c.NoImages = c.NoImages || slices.ContainsFunc(t.noImages, matches)
	return c
}

// choose overrides the default models with the named ones.
func (c *Catalog) choose(models []string) error {
	for i, full := range models {
		provider, model, _ := strings.Cut(full, "/")
		e, ok := c.Entries[provider]
		if !ok {
			return fmt.Errorf("model %q: %s", full, c.missing(provider))
		}
		if model != "" {
			e.Model = model
			c.Entries[provider] = e
		}
		if e.Model == "" {
			return fmt.Errorf("model %q names no model: write %s/NAME", full, provider)
		}
		if i == 0 {
			c.Default, c.Why = provider+"/"+e.Model, "it was requested"
		}
	}
	return nil
}

func (c *Catalog) missing(provider string) string {
	switch provider {
	case OpenAI, OpenAIResponses:
		return "set OPENAI_API_KEY (and OPENAI_BASE_URL for a compatible server)"
	case Anthropic:
		return "set ANTHROPIC_API_KEY"
	case Gemini:
		return "set GEMINI_API_KEY"
	case Ollama:
		return "no Ollama server answers: run `ollama serve` and pull a model, or set OLLAMA_HOST"
	}
	if slices.Contains(presetNames(), provider) {
		return "set " + secret.KeyOf(provider)
	}
	return fmt.Sprintf("there is no provider %q: name a server of Chat Completions with --provider %s=https://…; the others are %s", provider, provider,
		strings.Join(Providers(), ", "))
}

// Names returns the configured providers, sorted.
func (c *Catalog) Names() []string {
	var names []string
	for name := range c.Entries {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Decoder returns the decoder of a provider's recorded body.
func Decoder(provider string) (llm.Decoder, error) {
	switch provider {
	case OpenAI:
		return openai.Decode, nil
	case OpenAIResponses:
		return openairesponses.Decode, nil
	case Anthropic:
		return anthropic.Decode, nil
	case Gemini:
		return gemini.Decode, nil
	case Ollama:
		return ollama.Decode, nil
	}
	return nil, fmt.Errorf("there is no decoder for provider %q; there are openai, openai-responses, anthropic, gemini and ollama", provider)
}
