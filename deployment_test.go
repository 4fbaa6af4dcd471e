package parley

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestQueuesCountTheirWorkers(t *testing.T) {
	t.Parallel()
	offers := []Offer{
		{Kind: "llm", Name: "openai", Worker: "l"},
		{Kind: "tool", Name: "a", Worker: "v"}, {Kind: "tool", Name: "a", Worker: "w"}, {Kind: "tool", Name: "new", Worker: "w"},
	}
	queues := []Queue{
		{Kind: "tool", Name: "a", Lag: 3, Running: 2}, {Kind: "tool", Name: "gone"}, {Kind: "tool", Name: "lost", Lag: 7}, {Kind: "llm", Name: "openai"},
	}
	var got []string
	for _, q := range queueStates(queues, offers) {
		got = append(got, fmt.Sprintf("%s %s %d %d", q.Kind, q.Name, q.Lag, q.Workers))
	}
	if want := []string{"llm openai 0 1", "tool a 3 2", "tool lost 7 0", "tool new 0 1"}; !slices.Equal(got, want) {
		t.Errorf("the queues are %q, want %q", got, want)
	}
}

func TestAWorkerIsSeenSinceItCame(t *testing.T) {
	t.Parallel()
	started := time.Unix(1000, 0)
	o := &observer{started: started}
	offer := func(worker string) Offer { return Offer{Kind: "tool", Name: "a", Worker: worker} }
	seen := func(after time.Duration, offers ...Offer) (out []string) {
		for _, w := range o.workers(offers, started.Add(after)) {
			out = append(out, fmt.Sprintf("%s %g %t", w.Name, w.SeenSeconds, w.Before))
		}
		return out
	}
	for _, step := range []struct{ got, want []string }{
		{seen(time.Second, offer("old")), []string{"old 1 true"}},
		{seen(2*time.Second, offer("new"), offer("old")), []string{"new 0 false", "old 2 true"}},
		{seen(5*time.Second, offer("new")), []string{"new 3 false"}},
		{seen(6*time.Second, offer("new"), offer("old")), []string{"new 4 false", "old 0 false"}},
	} {
		if !slices.Equal(step.got, step.want) {
			t.Errorf("workers are %q, want %q", step.got, step.want)
		}
	}
}

func TestTheRateOfAShard(t *testing.T) {
	t.Parallel()
	var s ShardState
	at := time.Unix(1000, 0)
	for i, want := range []struct {
		end  uint64
		rate float64
	}{{10, 0}, {30, 10}, {30, 0}, {5, 0}, {9, 2}} { // a stream that was made again starts below
		s.grow(want.end, at.Add(time.Duration(2*i)*time.Second))
		if s.End != want.end || s.Messages != want.rate {
			t.Errorf("step %d: end %d, %g messages per second, want %g", i, s.End, s.Messages, want.rate)
		}
	}
}
