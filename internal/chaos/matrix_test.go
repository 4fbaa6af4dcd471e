package chaos_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/parleybus/parley/internal/fault"
)

// matrix counts the faults that took place: cells, and others by name.
type matrix map[string]int

// enoughRounds is how often seeds have each cell before one that never took place is an
// error: which of two processes gets the work, and how often, no seed decides.
const enoughRounds = 3

// take counts what took place in a run. Two processes of a role may both have been
// struck.
func (m matrix) take(p plan, d *deployment) {
	for n := range roles() {
		raw, _ := os.ReadFile(d.struck(n)) // there is none if the moment was not reached
		for line := range strings.Lines(string(raw)) {
			m[strings.TrimSpace(line)]++
		}
	}
	for _, e := range p.Events {
		m[e.Kind]++
	}
	if p.Store.Kind != "" && (p.Store.Kind != "restored" || d.restored.Load()) {
		m["store/"+p.Store.Kind]++
	}
	d.fake.took(m)
}

func (m matrix) add(other matrix) {
	for what, n := range other {
		m[what] += n
	}
}

// wanted are the faults that each take place when there are enough seeds. The copy of one
// node of a cluster is repaired by the others: no log is restored there.
func wanted(nodes int) (all []string) {
	for _, n := range fault.Names() {
		for _, a := range fault.Actions() {
			all = append(all, cell{n, a}.String())
		}
	}
	for _, f := range providerFaults() {
		all = append(all, "provider/"+f.kind)
	}
	for _, kind := range storeKinds() {
		if kind != "restored" || nodes == 1 {
			all = append(all, "store/"+kind)
		}
	}
	return all
}

// uncovered returns the faults that never took place.
func (m matrix) uncovered(nodes int) (left []string) {
	for _, what := range wanted(nodes) {
		if m[what] == 0 {
			left = append(left, what)
		}
	}
	return left
}

// report returns the matrix as a table, and what never took place.
func (m matrix) report(nodes int) string {
	var s strings.Builder
	_, _ = fmt.Fprintf(&s, "%-32s", "")
	for _, a := range fault.Actions() {
		_, _ = fmt.Fprintf(&s, " %7s", a)
	}
	shown := map[string]bool{}
	for _, n := range fault.Names() {
		_, _ = fmt.Fprintf(&s, "\n%-32s", n)
		for _, a := range fault.Actions() {
			c := cell{n, a}.String()
			shown[c] = true
			if m[c] == 0 {
				_, _ = fmt.Fprintf(&s, " %7s", "never")
				continue
			}
			_, _ = fmt.Fprintf(&s, " %7d", m[c])
		}
	}
	s.WriteString("\n")
	for _, what := range slices.Sorted(maps.Keys(m)) {
		if !shown[what] {
			_, _ = fmt.Fprintf(&s, "%s %d, ", what, m[what])
		}
	}
	if left := m.uncovered(nodes); len(left) > 0 {
		_, _ = fmt.Fprintf(&s, "\n%d of %d faults never took place", len(left), len(wanted(nodes)))
	}
	return s.String()
}
