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
	"github.com/parleybus/parley/internal/terminal"
)

// busyFrame is a deployment with many queues, of which the last is the busiest.
func busyFrame() frame {
	f := frame{parley.Deployment{Time: time.Unix(0, 0), Server: "nats://127.0.0.1:4222", Messages: 12.34, Waiting: 2}}
	for i := range 30 {
		f.Queues = append(f.Queues, parley.QueueState{Queue: parley.Queue{Kind: "tool", Name: fmt.Sprintf("tool_%d", i), Lag: uint64(i / 29), Running: i / 29}, Workers: 1})
	}
	f.Queues[29].Workers = 0
	for i := range 12 {
		f.Workers = append(f.Workers, parley.WorkerState{Name: fmt.Sprintf("worker-%d", i), Tools: []string{"a", "\x1b[31mb"}, SeenSeconds: 61.5, Before: i == 0})
	}
	for i := range 16 {
		f.Shards = append(f.Shards, parley.ShardState{Shard: i, Owner: "orchestrator", End: 1234567, Messages: 5.67})
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
		t.Errorf("the busy queue should come first, and three sections name what is missing:\n%s", got)
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

func TestTheTimeoutOfATool(t *testing.T) {
	t.Parallel()
	for want, tool := range map[string]parley.Tool{"default": {Workers: []string{"w"}}, "-": {}, "2s": {ToolSpec: parley.ToolSpec{TimeoutMS: 2000}, Workers: []string{"w"}}} {
		if got := timeoutOf(tool); got != want {
			t.Errorf("the timeout of %+v is %q, want %q", tool, got, want)
		}
	}
}
