package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/terminal"
)

// busyFrame is a deployment with many queues, of which the last is the busiest.
func busyFrame() *frame {
	f := &frame{Time: time.Unix(0, 0), Server: "nats://127.0.0.1:4222", Messages: 12.34, Waiting: 2}
	for i := range 30 {
		f.Queues = append(f.Queues, queueFrame{QueueInfo: parley.Queue{Kind: "tool", Name: fmt.Sprintf("tool_%d", i), Lag: uint64(i / 29), Running: i / 29}, Workers: 1})
	}
	f.Queues[29].Workers = 0
	for i := range 12 {
		f.Workers = append(f.Workers, workerFrame{Name: fmt.Sprintf("worker-%d", i), Tools: []string{"a", "\x1b[31mb"}, SeenSeconds: 61.5, Before: i == 0})
	}
	for i := range 16 {
		f.Shards = append(f.Shards, shardFrame{Shard: i, Owner: "orchestrator", End: 1234567, Messages: 5.67})
	}
	return f
}

func TestAFrameFitsTheTerminal(t *testing.T) {
	t.Parallel()
	for _, width := range []int{40, 80, 140} {
		for _, height := range []int{18, 24, 50, 200} {
			t.Run(fmt.Sprintf("of %d columns and %d lines", width, height), func(t *testing.T) {
				var b bytes.Buffer
				if err := busyFrame().print(&b, terminal.Profile{Width: width, Unicode: true}, height); err != nil {
					t.Fatal(err)
				}
				lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
				if len(lines) > height {
					t.Errorf("%d lines", len(lines))
				}
				for _, l := range lines {
					if ansi.StringWidth(l) > width || strings.Contains(l, "\x1b") {
						t.Errorf("line %q", l)
					}
				}
				for _, head := range []string{"QUEUE", "WORKER", "SHARD"} {
					if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, head) }) {
						t.Errorf("%s is missing from\n%s", head, b.String())
					}
				}
			})
		}
	}
}

func TestWhatDoesNotFitIsCounted(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := busyFrame().print(&b, terminal.Profile{Width: 80, Unicode: true}, 30); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); !strings.Contains(got, "\ntool tool_29  1    1        0        nobody serves it\n") || strings.Count(got, "\nand ") != 3 {
		t.Errorf("the busy queue should come first, and three sections say what is missing:\n%s", got)
	}
}

func TestAFrameForProgramsIsALineForEachThing(t *testing.T) {
	t.Parallel()
	f := busyFrame()
	f.Problems = []string{"queues: no answer"}
	var b bytes.Buffer
	if err := f.print(&b, terminal.Profile{}, 0); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"total\t12\t0\t1\t1\t2\n", "queue\ttool tool_29\t1\t1\t0\tnobody serves it\n",
		"worker\tworker-0\t> 1m1s\ta, ^[[31mb\n", "worker\tworker-1\t1m1s\t", "shard\t15\t5.7\t1234567\torchestrator\n", "problem\tqueues: no answer\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing from\n%s", want, b.String())
		}
	}
}

func TestQueuesStandBesideThoseWhoServeThem(t *testing.T) {
	t.Parallel()
	spec := func(name string) *events.ToolSpec { return &events.ToolSpec{Name: name} }
	offers := []parley.Offer{
		{Kind: "llm", Name: "openai", Worker: "l"},
		{Kind: "tool", Name: "a", Worker: "v", Tool: spec("a")}, {Kind: "tool", Name: "a", Worker: "w", Tool: spec("a")},
		{Kind: "tool", Name: "new", Worker: "w", Tool: spec("new")},
	}
	queues := []parley.Queue{
		{Kind: "tool", Name: "a", Lag: 3, Running: 2}, {Kind: "tool", Name: "gone"}, {Kind: "tool", Name: "lost", Lag: 7}, {Kind: "llm", Name: "openai"},
	}
	t.Run("in top", func(t *testing.T) {
		var got []string
		for _, q := range queueFrames(queues, offers) {
			got = append(got, fmt.Sprintf("%s %s %d %d", q.Kind, q.Name, q.Lag, q.Workers))
		}
		if want := []string{"llm openai 0 1", "tool a 3 2", "tool lost 7 0", "tool new 0 1"}; !slices.Equal(got, want) {
			t.Errorf("the queues are %q, want %q", got, want)
		}
	})
	for tool, want := range map[string]parley.Tool{"default": {Workers: []string{"w"}}, "-": {}} {
		if got := timeoutOf(want); got != tool {
			t.Errorf("the timeout of %+v is %q, want %q", want, got, tool)
		}
	}
}

func TestAWorkerIsSeenSinceItCame(t *testing.T) {
	t.Parallel()
	began := time.Unix(1000, 0)
	o := &observer{began: began, seen: map[string]time.Time{}}
	offer := func(worker string) parley.Offer { return parley.Offer{Kind: "tool", Name: "a", Worker: worker} }
	seen := func(after time.Duration, offers ...parley.Offer) (out []string) {
		for _, w := range o.workers(offers, began.Add(after)) {
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
