package policy

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Pool lists models that stand in for each other, the preferred first.
type Pool []Member

// Member is a model of a [Pool].
type Member struct {
	Model string `yaml:"model"` // full name, provider/model
	// Weight is the model's share of the conversations, relative to the other
	// weights. A model without a weight in a pool that has weights is asked only when
	// none of those can answer.
	Weight int `yaml:"weight"`
	// Window is how many tokens the model takes, its answer included; 0 when it is
	// not known.
	Window int64 `yaml:"window"`
}

// Pools are the pools of a deployment, by name. Their names stand where a model's
// name may stand.
type Pools map[string]Pool

// Bounds of pools.
const (
	maxPools   = 100
	maxMembers = 20
	maxWeight  = 1000
	minWindow  = 512
)

// Find returns the pool that a route names; nil when it names none.
func (p Pools) Find(route string) Pool { return p[route] }

// Names returns the names of the pools, sorted.
func (p Pools) Names() []string { return slices.Sorted(maps.Keys(p)) }

// WithoutPools returns those of models that name no pool, such as the models that a
// worker asks.
func (p Pools) WithoutPools(models []string) []string {
	return slices.DeleteFunc(slices.Clone(models), func(m string) bool { return p.Find(m) != nil })
}

// Member returns the member with a model's full name, and whether there is one.
func (p Pool) Member(model string) (m Member, is bool) {
	if i := slices.IndexFunc(p, func(m Member) bool { return m.Model == model }); i >= 0 {
		return p[i], true
	}
	return Member{}, false
}

// Models returns the full names of the pool's models, in order.
func (p Pool) Models() []string {
	all := make([]string, len(p))
	for i, m := range p {
		all[i] = m.Model
	}
	return all
}

// String returns the pool for people: "groq/a (weight 3), openai/b".
func (p Pool) String() string {
	all := p.Models()
	for i, m := range p {
		if m.Weight > 0 {
			all[i] += fmt.Sprintf(" (weight %d)", m.Weight)
		}
	}
	return strings.Join(all, ", ")
}

// Check returns why pools cannot be used, and where.
func (p Pools) Check() (at string, err error) {
	if len(p) > maxPools {
		return "", fmt.Errorf("there are %d pools, at most %d are allowed", len(p), maxPools)
	}
	for _, name := range p.Names() {
		if !regexp.MustCompile(hookName).MatchString(name) {
			return "." + name, fmt.Errorf("pool %q: a name has 1 to 64 letters, digits, _ or -", name)
		}
		if at, err := p[name].check(); err != nil {
			return "." + name + at, fmt.Errorf("pool %q: %w", name, err)
		}
	}
	return "", nil
}

func (p Pool) check() (at string, err error) {
	if len(p) == 0 || len(p) > maxMembers {
		return "", fmt.Errorf("it has %d models: list 1 to %d", len(p), maxMembers)
	}
	seen := map[string]bool{}
	for i, m := range p {
		at := fmt.Sprintf("[%d]", i)
		provider, model, _ := strings.Cut(m.Model, "/")
		switch {
		case model == "" || !regexp.MustCompile(hookName).MatchString(provider):
			return at, fmt.Errorf("model %q: give provider/model", m.Model)
		case seen[m.Model]:
			return at, fmt.Errorf("model %s is listed twice: give it a weight instead", m.Model)
		case m.Weight < 0 || m.Weight > maxWeight:
			return at, fmt.Errorf("model %s: weight %d is not between 0 and %d", m.Model, m.Weight, maxWeight)
		case m.Window != 0 && m.Window < minWindow:
			return at, fmt.Errorf("model %s: a window of %d tokens is below %d: leave it out where it is not known", m.Model, m.Window, minWindow)
		}
		seen[m.Model] = true
	}
	return "", nil
}
