package tool

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parleybus/parley/internal/events"
)

// Registry is a set of tools by name. It may change while it is served: each
// source (the built-in tools, an MCP server, a file) sets its own. It is safe for
// concurrent use.
type Registry struct {
	mu      sync.Mutex
	sources map[string][]Tool
	tools   map[string]Tool
	specs   []events.ToolSpec
	changed chan struct{}
	schemas Validator // cache of compiled schemas
}

// New returns a registry of the tools, set by the source "". It refuses what
// [Registry.Set] refuses.
func New(tools ...Tool) (*Registry, error) {
	r := &Registry{sources: map[string][]Tool{}, changed: make(chan struct{})}
	return r, r.Set("", tools...)
}

// Set replaces the tools of a source; without tools it removes the source. It
// returns an error and changes nothing if a name is invalid or taken, also by
// another source, if an effect class is unknown, or if a schema does not
// compile.
func (r *Registry) Set(source string, tools ...Tool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	sources := maps.Clone(r.sources)
	sources[source] = tools
	byName, specs, err := index(sources, &r.schemas)
	if err != nil {
		return err
	}
	r.sources, r.tools, r.specs = sources, byName, specs
	close(r.changed)
	r.changed = make(chan struct{})
	return nil
}

// index checks tools and returns them by name.
func index(sources map[string][]Tool, schemas *Validator) (map[string]Tool, []events.ToolSpec, error) {
	byName := map[string]Tool{}
	var specs []events.ToolSpec
	name := regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	for _, source := range slices.Sorted(maps.Keys(sources)) {
		for _, t := range sources[source] {
			spec := t.Spec()
			spec.Effect = cmp.Or(spec.Effect, events.EffectOnce)
			switch {
			case !name.MatchString(spec.Name):
				return nil, nil, fmt.Errorf("tool %q: the name must be 1 to 64 letters, digits, _ or -: rename it", spec.Name)
			case byName[spec.Name] != nil:
				return nil, nil, fmt.Errorf("tool %q is registered twice: rename one of the two", spec.Name)
			case !spec.Effect.Known():
				return nil, nil, fmt.Errorf("tool %q: effect %q must be pure, idempotent or once", spec.Name, spec.Effect)
			case spec.TimeoutMS < 0 || spec.Concurrency < 0 || spec.ResultBytes < 0:
				return nil, nil, fmt.Errorf("tool %q: timeout_ms %d, concurrency %d and result_bytes %d must not be negative", spec.Name, spec.TimeoutMS, spec.Concurrency, spec.ResultBytes)
			}
			if err := schemas.Check(spec); err != nil {
				return nil, nil, err
			}
			byName[spec.Name] = t
			specs = append(specs, spec)
		}
	}
	slices.SortFunc(specs, func(a, b events.ToolSpec) int { return strings.Compare(a.Name, b.Name) })
	return byName, specs, nil
}

// Specs returns the specifications of the tools, sorted by name, with the
// default effect class filled in. The caller owns the slice.
func (r *Registry) Specs() []events.ToolSpec {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.specs)
}

// Changed returns a channel that is closed at the next change of the tools.
// Call it before Specs.
func (r *Registry) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// Lookup returns a tool by its exact name.
func (r *Registry) Lookup(name string) (Tool, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t, ok := r.tools[name]
	return t, ok
}

// Config configures the built-in tools and what they may access.
type Config struct {
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// AllowHosts are the hosts that http_get may call: "example.com", with a
	// port to allow only that, "*.example.com" for every host below, an IP
	// address or a prefix such as 10.0.0.0/8. A private or loopback address is
	// reached only if the list holds the address itself, a prefix with it, or,
	// for loopback, "localhost". Empty means there is no http_get.
	AllowHosts []string
	// Root is the directory that read_file reads below. Empty means there is no
	// read_file.
	Root string
}

// BuiltinNames returns the names of all built-in tools, configured or not.
func BuiltinNames() []string { return []string{"calculate", "http_get", "now", "read_file"} }

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
