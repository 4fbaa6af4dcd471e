package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/secret"
)

// ErrKeyRefused is wrapped by the error if a provider refuses its key.
var ErrKeyRefused = errors.New("the key is refused")

// Check requests a provider's list of models, which is free, and returns the
// reason if the provider refuses. A host without such a list passes: its key
// cannot be tested. Check sends nothing to providers without a key: Open finds
// those that do not answer.
func (c *Catalog) Check(ctx context.Context, provider string, getenv func(string) string) (asked bool, err error) {
	header := http.Header{}
	var to, key string
	getenv = cleaned(getenv)
	switch provider {
	case OpenAI, OpenAIResponses:
		to, key = cmp.Or(llm.BaseURL(getenv("OPENAI_BASE_URL"), "/chat/completions", "/responses", "/models"), "https://api.openai.com/v1"), "OPENAI_API_KEY"
		if v := getenv(key); v != "" {
			header.Set("Authorization", "Bearer "+v)
		}
	case Anthropic:
		to = cmp.Or(llm.BaseURL(getenv("ANTHROPIC_BASE_URL"), "/messages", "/models", "/v1"), "https://api.anthropic.com") + "/v1"
		header.Set("Anthropic-Version", "2023-06-01")
		if key = "ANTHROPIC_API_KEY"; getenv(key) != "" {
			header.Set("X-Api-Key", getenv(key))
		} else {
			key = "ANTHROPIC_AUTH_TOKEN"
			header.Set("Authorization", "Bearer "+getenv(key))
		}
	default:
		return false, nil
	}
	to = strings.TrimRight(to, "/") + "/models"
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, to, nil)
	if err != nil {
		return true, fmt.Errorf("%s: the base URL %s is not usable: correct it", provider, secret.URL(to))
	}
	r.Header = header
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	res, err := client.Do(r)
	if err != nil {
		return true, fmt.Errorf("%s cannot be reached: %w: check the network and the base URL", provider, err)
	}
	_ = res.Body.Close() // the status is enough
	switch res.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return true, fmt.Errorf("%s answers HTTP %d at %s: %w: correct %s", provider, res.StatusCode, secret.URL(to), ErrKeyRefused, key)
	}
	return true, nil
}
