package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/parleybus/parley/internal/llm/catalog"
)

// Models checks the providers that are configured in this process: their keys,
// by requesting each provider's list of models, and the default model.
func Models(ctx context.Context, c *catalog.Catalog) []Finding {
	all := []Finding{{Check: "models", OK: true, Says: fmt.Sprintf("%s would answer here (%s); configured: %s", c.Default, c.Why, strings.Join(c.Names(), ", "))}}
	provider, _, _ := strings.Cut(c.Default, "/")
	var bad, good []string
	for _, name := range c.Names() {
		ctx, cancel := context.WithTimeout(ctx, mcpTimeout)
		asked, err := c.Check(ctx, name)
		cancel()
		switch {
		case !asked:
		case err == nil:
			good = append(good, name)
		case name == provider || errors.Is(err, catalog.ErrKeyRefused):
			bad = append(bad, err.Error())
		}
	}
	f := Finding{Check: "keys", OK: len(bad) == 0, Says: "no key is configured"}
	switch {
	case !f.OK:
		f.Says = strings.Join(bad, "; ")
	case len(good) > 0:
		f.Says = "accepted by " + strings.Join(good, ", ")
	}
	return append(all, f)
}
