package orchestrator

import (
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/offer"
	"github.com/parleybus/parley/internal/topology"
)

// offerings tracks what workers offer. Workers restart, and for a moment
// none is there: a tool that was offered a moment ago still counts as
// offered. A call of a tool that was ever offered waits in its queue instead
// of being refused, until a worker withdraws the tool. Known tools are also
// kept in a bucket, in case workers and orchestrators restart together. What is
// known of a tool decides which announcements of it count: see [offer.Resolve].
type offerings struct {
	bus    *bus.Bus
	roster *bus.Roster
	log    *slog.Logger
	// floor returns the effect class that the deployment sets for a tool; empty
	// when it sets none.
	floor func(tool string) events.Effect
	ready chan struct{} // closed when the bucket has been read
	// refuse returns why a tool is not offered to models; nil when it may be.
	refuse func(events.ToolSpec) error

	mu     sync.Mutex
	looked time.Time               // when the roster was last read
	seen   *bus.Snapshot           // that view was built from
	view   view                    // what decisions get
	until  time.Time               // when view expires; zero when it does not
	memory map[string]*remembered  // the known tools
	kept   map[string]kept         // what the bucket holds
	judged map[string]judged       // by tool
	saved  *bus.Snapshot           // the snapshot that the bucket was last updated to
	again  time.Time               // when the bucket is checked again
	next   uint64                  // revision of the bucket to read next
	logged map[offer.Conflict]bool // used by run only
	later  bool                    // a later protocol was logged; used by run only
}

// view is what decisions use of the offers. It is shared and never changes.
type view struct {
	route        string // of the default model
	tools, known map[string]events.ToolSpec
	low          map[string]bool // tools whose workers all take low-priority calls
	providers    map[string]bool // those served so far, and whether they are now
	conflicts    []offer.Conflict
}

// remembered is a tool that a worker offers or offered.
type remembered struct {
	spec      events.ToolSpec
	low       bool
	offered   bool      // now
	withdrawn bool      // calls are refused
	at        time.Time // when it was last offered
}

const (
	// keepAgain is the age at which the bucket's entry of an offered tool is
	// refreshed.
	keepAgain = time.Hour
	// maxKnown bounds the tools that are known. The calls of a tool beyond it have
	// the class once: nothing would prevent another worker from making it milder.
	maxKnown = 10_000
	// maxReported is how many conflicts are logged at a time.
	maxReported = 10
)

func newOfferings(b *bus.Bus, r *bus.Roster, log *slog.Logger, floor func(string) events.Effect) *offerings {
	return &offerings{bus: b, roster: r, log: log, floor: floor, ready: make(chan struct{}),
		memory: map[string]*remembered{}, kept: map[string]kept{}, judged: map[string]judged{}, logged: map[offer.Conflict]bool{}, next: 1}
}

// look returns the current view. It is rebuilt only after a change.
func (o *offerings) look(now time.Time) view {
	o.mu.Lock()
	defer o.mu.Unlock()
	before := o.looked
	o.looked = time.Now()
	current := o.roster.Snapshot()
	if current != o.seen || !o.until.IsZero() && now.After(o.until) {
		o.renew(current, before, now)
	}
	return o.view
}

// renew rebuilds the view from a snapshot; before is when the roster was
// last read. o.mu is held.
func (o *offerings) renew(current *bus.Snapshot, before, now time.Time) {
	v := view{route: defaultRoute(o.view.route, current.Announced), tools: map[string]events.ToolSpec{}, low: map[string]bool{}, providers: map[string]bool{}}
	if len(o.view.providers) < maxKnown {
		for name := range o.view.providers {
			v.providers[name] = false
		}
	}
	for _, m := range o.memory {
		if m.offered {
			m.offered, m.at = false, before
		}
	}
	strict := map[string]events.Effect{}
	for all := current.Announced; len(all) > 0; {
		n := 1
		for n < len(all) && all[n].Kind == all[0].Kind && all[n].Name == all[0].Name {
			n++
		}
		switch all[0].Kind {
		case offer.LLM:
			v.providers[all[0].Name] = true
		case offer.Tool:
			r := o.resolve(all[0].Name, all[:n], now)
			v.conflicts = append(v.conflicts, r.Conflicts...)
			strict[all[0].Name] = r.Spec.Effect
			if len(r.Workers) > 0 {
				v.tools[all[0].Name], v.low[all[0].Name] = r.Spec, r.Low
			}
		}
		all = all[n:]
	}
	v.known, o.until = maps.Clone(v.tools), time.Time{}
	for name, m := range o.memory {
		if !m.offered {
			o.absent(&v, name, m, strict[name], current, now)
		}
	}
	refused := func(_ string, spec events.ToolSpec) bool { return !o.usable(spec) }
	maps.DeleteFunc(v.tools, refused)
	maps.DeleteFunc(v.known, refused)
	o.seen, o.view = current, v
}

// resolve decides what counts of a tool's announcements, and remembers it.
func (o *offerings) resolve(name string, all []offer.Dated, now time.Time) offer.Resolved {
	m, is := o.memory[name]
	var known *offer.Known
	if is {
		known = &offer.Known{Tool: m.spec}
	}
	r := offer.Resolve(known, all, o.floor(name))
	switch {
	case is:
		m.spec = r.Keep
	case len(r.Workers) == 0:
		return r
	case len(o.memory) >= maxKnown:
		r.Spec.Effect = events.EffectOnce
		return r
	default:
		m = &remembered{spec: r.Keep}
		o.memory[name] = m
	}
	if len(r.Workers) > 0 {
		m.low, m.offered, m.withdrawn, m.at = r.Low, true, false, now
	}
	return r
}

// absent adds a tool to a view that no worker serves, with an effect class at
// least as strict as what is announced of it.
func (o *offerings) absent(v *view, name string, m *remembered, strict events.Effect, current *bus.Snapshot, now time.Time) {
	if now.Sub(m.at) > topology.ToolsTTL {
		delete(o.memory, name)
		return
	}
	// A tool that another worker offered after it was withdrawn is not.
	if at, is := current.Withdrawn[name]; is && at.After(m.at) {
		m.withdrawn = true
	}
	end := m.at.Add(topology.ToolsTTL)
	if !m.withdrawn {
		spec := m.spec
		if strict != "" {
			spec.Effect = events.Stricter(spec.Effect, strict)
		}
		v.known[name], v.low[name] = spec, m.low
		if soon := m.at.Add(topology.PresenceTTL); !now.After(soon) {
			v.tools[name], end = spec, soon
		}
	}
	if o.until.IsZero() || end.Before(o.until) {
		o.until = end
	}
}

// report logs conflicts that are new, a few at a time: anybody can make many.
func (o *offerings) report() {
	o.mu.Lock()
	conflicts, seen := o.view.conflicts, o.seen
	o.mu.Unlock()
	o.reportLater(seen)
	logged, n := make(map[offer.Conflict]bool, len(conflicts)), 0
	for _, c := range conflicts {
		if !o.logged[c] {
			if n++; n > maxReported {
				continue // with the next tick
			}
			o.log.Warn("an announcement is rejected", "tool", c.Tool, "worker", c.Worker, "error", c)
		}
		logged[c] = true
	}
	o.logged = logged
}

// reportLater logs once that workers speak a later protocol.
func (o *offerings) reportLater(seen *bus.Snapshot) {
	if o.later || seen == nil {
		return
	}
	for _, one := range seen.Announced {
		if one.Protocol > topology.Protocol {
			o.later = true
			o.log.Warn("a worker speaks a later protocol than this orchestrator: update this one, see `parley doctor`",
				"worker", one.Worker, "protocol", one.Protocol, "own", topology.Protocol)
			return
		}
	}
}

// defaultRoute returns the route to ask when nothing names one: of a model that a
// worker offers as the default, or of any. It stays as long as it is offered, so
// that a worker that is started later does not take over the conversations.
func defaultRoute(before string, all []offer.Dated) string {
	var best *offer.Dated
	rank := func(d *offer.Dated) int {
		n := 0
		if d.Default {
			n += 4
		}
		if !strings.HasSuffix(d.Model, "/") {
			n += 2 // it names a model
		}
		if d.Model == before {
			n++
		}
		return n
	}
	for i := range all {
		d := &all[i]
		if d.Kind != offer.LLM || d.Model == "" {
			continue
		}
		if best == nil || rank(d) > rank(best) || rank(d) == rank(best) && d.Since < best.Since {
			best = d
		}
	}
	// A provider without a model answers nobody. It is what is left of a worker's offers
	// while it starts or stops.
	if best == nil || before != "" && strings.HasSuffix(best.Model, "/") {
		return before
	}
	return best.Model
}

// env returns the tools and the route of a decision.
func (o *offerings) env(now time.Time) Env {
	v := o.look(now)
	return Env{Tools: v.tools, Known: v.known, Route: v.route, Providers: v.providers}
}

// low reports whether all workers of a tool take low-priority calls.
func (o *offerings) low(tool string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.view.low[tool]
}
