package catalog

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/secret"
)

// ErrKeyRefused is wrapped by the error if a provider refuses its key.
var ErrKeyRefused = errors.New("the key is refused")

// Check requests a provider's list of models, which is free, and returns the
// reason if the provider refuses. A host without such a list passes: its key
// cannot be tested. Check sends nothing to providers without a key: Open finds
// those that do not answer.
func (c *Catalog) Check(ctx context.Context, provider string) (asked bool, err error) {
	at := c.Entries[provider].at
	if at == nil {
		return false, nil
	}
	res, err := at.get(ctx, provider)
	if err != nil {
		return true, err
	}
	_, refused := llm.Accept(ctx, res)
	_ = res.Body.Close() // what it says is known
	if refused == nil {
		return true, nil
	}
	// Google answers 400 for a wrong key, which only the text tells.
	switch bad := refused.Class == events.ErrAuth && res.StatusCode == http.StatusBadRequest; {
	case bad, res.StatusCode == http.StatusUnauthorized, res.StatusCode == http.StatusForbidden:
		return true, fmt.Errorf("%s answers HTTP %d at %s/models: %w: correct %s", provider, res.StatusCode, secret.URL(at.base), ErrKeyRefused, at.key)
	}
	return true, nil
}
