package policy

import (
	"math"
	"slices"
	"testing"

	"github.com/parleybus/parley/internal/events"
)

func TestWhatATurnCosts(t *testing.T) {
	prices := Prices{
		"openai/gpt-5":      {Input: 2, Output: 10, CacheRead: 0.5},
		"openai/gpt-5*":     {Input: 1, Output: 5},
		"openai/*":          {Input: 100, Output: 100},
		"anthropic/claude*": {Input: 3, Output: 15, CacheRead: 0.3, CacheWrite: 3.75},
		"plain/x":           {Input: 4, Output: 8},
		"ollama/priced":     {Input: 1, Output: 1},
	}
	const m = 1_000_000
	usage := func(in, out int64) *events.Usage { return &events.Usage{InputTokens: new(in), OutputTokens: new(out)} }
	for _, c := range []struct {
		name     string
		spent    map[string]*events.Usage
		usd      float64
		unpriced []string
	}{
		{"nothing costs nothing", nil, 0, nil},
		{"what is read and written is added up", map[string]*events.Usage{"openai/gpt-5": usage(m, 2*m)}, 22, nil},
		{"models are added up", map[string]*events.Usage{"openai/gpt-5": usage(m, 0), "plain/x": usage(0, m)}, 10, nil},
		{"the longest pattern wins", map[string]*events.Usage{"openai/gpt-5-mini": usage(m, m)}, 6, nil},
		{"the shorter pattern covers the rest", map[string]*events.Usage{"openai/o9": usage(m, m)}, 200, nil},
		{"a star does not reach past a slash", map[string]*events.Usage{"openai/a/b": usage(m, m)}, 0, []string{"openai/a/b"}},
		{"models without a price are named in order", map[string]*events.Usage{"z/1": usage(m, m), "a/1": usage(1, 1), "plain/x": usage(m, 0)}, 4, []string{"a/1", "z/1"}},
		{"scripted and local models are free", map[string]*events.Usage{"scripted/demo": usage(m, m), "ollama/hf.co/a": usage(m, m)}, 0, nil},
		{"a local model can have a price", map[string]*events.Usage{"ollama/priced": usage(m, m)}, 2, nil},
		{"tokens from a cache are part of those read", map[string]*events.Usage{"openai/gpt-5": {InputTokens: new(int64(m)), CachedInputTokens: new(int64(m / 2))}}, 1.25, nil},
		{"tokens from a cache without a price cost as read", map[string]*events.Usage{"plain/x": {InputTokens: new(int64(m)), CachedInputTokens: new(int64(m / 2))}}, 4, nil},
		{"more from a cache than was read is all of it", map[string]*events.Usage{"openai/gpt-5": {InputTokens: new(int64(m)), CachedInputTokens: new(int64(9 * m))}}, 0.5, nil},
		{"tokens beside those read are added", map[string]*events.Usage{"anthropic/claude-x": {InputTokens: new(int64(m)), OutputTokens: new(int64(m)),
			CacheReadInputTokens: new(int64(m)), CacheCreationInputTokens: new(int64(m))}}, 3 + 15 + 0.3 + 3.75, nil},
		{"tokens beside those read without a price cost as read, those written a quarter more", map[string]*events.Usage{"plain/x": {CacheReadInputTokens: new(int64(m)), CacheCreationInputTokens: new(int64(m))}}, 9, nil},
		{"reasoning is part of what is written", map[string]*events.Usage{"plain/x": {OutputTokens: new(int64(m)), ReasoningTokens: new(int64(m))}}, 8, nil},
		{"a total is not added to its parts", map[string]*events.Usage{"plain/x": {InputTokens: new(int64(m)), TotalTokens: new(int64(m))}}, 4, nil},
		{"a total alone costs the dearer of both", map[string]*events.Usage{"plain/x": {TotalTokens: new(int64(m))}}, 8, nil},
		{"negative numbers cost nothing", map[string]*events.Usage{"plain/x": usage(-m, -m)}, 0, nil},
		{"a usage that nobody told costs nothing", map[string]*events.Usage{"plain/x": nil, "who/knows": nil}, 0, []string{"who/knows"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			usd, unpriced := prices.Cost(c.spent)
			if math.Abs(usd-c.usd) > 1e-9 || !slices.Equal(unpriced, c.unpriced) {
				t.Errorf("%v %v, want %v %v", usd, unpriced, c.usd, c.unpriced)
			}
			for model := range c.spent {
				if prices.Knows(model) == slices.Contains(unpriced, model) {
					t.Errorf("Knows(%s) does not say the same as Cost", model)
				}
			}
		})
	}
}

func TestPatternsOfOneLengthAreTakenInOrder(t *testing.T) {
	p := Prices{"a/*b?": {Input: 2}, "a/?b*": {Input: 3}, "a/*?b": {Input: 5}}
	for range 50 {
		if got, _ := p.find("a/xbb"); got.Input != 5 {
			t.Fatalf("%v was taken", got)
		}
	}
}

func TestPricesThatCannotBeUsed(t *testing.T) {
	for _, c := range []struct {
		name   string
		prices Prices
		want   string
	}{
		{"none", nil, ""},
		{"zero", Prices{"a/*": {}}, ""},
		{"a broken pattern", Prices{"a/[": {}}, `prices "a/[" is not a pattern`},
		{"an empty name", Prices{"": {}}, "empty name"},
		{"a negative price", Prices{"a/b": {CacheRead: -1}}, `price of "a/b" is -1`},
		{"a price that is no number", Prices{"a/b": {Output: math.NaN()}}, `price of "a/b" is NaN`},
		{"a price for ever", Prices{"a/b": {Input: math.Inf(1)}}, `price of "a/b" is +Inf`},
	} {
		t.Run(c.name, func(t *testing.T) { says(t, c.prices.Check(), c.want) })
	}
}
