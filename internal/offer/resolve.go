package offer

import (
	"bytes"
	"cmp"
	"fmt"
	"reflect"
	"slices"

	"github.com/parleybus/parley/internal/events"
)

// Known is a tool that a worker offered. It is kept past the worker's end and the
// orchestrator's: a model that was offered it may call it when both have been
// restarted, and no other worker can make it milder meanwhile.
type Known struct {
	Tool   events.ToolSpec `json:"tool"`    // as the worker announced it
	SeenMS int64           `json:"seen_ms"` // when a worker last offered it, to the hour
	// Withdrawn reports that its last worker keeps running and no longer offers it:
	// calls are refused, and its effect class is kept.
	Withdrawn bool `json:"withdrawn,omitempty"`
}

// Dated is an offer and its age, in any unit: the lower one is the older offer.
type Dated struct {
	Offer
	Since uint64
}

// Resolved is what counts of a tool.
type Resolved struct {
	// Spec is the tool as it is offered to models, with the effect class of its
	// calls: the strictest that is known or announced. Schema and description are
	// those of the oldest worker that serves it.
	Spec events.ToolSpec
	// Keep is the tool to know: as a worker that serves it announces it.
	Keep events.ToolSpec
	// Workers serve it; none when every announcement was rejected.
	Workers   []string
	Low       bool // all of them take the calls that can wait
	Conflicts []Conflict
}

// Conflict is an announcement that was rejected: the worker must not get calls.
type Conflict struct {
	Tool   string `json:"tool"`
	Worker string `json:"worker"`
	// Effect is what the worker announces, Counts what counts.
	Effect events.Effect `json:"effect"`
	Counts events.Effect `json:"counts"`
	Schema bool          `json:"schema,omitempty"` // the schemas differ
	Other  string        `json:"other,omitempty"`  // a worker that serves the tool; none when it is only known
}

// Error describes the conflict and what to do about it.
func (c Conflict) Error() string {
	differs := fmt.Sprintf("effect %q instead of %q", c.Effect, c.Counts)
	switch {
	case c.Schema && c.Effect == c.Counts:
		differs = "another schema"
	case c.Schema:
		differs += " and another schema"
	}
	if c.Other == "" {
		return fmt.Sprintf("worker %s announces tool %q with %s, which an earlier worker announced, and gets no calls: correct or stop it; to accept what it announces, run `parley tools forget %s`",
			c.Worker, c.Tool, differs, c.Tool)
	}
	return fmt.Sprintf("worker %s announces tool %q with %s, which worker %s announces, and gets no calls: stop one of the two, or rename its tool",
		c.Worker, c.Tool, differs, c.Other)
}

// Resolve decides what counts of a tool, of which known is nil when it is not
// known. A worker is accepted if it announces the known schema and effect class,
// or, when no such worker is there, a class at least as strict; the others of
// those that differ from it are rejected. floor, unless it is empty, is the class
// that the deployment allows although a stricter one is known.
func Resolve(known *Known, offers []Dated, floor events.Effect) Resolved {
	offers = slices.DeleteFunc(slices.Clone(offers), func(o Dated) bool { return o.spec() == nil })
	slices.SortFunc(offers, func(a, b Dated) int { return cmp.Or(cmp.Compare(a.Since, b.Since), cmp.Compare(a.Worker, b.Worker)) })
	var r Resolved
	if known != nil {
		r.Keep = known.Tool
		r.Keep.Effect = Class(r.Keep.Effect)
		if floor.Known() && floor.Weaker(r.Keep.Effect) {
			r.Keep.Effect = floor
		}
	}
	if first := choose(r.Keep, known != nil, offers); first != nil {
		r.Keep = *first
	}
	r.Spec = r.Keep
	for _, o := range offers {
		r.Spec.Effect = events.Stricter(r.Spec.Effect, o.spec().Effect)
		if o.Serves() && Same(o.Tool, &r.Keep) {
			r.Low = o.Low && (r.Low || len(r.Workers) == 0)
			r.Workers = append(r.Workers, o.Worker)
		}
	}
	for _, o := range offers {
		if s := o.spec(); !o.Serves() || !Same(s, &r.Keep) {
			c := Conflict{Tool: o.Name, Worker: o.Worker, Effect: Class(s.Effect), Counts: r.Keep.Effect, Schema: !bytes.Equal(s.Schema, r.Keep.Schema)}
			if len(r.Workers) > 0 {
				c.Other = r.Workers[0]
			}
			if c.Schema || c.Effect != c.Counts { // else it will serve the tool with its next announcement
				r.Conflicts = append(r.Conflicts, c)
			}
		}
	}
	return r
}

// choose returns the announcement that counts, oldest first; nil when there is
// none to accept.
func choose(keep events.ToolSpec, known bool, offers []Dated) *events.ToolSpec {
	var best *events.ToolSpec
	rank := 0
	for _, o := range offers {
		if !o.Serves() || known && o.Tool.Effect.Weaker(keep.Effect) {
			continue
		}
		n := 1
		switch {
		case !known:
		case reflect.DeepEqual(*o.Tool, keep):
			n = 4
		case Same(o.Tool, &keep):
			n = 3
		case bytes.Equal(o.Tool.Schema, keep.Schema):
			n = 2
		}
		if n > rank {
			best, rank = o.Tool, n
		}
	}
	return best
}

// Class returns the effect class that a word stands for: workers may announce
// any, or none.
func Class(e events.Effect) events.Effect {
	if !e.Known() {
		return events.EffectOnce
	}
	return e
}

// Same reports whether two tools of a name take the same calls.
func Same(a, b *events.ToolSpec) bool {
	return Class(a.Effect) == Class(b.Effect) && (bytes.Equal(a.Schema, b.Schema) || bytes.Equal(compact(a.Schema), compact(b.Schema)))
}
