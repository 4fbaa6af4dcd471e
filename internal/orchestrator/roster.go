package orchestrator

import (
	"context"
	"maps"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// offerings tracks what workers offer. Workers restart, and for a moment
// none is there: a tool that was offered a moment ago still counts as
// offered. A call of a tool that was ever offered waits in its queue instead
// of being refused, until a worker withdraws the tool. Known tools are also
// kept in a bucket, in case workers and orchestrators restart together.
type offerings struct {
	bus    *bus.Bus
	roster *bus.Roster
	ready  chan struct{} // closed when the bucket has been read

	mu     sync.Mutex
	looked time.Time         // when the roster was last read
	seen   *bus.Snapshot     // that view was built from
	view   view              // what decisions get
	until  time.Time         // when view expires; zero when it does not
	gone   map[string]absent // tools that no worker offers now
	kept   map[string]kept   // what the bucket holds
	saved  *bus.Snapshot     // the snapshot that the bucket was last updated to
	again  time.Time         // when the bucket is checked again
}

// view is what decisions use of the offers. It is shared and never changes.
type view struct {
	route        string // of the default model
	tools, known map[string]events.ToolSpec
	low          map[string]bool // tools whose workers all take low-priority calls
}

// absent is a tool that no worker offers now.
type absent struct {
	spec events.ToolSpec
	low  bool
	at   time.Time // when it was last offered
}

// kept is a tool as the bucket holds it.
type kept struct {
	spec events.ToolSpec
	at   time.Time // when a worker last offered it
}

const (
	// keepAgain is the age at which the bucket's entry of an offered tool is
	// refreshed.
	keepAgain = time.Hour
	// maxKnown bounds the tools that are known while no worker offers them.
	maxKnown = 10_000
)

func newOfferings(b *bus.Bus, r *bus.Roster) *offerings {
	return &offerings{bus: b, roster: r, ready: make(chan struct{}), gone: map[string]absent{}, kept: map[string]kept{}}
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
	v := view{route: o.view.route, tools: map[string]events.ToolSpec{}, low: map[string]bool{}}
	first := true
	for _, offer := range current.Offers {
		switch {
		case offer.Kind == "llm" && (first || offer.Default || strings.HasSuffix(v.route, "/")): // prefer one that names a model
			v.route, first = offer.Model, false
		case offer.Kind == "tool" && offer.Tool != nil:
			low, there := v.low[offer.Name]
			v.low[offer.Name] = offer.Low && (low || !there)
			v.tools[offer.Name] = *offer.Tool
			delete(o.gone, offer.Name)
		}
	}
	if o.seen != nil {
		for _, offer := range o.seen.Offers {
			if _, there := v.tools[offer.Name]; !there && offer.Kind == "tool" && offer.Tool != nil && len(o.gone) < maxKnown {
				o.gone[offer.Name] = absent{*offer.Tool, o.view.low[offer.Name], before}
			}
		}
	}
	v.known, o.until = maps.Clone(v.tools), time.Time{}
	for name, t := range o.gone {
		// A tool that another worker offered after it was withdrawn is not.
		if withdrawn, is := current.Withdrawn[name]; is && withdrawn.After(t.at) || now.Sub(t.at) > topology.ToolsTTL {
			delete(o.gone, name)
			continue
		}
		v.known[name], v.low[name] = t.spec, t.low
		end := t.at.Add(topology.PresenceTTL)
		if now.After(end) {
			end = t.at.Add(topology.ToolsTTL)
		} else {
			v.tools[name] = t.spec
		}
		if o.until.IsZero() || end.Before(o.until) {
			o.until = end
		}
	}
	o.seen, o.view = current, v
}

// env returns the tools and the route of a decision.
func (o *offerings) env(now time.Time) Env {
	v := o.look(now)
	return Env{Tools: v.tools, Known: v.known, Route: v.route}
}

// low reports whether all workers of a tool take low-priority calls.
func (o *offerings) low(tool string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.view.low[tool]
}

// run loads the bucket, which must precede the first decision, and keeps it
// up to date until ctx ends. It may run again after an error.
func (o *offerings) run(ctx context.Context) error {
	select {
	case <-o.ready:
	default:
		if err := o.load(ctx); err != nil {
			return err
		}
		close(o.ready)
	}
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		o.look(time.Now())
		if err := o.save(ctx, time.Now()); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
}

func (o *offerings) load(ctx context.Context) error {
	known, err := o.bus.Presence().KnownTools(ctx)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for name, t := range known {
		at := time.UnixMilli(t.SeenMS)
		o.kept[name] = kept{t.Tool, at}
		o.gone[name] = absent{spec: t.Tool, at: at}
	}
	o.seen = nil
	return nil
}

// save updates the bucket: it writes tools that are new, have changed or
// were last seen long ago, and deletes those that are no longer known.
func (o *offerings) save(ctx context.Context, now time.Time) error {
	o.mu.Lock()
	seen := o.seen
	if seen == o.saved && now.Before(o.again) {
		o.mu.Unlock()
		return nil
	}
	put, dropped := o.unsaved(now)
	o.mu.Unlock()
	for name, spec := range put {
		if err := o.bus.Presence().KeepTool(ctx, spec, now); err != nil {
			return err
		}
		o.mu.Lock()
		o.kept[name] = kept{spec, now}
		o.mu.Unlock()
	}
	for _, name := range dropped {
		if err := o.bus.Presence().DropTool(ctx, name); err != nil {
			return err
		}
		o.mu.Lock()
		delete(o.kept, name)
		o.mu.Unlock()
	}
	o.mu.Lock()
	o.saved, o.again = seen, now.Add(keepAgain/4)
	o.mu.Unlock()
	return nil
}

// unsaved returns what the bucket lacks, and what it holds that is no longer
// known; o.mu is held.
func (o *offerings) unsaved(now time.Time) (put map[string]events.ToolSpec, dropped []string) {
	put = map[string]events.ToolSpec{}
	for name, spec := range o.view.tools {
		if _, gone := o.gone[name]; gone || topology.CheckToken("tool", name) != nil {
			continue
		}
		k, is := o.kept[name]
		if is && now.Sub(k.at) < keepAgain && reflect.DeepEqual(k.spec, spec) || !is && len(o.kept)+len(put) >= maxKnown {
			continue
		}
		put[name] = spec
	}
	for name := range o.kept {
		if _, known := o.view.known[name]; !known {
			dropped = append(dropped, name)
		}
	}
	return put, dropped
}
