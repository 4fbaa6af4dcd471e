package orchestrator

import (
	"maps"
	"slices"
	"testing"
	"time"
)

func TestJobsAreLookedForMoreAndMoreRarelyWhileNothingIsDecided(t *testing.T) {
	start := time.Now()
	var l look
	var at []time.Duration
	for second := range 200 {
		if l.due(7, start.Add(time.Duration(second)*time.Second)) {
			at = append(at, time.Duration(second)*time.Second)
		}
	}
	if want := []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second, 80 * time.Second, 140 * time.Second}; !slices.Equal(at, want) {
		t.Errorf("looked at %v, want %v", at, want)
	}
	if l.due(8, start.Add(201*time.Second)) || l.due(8, start.Add(205*time.Second)) || !l.due(8, start.Add(206*time.Second)) {
		t.Error("a Decision does not begin anew")
	}
}

func TestAJobIsLostWhenItIsMissingTwice(t *testing.T) {
	now := time.Now()
	var l look
	l.due(1, now)
	set := func(names ...string) map[string]bool {
		m := map[string]bool{}
		for _, n := range names {
			m[n] = true
		}
		return m
	}
	for _, step := range []struct{ missing, lost []string }{
		{[]string{"a"}, nil},
		{[]string{"b"}, nil}, // a is back, or has ended
		{[]string{"a", "b"}, []string{"b"}},
		{[]string{"a", "b"}, []string{"a"}}, // b was published again and counts anew
		{nil, nil},
	} {
		if got := slices.Sorted(slices.Values(l.missed(now, set(step.missing...)))); !slices.Equal(got, step.lost) {
			t.Errorf("missing %v: lost %v, want %v; remembered %v", step.missing, got, step.lost, slices.Sorted(maps.Keys(l.missing)))
		}
	}
	l.missed(now, set("c"))
	if l.due(1, now.Add(lookFirst-time.Second)) || !l.due(1, now.Add(lookFirst)) {
		t.Errorf("what is missing is not looked for again after %s", lookFirst)
	}
}
