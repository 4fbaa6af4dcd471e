package orchestrator

import (
	"sync"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// offerings remembers what workers offer. Workers are restarted, and for a
// moment nobody is there: what was offered a moment ago is offered still, and a
// call of a tool that was ever offered waits in its queue instead of being
// refused.
type offerings struct {
	roster *bus.Roster

	mu    sync.Mutex
	route string // of the model asked when nobody names one
	tools map[string]offered
}

type offered struct {
	spec events.ToolSpec
	at   time.Time
	low  bool // everybody who serves it also takes the calls that can wait
}

func newOfferings(r *bus.Roster) *offerings {
	return &offerings{roster: r, tools: map[string]offered{}}
}

// look takes note of who is there now.
func (o *offerings) look(now time.Time) {
	offers := o.roster.Offers("")
	o.mu.Lock()
	defer o.mu.Unlock()
	first := true
	slow := map[string]bool{} // tools of workers that know no priorities
	for _, offer := range offers {
		if offer.Kind == "tool" && !offer.Low {
			slow[offer.Name] = true
		}
	}
	for _, offer := range offers {
		switch {
		case offer.Kind == "llm" && (first || offer.Default):
			o.route, first = offer.Model, false
		case offer.Kind == "tool" && offer.Tool != nil:
			o.tools[offer.Name] = offered{*offer.Tool, now, !slow[offer.Name]}
		}
	}
}

// env is what a decision knows of the workers.
func (o *offerings) env(now time.Time) Env {
	o.look(now)
	o.mu.Lock()
	defer o.mu.Unlock()
	e := Env{Tools: map[string]events.ToolSpec{}, Known: map[string]events.ToolSpec{}, Route: o.route}
	for name, t := range o.tools {
		e.Known[name] = t.spec
		if now.Sub(t.at) <= topology.PresenceTTL {
			e.Tools[name] = t.spec
		}
	}
	return e
}

// low reports whether a tool's calls may go to the queue of those that can wait.
func (o *offerings) low(tool string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.tools[tool].low
}
