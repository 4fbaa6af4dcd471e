package bus

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/offer"
	"github.com/parleybus/parley/internal/topology"
)

// Offer is what a worker serves: a route of models or a tool.
type Offer = offer.Offer

// ServerState describes an MCP server to people; see package offer.
type ServerState = offer.ServerState

// RenamedTool is a tool of an MCP server under another name.
type RenamedTool = offer.RenamedTool

// Conflict is an announcement that was rejected.
type Conflict = offer.Conflict

// Announce says what a worker offers, once before it returns.
func (p Presence) Announce(ctx context.Context, offers []Offer) error {
	a := p.NewAnnouncement()
	a.once = true
	_, err := a.Set(ctx, offers)
	return err
}

// Stay repeats an announcement until ctx ends, then takes it back.
func (p Presence) Stay(ctx context.Context, offers []Offer) error {
	a := p.NewAnnouncement()
	defer a.Leave(ctx)
	for {
		if _, err := a.Set(ctx, offers); err != nil && ctx.Err() == nil {
			p.bus.log.Warn("cannot announce, trying again", "error", err)
		}
		if !a.Wait(ctx, nil) {
			return context.Cause(ctx)
		}
	}
}

// Offers lists what is offered now and counts, for a caller without a roster.
func (p Presence) Offers(ctx context.Context) ([]Offer, error) {
	all, _, err := p.OffersAndConflicts(ctx)
	return all, err
}

// OffersAndConflicts also lists the announcements that were rejected.
func (p Presence) OffersAndConflicts(ctx context.Context) ([]Offer, []offer.Conflict, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	entries, err := p.bus.standing(ctx, topology.BucketPresence, ">")
	if err != nil {
		return nil, nil, err
	}
	var all []offer.Dated
	for _, e := range entries {
		if o, err := offer.Decode(e.subject, e.data); err == nil && !o.Withdrawn {
			all = append(all, offer.Dated{Offer: o, Since: e.seq})
		}
	}
	return p.Resolve(ctx, all)
}

// Resolve returns what counts of announcements, with the effect classes that
// count, and those that were rejected, each sorted by name.
func (p Presence) Resolve(ctx context.Context, announced []offer.Dated) (all []Offer, conflicts []offer.Conflict, err error) {
	tools := map[string][]offer.Dated{}
	for _, o := range announced {
		if o.Kind == offer.Tool {
			tools[o.Name] = append(tools[o.Name], o)
		} else {
			all = append(all, o.Offer)
		}
	}
	for name, same := range tools {
		known, err := p.KnownTool(ctx, name)
		if err != nil {
			return nil, nil, err
		}
		r := offer.Resolve(known, same, "")
		conflicts = append(conflicts, r.Conflicts...)
		for _, o := range same {
			if o.Serves() && offer.Same(o.Tool, &r.Keep) {
				o.Tool = &r.Spec
				all = append(all, o.Offer)
			}
		}
	}
	slices.SortFunc(all, func(a, b Offer) int { return strings.Compare(a.Key(), b.Key()) })
	slices.SortFunc(conflicts, func(a, b offer.Conflict) int {
		return cmp.Or(strings.Compare(a.Tool, b.Tool), strings.Compare(a.Worker, b.Worker))
	})
	return all, conflicts, nil
}
