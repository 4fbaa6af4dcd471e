package catalog

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/secret"
)

// Endpoint is a server of OpenAI's Chat Completions under a name of its own, which is
// the first part of its models' full names. Its key is in NAME_API_KEY.
type Endpoint struct{ Name, BaseURL string }

// KeyVariable returns the name of the variable with the endpoint's key: GROQ_API_KEY
// for groq.
func (e Endpoint) KeyVariable() string { return secret.KeyOf(e.Name) }

// Presets returns the endpoints whose URL is known. Each exists as soon as its key is
// set, or by its name in [Options].Endpoints.
func Presets() []Endpoint {
	return []Endpoint{
		{"cerebras", "https://api.cerebras.ai/v1"},
		{"deepseek", "https://api.deepseek.com/v1"},
		{"fireworks", "https://api.fireworks.ai/inference/v1"},
		{"groq", "https://api.groq.com/openai/v1"},
		{"mistral", "https://api.mistral.ai/v1"},
		{"moonshot", "https://api.moonshot.ai/v1"},
		{"nvidia", "https://integrate.api.nvidia.com/v1"},
		{"openrouter", "https://openrouter.ai/api/v1"},
		{"perplexity", "https://api.perplexity.ai"},
		{"together", "https://api.together.xyz/v1"},
		{"xai", "https://api.x.ai/v1"},
	}
}

// ParseEndpoint reads NAME=URL, or the name of a preset.
func ParseEndpoint(text string) (Endpoint, error) {
	name, base, given := strings.Cut(strings.TrimSpace(text), "=")
	e := Endpoint{Name: name, BaseURL: secret.Clean(base)}
	switch {
	case !regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`).MatchString(name):
		return e, fmt.Errorf("provider %q: the name must be lower-case letters, digits and -, as in groq=https://api.groq.com/openai/v1", name)
	case slices.Contains(Providers(), name):
		return e, fmt.Errorf("provider %q has its own variables (OPENAI_BASE_URL, OLLAMA_HOST, …): take another name", name)
	case !given:
		i := slices.IndexFunc(Presets(), func(p Endpoint) bool { return p.Name == name })
		if i < 0 {
			return e, fmt.Errorf("provider %q has no known URL: write %s=https://…; known are %s", name, name, strings.Join(presetNames(), ", "))
		}
		return Presets()[i], nil
	}
	if bad := llm.CheckBaseURL(name, e.BaseURL); bad != nil {
		return e, fmt.Errorf("%s", bad.Message)
	}
	return e, nil
}

// Routes returns the names of all providers and presets, and of the endpoints that are
// given as in [Options].Endpoints: the routes that an llm-worker may serve.
func Routes(endpoints []string) ([]string, error) {
	all := append(Providers(), presetNames()...)
	for _, text := range endpoints {
		e, err := ParseEndpoint(text)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(all, e.Name) {
			all = append(all, e.Name)
		}
	}
	return all, nil
}

func presetNames() (names []string) {
	for _, p := range Presets() {
		names = append(names, p.Name)
	}
	return names
}

// endpoints returns those that are named and the presets with a key, each name once:
// the last one given counts.
func (o Options) endpoints() ([]Endpoint, error) {
	var all []Endpoint
	put := func(e Endpoint) {
		if i := slices.IndexFunc(all, func(old Endpoint) bool { return old.Name == e.Name }); i >= 0 {
			all[i] = e
			return
		}
		all = append(all, e)
	}
	for _, p := range Presets() {
		if o.Getenv(p.KeyVariable()) != "" {
			put(p)
		}
	}
	for _, text := range o.Endpoints {
		e, err := ParseEndpoint(text)
		if err != nil {
			return nil, err
		}
		put(e)
	}
	for _, e := range all {
		if err := secret.Check(e.KeyVariable(), o.Getenv(e.KeyVariable())); err != nil {
			return nil, fmt.Errorf("a key is not usable: %w", err)
		}
	}
	return all, nil
}
