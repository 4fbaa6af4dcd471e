package chaos_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/fault"
)

// plan is what one seed decides.
type plan struct {
	Seed   uint64
	Begin  []time.Duration // when each conversation begins, in the order of scenarios
	Cancel int             // words of an answer after which it is cancelled
	Point  fault.Name      // the moment at which a process is struck
	Times  int             // how often the moment is reached until then
	Strike fault.Action
	Role   int // the process to strike, in the order of roles
	Events []event
	Store  store
}

// event is a fault at a time.
type event struct {
	At   time.Duration
	Kind string
	Role int // the process that it is for, in the order of roles
	For  time.Duration
}

// roles are the processes of a deployment besides the servers.
func roles() []string {
	return []string{"orchestrator", "orchestrator", "llm-worker", "llm-worker", "tool-worker", "tool-worker", "viewer", "viewer"}
}

// viewed returns which scenario a viewer's process follows.
func viewed(role int) int { return role - slices.Index(roles(), "viewer") }

// cell is a moment and what happens at it.
type cell struct {
	Point  fault.Name
	Strike fault.Action
}

func (c cell) String() string { return fmt.Sprintf("%s=%s", c.Point, c.Strike) }

// cellOf returns the cell of a seed: seeds in a row have all cells in turn, and each
// action soon.
func cellOf(seed uint64) cell {
	names, actions := fault.Names(), fault.Actions()
	n := uint64(len(names))
	return cell{names[seed%n], actions[(seed%n+seed/n)%uint64(len(actions))]}
}

// cells returns the number of cells.
func cells() uint64 { return uint64(len(fault.Names()) * len(fault.Actions())) }

// longerThanALease is how long a process is suspended.
const longerThanALease = 7 * time.Second

// planOf derives a plan from a seed. The same seed has the same plan.
func planOf(seed uint64) plan {
	r := rand.New(rand.NewPCG(seed, 11))
	c := cellOf(seed)
	p := plan{Seed: seed, Cancel: 1 + r.IntN(20), Point: c.Point, Times: 1 + r.IntN(3), Strike: c.Strike, Store: storeOf(seed)}
	switch p.Point {
	case fault.CheckpointBefore, fault.CheckpointAfter, fault.PurgeHalf, fault.PurgeDone, fault.CancelDecided, fault.CompactDecided, fault.VerdictDecided, fault.Draining:
		p.Times = 1 // they are seldom reached
	}
	for range scenarios() {
		p.Begin = append(p.Begin, time.Duration(r.IntN(2000))*time.Millisecond)
	}
	kinds := []string{"kill", "kill", "stop", "suspend", "cut", "cut", "delay", "hang", "server"}
	for range 2 + r.IntN(4) {
		p.Events = append(p.Events, event{
			At: time.Duration(200+r.IntN(4000)) * time.Millisecond, Kind: kinds[r.IntN(len(kinds))], Role: r.IntN(len(roles())),
			For: time.Duration(100+r.IntN(1400)) * time.Millisecond,
		})
	}
	p.Role = struck(p.Point, r)
	if p.Point == fault.Draining {
		p.Events = append(p.Events, event{At: time.Duration(500+r.IntN(2500)) * time.Millisecond, Kind: "stop", Role: p.Role})
	}
	if clocksJump() {
		p.Events = append(p.Events, jumps(seed)...)
	}
	return p
}

// struck is a process that reaches the moment.
func struck(at fault.Name, r *rand.Rand) int {
	role, _, _ := strings.Cut(string(at), "/")
	for {
		n := r.IntN(len(roles()))
		switch {
		case roles()[n] == role, role == "draining" && roles()[n] != "viewer", role == "worker" && (roles()[n] == "llm-worker" || roles()[n] == "tool-worker"):
			return n
		}
	}
}

// strikes reports whether a process may be the one that reaches the moment: which of
// two has the work is not decided by a seed.
func (p plan) strikes(n int) bool {
	if p.Point == fault.Draining {
		return n == p.Role // the one that gets SIGTERM
	}
	return p.Strike != "" && roles()[n] == roles()[p.Role]
}

func (p plan) String() string {
	s := fmt.Sprintf("seed %d: %s %s (process %d) the %d. time at %s", p.Seed, p.Strike, roles()[p.Role], p.Role, p.Times, p.Point)
	for _, e := range p.Events {
		s += fmt.Sprintf("; %s %d at %s for %s", e.Kind, e.Role, e.At, e.For)
	}
	if p.Store.Kind != "" {
		s += fmt.Sprintf("; store %s at %s for %s", p.Store.Kind, p.Store.At, p.Store.For)
	}
	return s
}

func TestASeedIsOnePlanAndSeedsInARowHaveEveryCell(t *testing.T) {
	t.Parallel()
	found, failures := map[cell]bool{}, map[string]bool{}
	for seed := range cells() {
		p := planOf(seed)
		if !reflect.DeepEqual(p, planOf(seed)) {
			t.Errorf("seed %d has two plans", seed)
		}
		found[cell{p.Point, p.Strike}] = true
		for _, f := range failings(seed) {
			failures[f.kind] = true
		}
	}
	if uint64(len(found)) != cells() || len(failures) != len(providerFaults()) {
		t.Errorf("%d of %d cells, and %d of %d failures of the provider", len(found), cells(), len(failures), len(providerFaults()))
	}
}
