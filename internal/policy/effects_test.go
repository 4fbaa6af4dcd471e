package policy

import (
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
)

func TestThePolicySetsEffects(t *testing.T) {
	p := &events.Policy{Effects: map[string]events.Effect{"fs_*": events.EffectOnce, "fs_read*": events.EffectIdempotent, "fs_read": events.EffectPure, "odd": "mild", "[": events.EffectIdempotent}}
	for tool, want := range map[string]events.Effect{"fs_write": "once", "fs_read_all": "once", "fs_read": "pure", "odd": "once", "web_get": "idempotent"} { // [ cannot be evaluated
		if got := Effect(p, tool); got != want {
			t.Errorf("%s: %q, want %q", tool, got, want)
		}
	}
	delete(p.Effects, "[")
	if got := Effect(p, "web_get"); got != "" {
		t.Errorf("a tool that is not named: %q", got)
	}
	if Effect(nil, "a") != "" {
		t.Error("no policy sets an effect")
	}
}

func TestEffectsAndTheRouteOfAFileAreChecked(t *testing.T) {
	d, err := load(t, "policy:\n  effects: {web_*: once}\nroute: openai/gpt-5\n")
	if err != nil || d.Policy.Effects["web_*"] != events.EffectOnce || d.Route != "openai/gpt-5" {
		t.Errorf("%+v, %v", d, err)
	}
	many := make([]string, maxEffects+1)
	for i := range many {
		many[i] = "t" + strings.Repeat("x", i) + ": pure"
	}
	for text, want := range map[string]string{
		"policy:\n  effects: {a: mild}\n":                          `line 2: policy: effects: tool "a" has the class "mild"`,
		"policy:\n  effects: {\"[\": once}\n":                      "is not a pattern",
		"policy:\n  effects: {" + strings.Join(many, ", ") + "}\n": "the maximum is 200",
		"route: a b\n": `line 1: route "a b" is none`,
	} {
		if _, err := load(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", text, err, want)
		}
	}
}
