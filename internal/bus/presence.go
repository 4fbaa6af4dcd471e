package bus

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// Offer is what a worker serves: a route of models or a tool.
type Offer struct {
	Kind    string           `json:"kind"` // "llm" or "tool"
	Name    string           `json:"name"` // route or tool
	Worker  string           `json:"worker"`
	Model   string           `json:"model,omitempty"`   // llm: full name of the route's default model
	Default bool             `json:"default,omitempty"` // llm: the one to ask when nobody names a model
	Tool    *events.ToolSpec `json:"tool,omitempty"`
	Low     bool             `json:"low,omitempty"` // tool: the worker also takes the calls that can wait
	// Withdrawn means that the worker continues and no longer offers this.
	Withdrawn bool `json:"withdrawn,omitempty"`
}

func (o Offer) key() string { return topology.PresenceKey(o.Kind, o.Name, o.Worker) }

// Announce says what a worker offers, once before it returns.
func (p Presence) Announce(ctx context.Context, offers []Offer) error {
	_, err := p.NewAnnouncement().Set(ctx, offers)
	return err
}

// Stay repeats an announcement until ctx ends, then takes it back.
func (p Presence) Stay(ctx context.Context, offers []Offer) error {
	a := p.NewAnnouncement()
	defer a.Leave(ctx)
	tick := time.NewTicker(a.Beat(ctx))
	defer tick.Stop()
	for {
		again := p.bus.Reconnected()
		if _, err := a.Set(ctx, offers); err != nil && ctx.Err() == nil {
			p.bus.log.Warn("cannot announce, trying again", "error", err)
		}
		select {
		case <-tick.C:
		case <-again:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Offers lists what is offered now, for a caller without a roster.
func (p Presence) Offers(ctx context.Context) ([]Offer, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	entries, err := p.bus.standing(ctx, topology.BucketPresence, ">")
	if err != nil {
		return nil, err
	}
	var all []Offer
	for _, e := range entries {
		var o Offer
		if json.Unmarshal(e.data, &o) == nil && !o.Withdrawn { // a stranger's key is not an offer
			all = append(all, o)
		}
	}
	sortOffers(all)
	return all, nil
}

func sortOffers(all []Offer) {
	slices.SortFunc(all, func(a, b Offer) int { return strings.Compare(a.key(), b.key()) })
}
