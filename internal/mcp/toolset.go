package mcp

import (
	"cmp"
	"path"
	"reflect"
	"slices"
	"sync"

	"github.com/parleybus/parley/internal/events"
)

// Toolset is the tools that a [Gateway] serves. It is safe for concurrent use; its
// fields are set before.
type Toolset struct {
	// Names are the names or patterns, as of [path.Match], of the tools served; all
	// when empty.
	Names []string
	// Effects are those of the tools served; all when empty.
	Effects []events.Effect

	mu      sync.Mutex
	specs   []events.ToolSpec
	changed chan struct{} // closed at the next change; nil until a goroutine waits for it
}

// Set replaces the tools. Those that are not to be served are left out.
func (s *Toolset) Set(specs []events.ToolSpec) {
	specs = slices.DeleteFunc(slices.Clone(specs), func(spec events.ToolSpec) bool { return !s.serves(spec) })
	s.mu.Lock()
	defer s.mu.Unlock()
	if reflect.DeepEqual(specs, s.specs) {
		return
	}
	s.specs = specs
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

func (s *Toolset) serves(spec events.ToolSpec) bool {
	named := func(pattern string) bool {
		ok, err := path.Match(pattern, spec.Name)
		return ok && err == nil
	}
	return (len(s.Names) == 0 || slices.ContainsFunc(s.Names, named)) &&
		(len(s.Effects) == 0 || slices.Contains(s.Effects, cmp.Or(spec.Effect, events.EffectOnce)))
}

// now returns the tools, and a channel that is closed when they change.
func (s *Toolset) now() ([]events.ToolSpec, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.specs, s.changed
}

// find returns the specification of a tool.
func (s *Toolset) find(name string) (spec events.ToolSpec, found bool) {
	specs, _ := s.now()
	i := slices.IndexFunc(specs, func(spec events.ToolSpec) bool { return spec.Name == name })
	if i < 0 {
		return spec, false
	}
	return specs[i], true
}
