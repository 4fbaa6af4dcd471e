package orchestrator

import (
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/policy"
)

// Endpoint is what an orchestrator has seen of a model of a pool. Until is when its
// breaker lets a request through again; zero when it is closed.
type Endpoint struct {
	Until  time.Time
	Class  events.ErrorClass // of the last failure
	Window int64             // tokens that it takes; 0 when nobody said
}

func (e Endpoint) open(now time.Time) bool { return now.Before(e.Until) }

// The behaviour of a breaker.
const (
	breakAfter   = 3 // failures in a row
	breakFor     = 30 * time.Second
	breakForLong = 5 * time.Minute  // of a key or a model that is refused, and of repeated failures
	breakAtMost  = 15 * time.Minute // whatever the provider asks for
	probeFor     = 30 * time.Second // others wait for the request that was let through
)

// breakers are the breakers of the models in pools, in memory: they are a part of the
// Env of a decision, and after a restart each is closed. Of a provider whose key is
// refused or that cannot be reached, all models are left out.
type breakers struct {
	log    *slog.Logger
	models []string // of all pools

	mu  sync.Mutex
	all map[string]*breaker // by model, or by provider
}

// breaker is open until a time, then half open: one request goes through.
type breaker struct {
	Endpoint
	failures int // in a row
	opened   int // times in a row
}

func newBreakers(pools policy.Pools, log *slog.Logger) *breakers {
	b := &breakers{log: log, all: map[string]*breaker{}}
	for _, name := range pools.Names() {
		b.models = append(b.models, pools[name].Models()...)
	}
	slices.Sort(b.models)
	b.models = slices.Compact(b.models)
	for _, model := range b.models {
		b.all[model], b.all[providerOf(model)] = &breaker{}, &breaker{}
	}
	return b
}

// endpoints returns what is known of the models in pools; nil when that is nothing.
func (b *breakers) endpoints() map[string]Endpoint {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all map[string]Endpoint
	for _, model := range b.models {
		e := b.all[model].Endpoint
		if p := b.all[providerOf(model)]; p.Until.After(e.Until) {
			e.Until, e.Class = p.Until, p.Class
		}
		if e.Until.IsZero() && e.Window == 0 {
			continue
		}
		if all == nil {
			all = make(map[string]Endpoint, len(b.models))
		}
		all[model] = e
	}
	return all
}

// requested counts a request to a model whose breaker was open: until it has ended, or
// some time has passed, no other is let through.
func (b *breakers) requested(route string, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, key := range []string{route, providerOf(route)} {
		if e := b.all[key]; e != nil && !e.Until.IsZero() && !e.open(now) {
			e.Until = now.Add(probeFor)
		}
	}
}

// ended counts the end of a request to a model; err is nil for an answer.
func (b *breakers) ended(route string, err *events.Error, window int64, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	model, provider := b.all[route], b.all[providerOf(route)]
	if model == nil {
		return
	}
	if window > 0 {
		model.Window = window
	}
	key, opens, counts := breaks(route, err)
	switch {
	case !counts: // the endpoint answers, if only to refuse this request
		if !model.Until.IsZero() || !provider.Until.IsZero() {
			b.log.Info("a model answers again and is asked again", "model", route)
		}
		*model, *provider = breaker{Endpoint: Endpoint{Window: model.Window}}, breaker{}
		return
	case err.Class == events.ErrCancelled:
		return
	}
	e := b.all[key]
	e.failures, e.Class = e.failures+1, err.Class
	if opens == 0 && e.failures >= breakAfter {
		opens = min(breakFor<<min(e.opened, 4), breakForLong)
	}
	if opens == 0 {
		return
	}
	e.opened++
	e.Until = now.Add(opens)
	b.log.Warn("requests to pools leave out a model that fails", "model", key, "for", opens, "failures", e.failures, "error", err)
}

// breaks returns what a failure says of its endpoint: whose breaker counts it, whether
// it counts, and for how long it opens the breaker at once; 0 when several are needed.
func breaks(route string, err *events.Error) (key string, opens time.Duration, counts bool) {
	if err == nil {
		return route, 0, false
	}
	switch err.Class {
	case events.ErrAuth:
		if err.HTTPStatus == http.StatusForbidden { // the key may ask other models
			return route, breakForLong, true
		}
		return providerOf(route), breakForLong, true
	case events.ErrNetwork:
		return providerOf(route), 0, true
	case events.ErrRateLimited, events.ErrOverloaded:
		return route, min(err.RetryAfter(), breakAtMost), true
	case events.ErrIdle, events.ErrCut, events.ErrInternal, events.ErrCancelled:
		return route, 0, true
	}
	if err.HTTPStatus == http.StatusNotFound {
		return route, breakForLong, true
	}
	return route, 0, false
}

// count counts what a stored Decision was made on, the end of the request before it, and
// the request that it makes. c is the conversation before it.
func (b *breakers) count(c *accumulator.Conversation, made *events.Decision, now time.Time) {
	if g := c.Open; c.Phase == events.PhaseGenerating && g != nil && g.Ended != nil {
		b.ended(c.Route, failure(g.Ended), g.Ended.Window, now)
	}
	for _, l := range made.Events {
		if e, ok := l.Event.(*events.GenerationRequested); ok {
			b.requested(e.Route, now)
		}
	}
}
