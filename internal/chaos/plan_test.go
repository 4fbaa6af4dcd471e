package chaos_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
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
	Strike string          // "kill" or "suspend"
	Role   int             // the process to strike, in the order of roles
	Events []event
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
	return []string{"orchestrator", "orchestrator", "llm-worker", "llm-worker", "tool-worker", "tool-worker"}
}

// longerThanALease is how long a process is suspended.
const longerThanALease = 7 * time.Second

// planOf derives a plan from a seed. The same seed has the same plan, and seeds in a
// row have all moments in turn.
func planOf(seed uint64) plan {
	r := rand.New(rand.NewPCG(seed, 11))
	names := fault.Names()
	p := plan{Seed: seed, Cancel: 1 + r.IntN(20), Point: names[seed%uint64(len(names))], Times: 1 + r.IntN(3), Strike: "kill"}
	if r.IntN(4) == 0 {
		p.Strike = "suspend"
	}
	if seldom := p.Point == fault.PurgeHalf || p.Point == fault.CancelDecided || p.Point == fault.VerdictDecided || p.Point == fault.Draining; seldom {
		p.Times = 1
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
		case roles()[n] == role, role == "draining", role == "worker" && n > 1:
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
	return s
}

func TestASeedIsOnePlanAndSeedsInARowHaveEveryMoment(t *testing.T) {
	t.Parallel()
	found := map[fault.Name]bool{}
	for seed := range uint64(len(fault.Names())) {
		p := planOf(seed)
		if !reflect.DeepEqual(p, planOf(seed)) {
			t.Errorf("seed %d has two plans", seed)
		}
		found[p.Point] = true
	}
	if len(found) != len(fault.Names()) {
		t.Errorf("%d of %d moments", len(found), len(fault.Names()))
	}
}
