package conformance

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/topology"
)

// Offer is what a worker announces.
type Offer = bus.Offer

// Offers runs the program on a server without accounts until it announces something of a
// kind, and returns all that it announces of it, by name.
func (p Program) Offers(ctx context.Context, kind string) ([]Offer, error) {
	var all []Offer
	r := Rule{Says: "it announces what it serves", Holds: func(c *Check) {
		s := c.NewStage(Setup{Role: topology.Admin, Login: url.User("t0ken"), InURL: true})
		one := s.Launch("one")
		s.Eventually(2*Soon, "it announces a "+kind+" in the bucket "+topology.BucketPresence, func() bool {
			one.Running()
			offers, err := s.Presence().Offers(s.Context())
			s.Must(err)
			all = slices.DeleteFunc(offers, func(o bus.Offer) bool { return o.Kind != kind })
			return len(all) > 0
		})
	}}
	if result := r.Run(ctx, p, 0); !result.OK {
		return nil, errors.New("start the program to see what it serves: " + strings.Join(result.Problems, "; ") + "\n" + result.Output)
	}
	slices.SortFunc(all, func(a, b Offer) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}
