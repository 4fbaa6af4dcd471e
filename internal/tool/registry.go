package tool

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/events"
)

// Registry is a fixed set of tools by name.
type Registry struct {
	tools map[string]Tool
	specs []events.ToolSpec
}

// New returns a registry of the tools. It refuses a name that is invalid or
// taken, an unknown effect class, and a schema that does not compile.
func New(tools ...Tool) (*Registry, error) {
	r := &Registry{tools: make(map[string]Tool, len(tools))}
	name := regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	var v Validator
	for _, t := range tools {
		spec := t.Spec()
		spec.Effect = cmp.Or(spec.Effect, events.EffectOnce)
		switch {
		case !name.MatchString(spec.Name):
			return nil, fmt.Errorf("tool %q: the name must be 1 to 64 letters, digits, _ or -: rename it", spec.Name)
		case r.tools[spec.Name] != nil:
			return nil, fmt.Errorf("tool %q is registered twice: rename one of the two", spec.Name)
		case spec.Effect != events.EffectPure && spec.Effect != events.EffectIdempotent && spec.Effect != events.EffectOnce:
			return nil, fmt.Errorf("tool %q: effect %q must be pure, idempotent or once", spec.Name, spec.Effect)
		case spec.TimeoutMS < 0:
			return nil, fmt.Errorf("tool %q: timeout_ms is %d, it must not be negative", spec.Name, spec.TimeoutMS)
		}
		if err := v.Check(spec); err != nil {
			return nil, err
		}
		r.tools[spec.Name] = t
		r.specs = append(r.specs, spec)
	}
	slices.SortFunc(r.specs, func(a, b events.ToolSpec) int { return strings.Compare(a.Name, b.Name) })
	return r, nil
}

// Specs returns what the tools tell about themselves, sorted by name, with the
// effect class filled in. The caller owns the slice.
func (r *Registry) Specs() []events.ToolSpec { return slices.Clone(r.specs) }

// Lookup returns a tool by its exact name.
func (r *Registry) Lookup(name string) (Tool, bool) {
	t, ok := r.tools[name]
	return t, ok
}

// Config says which built-in tools there are and what they may reach.
type Config struct {
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// AllowHosts are the hosts that http_get may ask: "example.com", with a
	// port to allow only that, "*.example.com" for every host below, an IP
	// address or a prefix such as 10.0.0.0/8. A private or loopback address is
	// reached only if the list holds the address itself, a prefix with it, or,
	// for loopback, "localhost". Empty means there is no http_get.
	AllowHosts []string
	// Root is the directory that read_file reads below. Empty means there is no
	// read_file.
	Root string
}

// Builtins returns the built-in tools as configured.
func Builtins(c Config) (*Registry, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	tools := []Tool{newClock(c.Now), calculator{}}
	if len(c.AllowHosts) > 0 {
		f, err := newFetcher(c.AllowHosts)
		if err != nil {
			return nil, err
		}
		tools = append(tools, f)
	}
	if c.Root != "" {
		r, err := newReader(c.Root)
		if err != nil {
			return nil, err
		}
		tools = append(tools, r)
	}
	return New(tools...)
}
