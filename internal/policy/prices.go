package policy

import (
	"fmt"
	"maps"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/parleybus/parley/internal/events"
)

// Prices are the prices of models, by provider/model or a pattern of it
// (path.Match: a * does not match a /). The exact name wins, then the longest
// pattern.
type Prices map[string]events.Price

// cacheWriteFactor is what Anthropic charges for tokens written to its cache, as a
// multiple of those read: it is used for models without a price for them.
const cacheWriteFactor = 1.25

// perTokens is the number of tokens per price unit.
const perTokens = 1_000_000

// Cost returns the cost of a turn's usage by model in US dollars, and the
// models without a price, sorted; they count as free. Models of the providers
// scripted and ollama are free unless they have a price.
func (p Prices) Cost(spent map[string]*events.Usage) (usd float64, unpriced []string) {
	// Sorted: sums of floats depend on the order, and decisions must not.
	for _, model := range slices.Sorted(maps.Keys(spent)) {
		price, ok := p.find(model)
		switch {
		case ok:
			usd += cost(price, spent[model])
		case !free(model):
			unpriced = append(unpriced, model)
		}
	}
	return usd, unpriced
}

// Knows reports whether a model has a price or is free.
func (p Prices) Knows(model string) bool {
	_, ok := p.find(model)
	return ok || free(model)
}

func (p Prices) find(model string) (events.Price, bool) {
	if price, ok := p[model]; ok {
		return price, true
	}
	best := ""
	for pattern := range p {
		if is, err := path.Match(pattern, model); err != nil || !is {
			continue
		}
		if best == "" || len(pattern) > len(best) || len(pattern) == len(best) && pattern < best {
			best = pattern
		}
	}
	return p[best], best != ""
}

// free reports whether a model runs locally.
func free(model string) bool {
	return strings.HasPrefix(model, "scripted/") || strings.HasPrefix(model, "ollama/")
}

// cost returns the cost of one model's usage. Tokens of reasoning are part of
// those written. If a provider reports only a total, the higher price applies,
// so that a limit is not exceeded unnoticed.
func cost(p events.Price, u *events.Usage) float64 {
	if u == nil {
		return 0
	}
	read, write := p.CacheRead, p.CacheWrite
	if read == 0 {
		read = p.Input
	}
	if write == 0 {
		write = p.Input * cacheWriteFactor
	}
	if u.InputTokens == nil && u.OutputTokens == nil && u.TotalTokens != nil {
		return tokens(u.TotalTokens) * max(p.Input, p.Output) / perTokens
	}
	input := tokens(u.InputTokens)
	cached := min(tokens(u.CachedInputTokens), input)
	sum := (input-cached)*p.Input + cached*read + tokens(u.CacheReadInputTokens)*read +
		tokens(u.CacheCreationInputTokens)*write + tokens(u.OutputTokens)*p.Output
	return sum / perTokens
}

func tokens(n *int64) float64 {
	if n == nil || *n < 0 {
		return 0
	}
	return float64(*n)
}

// Check reports why prices cannot be used, and names the model.
func (p Prices) Check() error {
	for _, model := range slices.Sorted(maps.Keys(p)) {
		if err := pattern("prices", model); err != nil {
			return err
		}
		price := p[model]
		for _, usd := range []float64{price.Input, price.Output, price.CacheRead, price.CacheWrite} {
			if usd < 0 || math.IsNaN(usd) || math.IsInf(usd, 0) {
				return fmt.Errorf("price of %q is %v: give US dollars per million tokens, 0 or more", model, usd)
			}
		}
	}
	return nil
}
