package parley

import (
	"context"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/bus"
)

// Offer is what a worker serves: a route to models (Kind "llm") or a tool (Kind
// "tool"); or a pool of models (Kind "pool"), which the orchestrators announce.
type Offer = bus.Offer

// Offers returns what all workers serve now, by kind and name. A worker that
// stopped without saying so drops out after 10 s.
func (c *Client) Offers(ctx context.Context) ([]Offer, error) { return c.bus.Presence().Offers(ctx) }

const (
	// offersTimeout is how long a worker may be missing from a list of offers: one
	// that repeats its announcement while the list is read can fall out of it.
	offersTimeout = time.Second
	// emptyTimeout is how much longer a list without any offer is waited for: a bucket
	// that was deleted is created within a second and filled within three more.
	emptyTimeout = 3500 * time.Millisecond
	// offersEvery is how often followed offers are compared, and how long a watch that
	// failed is left alone.
	offersEvery = time.Second
)

// AwaitOffers returns what all workers serve, as soon as there accepts it, and
// whether it did. It waits up to a second for what there does not find, and 4.5 s
// while no worker serves anything.
func (c *Client) AwaitOffers(ctx context.Context, there func([]Offer) bool) (offers []Offer, found bool, err error) {
	for until := time.Now().Add(offersTimeout); ; {
		offers, err := c.bus.Presence().Offers(ctx)
		if err == nil && there(offers) {
			return offers, true, nil
		}
		if late := time.Since(until); late > emptyTimeout || late > 0 && err == nil && len(offers) > 0 {
			return offers, false, err
		}
		if !bus.Pause(ctx, offersTimeout/10) {
			return nil, false, context.Cause(ctx)
		}
	}
}

// AwaitTool waits until a worker serves a tool, or ctx ends.
func (c *Client) AwaitTool(ctx context.Context, name string) error {
	for {
		_, found, err := c.AwaitOffers(ctx, func(offers []Offer) bool { return SpecOf(offers, name) != nil })
		if found || err != nil {
			return err
		}
	}
}

// FollowOffers yields what all workers serve, complete, and then again when it has
// changed, at most once a second, until ctx ends: it costs the server less than
// reading [Client.Offers] again and again. The list must not be changed. An error is
// yielded and does not end it: the watch is made again after a second.
func (c *Client) FollowOffers(ctx context.Context) iter.Seq2[[]Offer, error] {
	return func(yield func([]Offer, error) bool) {
		ctx, stop := context.WithCancel(ctx)
		roster := c.bus.Presence().NewRoster()
		failed, ended := make(chan error), make(chan struct{})
		go func() {
			defer close(ended)
			watchOffers(ctx, roster, failed)
		}()
		defer func() { stop(); <-ended }()
		tick := time.NewTicker(offersEvery)
		defer tick.Stop()
		var last *bus.Snapshot
		for ready := roster.Ready(); ; {
			select {
			case <-ctx.Done():
				return
			case err := <-failed:
				if !yield(nil, err) {
					return
				}
				continue
			case <-ready:
				ready = nil
			case <-tick.C:
				if ready != nil {
					continue // it is not complete yet
				}
			}
			now := roster.Snapshot()
			if now == last { // the same one as long as nothing changes
				continue
			}
			offers, _, err := c.bus.Presence().Resolve(ctx, now.Announced)
			if err == nil {
				last = now
			}
			if ctx.Err() != nil || !yield(offers, err) {
				return
			}
		}
	}
}

// watchOffers keeps a roster up to date until ctx ends.
func watchOffers(ctx context.Context, roster *bus.Roster, failed chan<- error) {
	for {
		err := roster.Run(ctx)
		if ctx.Err() != nil {
			return
		}
		select {
		case failed <- err:
		case <-ctx.Done():
			return
		}
		if !bus.Pause(ctx, offersEvery) {
			return
		}
	}
}

// Models returns the full names of the default models of workers, in the
// order of offers.
func Models(offers []Offer) []string {
	var all []string
	for _, o := range offers {
		// A route without a default model has none to name.
		if model := strings.TrimSuffix(o.Model, "/"); o.Kind == "llm" && !slices.Contains(all, model) {
			all = append(all, model)
		}
	}
	return all
}

// Pools returns the pools of models, by name, with the full names of their models.
// Where a model is named, such as in [WithModel], a pool's name may stand.
func Pools(offers []Offer) map[string][]string {
	all := map[string][]string{}
	for _, o := range offers {
		if o.Kind == "pool" {
			all[o.Name] = o.Models
		}
	}
	return all
}
