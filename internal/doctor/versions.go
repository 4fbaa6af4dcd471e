package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/parleybus/parley/internal/topology"
)

// versions checks that all workers speak the protocol of this program, and lists the
// versions of their programs.
func (x *Examination) versions(ctx context.Context) (says, fixed string, err error) {
	offers, err := x.Bus.Presence().Offers(ctx)
	if err != nil {
		return "", "", err
	}
	later, running := map[string]int{}, map[string]map[string]bool{}
	for _, o := range offers {
		if o.Protocol > topology.Protocol {
			later[o.Worker] = o.Protocol
		}
		version := o.Version
		if version == "" {
			version = "of no known version"
		}
		if running[version] == nil {
			running[version] = map[string]bool{}
		}
		running[version][o.Worker] = true
	}
	var bad, all []string
	for _, worker := range slices.Sorted(maps.Keys(later)) {
		bad = append(bad, fmt.Sprintf("worker %s speaks protocol %d, this program protocol %d", worker, later[worker], topology.Protocol))
	}
	if len(bad) > 0 {
		return "", "", fmt.Errorf("%s: update the orchestrators and this program, or start a worker that speaks protocol %d", strings.Join(bad, "; "), topology.Protocol)
	}
	for _, version := range slices.Sorted(maps.Keys(running)) {
		all = append(all, fmt.Sprintf("%d %s", len(running[version]), version))
	}
	return strings.TrimSuffix(fmt.Sprintf("protocol %d; workers: %s", topology.Protocol, strings.Join(all, ", ")), "; workers: "), "", nil
}
