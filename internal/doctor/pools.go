package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// pools checks that a worker serves a model of each pool, and names the models that are
// never asked. Where no other process uses the server, the providers that are
// configured here count.
func (x *Examination) pools(ctx context.Context) (says, fixed string, err error) {
	served := slices.Clone(x.Providers)
	if !x.Alone {
		offers, err := x.Bus.Presence().Offers(ctx)
		if err != nil {
			return "", "", err
		}
		served = nil
		for _, o := range offers {
			if o.Kind == "llm" {
				served = append(served, o.Name)
			}
		}
	}
	var good, bad []string
	for _, name := range x.Rules.Pools.Names() {
		pool := x.Rules.Pools[name]
		var missing []string
		for _, model := range pool.Models() {
			if provider, _, _ := strings.Cut(model, "/"); !slices.Contains(served, provider) {
				missing = append(missing, model)
			}
		}
		text := fmt.Sprintf("%s asks %s", name, pool)
		switch {
		case len(missing) == len(pool):
			bad = append(bad, fmt.Sprintf("no worker serves a model of pool %s (%s): start an llm-worker with a key for one of them", name, pool))
			continue
		case len(missing) > 0:
			text += ", but no worker serves " + strings.Join(missing, ", ")
		}
		good = append(good, text)
	}
	if len(bad) > 0 {
		return "", "", errors.New(strings.Join(bad, "; "))
	}
	return strings.Join(good, "; "), "", nil
}
