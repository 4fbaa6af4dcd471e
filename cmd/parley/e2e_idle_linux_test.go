package main

import (
	"cmp"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley"
)

// memory is what a process has for itself, and what it has resident with the pages of its
// program, in megabytes, as the kernel counts them.
type memory struct{ own, resident float64 }

// memoryOf adds up what processes have.
func memoryOf(all ...*process) (sum memory) {
	for _, r := range all {
		sum.own += r.megabytes("RssAnon")
		sum.resident += r.megabytes("VmRSS")
	}
	return sum
}

func (m memory) String() string { return fmt.Sprintf("%.1f MB (resident %.1f)", m.own, m.resident) }

// idleMost is what the memory of two processes may differ by, in megabytes.
const idleMost = 10

// TestE2EIdleConversationsCostNoMemory: after PARLEY_IDLE (200) conversations of a turn
// each, an orchestrator and an llm-worker that start have what they had before the first.
func TestE2EIdleConversationsCostNoMemory(t *testing.T) {
	t.Parallel()
	idle, err := strconv.Atoi(cmp.Or(os.Getenv("PARLEY_IDLE"), "200"))
	if err != nil {
		t.Fatal(err)
	}
	s := &separate{processes: build(t)}
	s.startNATS("-1")
	roles := func() (orchestrator, worker *process) {
		orchestrator = s.start("orchestrator")
		orchestrator.await(1, "owns a shard")
		worker = s.start("llm-worker")
		worker.await(1, "msg=ready")
		return orchestrator, worker
	}
	orchestrator, worker := roles()
	before := memoryOf(orchestrator, worker)
	client, err := parley.Connect(t.Context(), parley.Config{URL: s.url})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	began := time.Now()
	g, ctx := errgroup.WithContext(t.Context())
	g.SetLimit(64)
	for range idle {
		g.Go(func() error {
			turn, err := client.Conversation(parley.NewID()).Send(ctx, "hello")
			if err == nil {
				_, err = turn.Wait(ctx)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	busy := memoryOf(orchestrator, worker)
	orchestrator.stop()
	worker.stop()
	orchestrator, worker = roles()
	after := memoryOf(orchestrator, worker)
	// What the start has used is freed by the collection that a program without work makes
	// every two minutes.
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for deadline := time.Now().Add(3 * time.Minute); after.own > before.own+idleMost && time.Now().Before(deadline); after = memoryOf(orchestrator, worker) {
		<-tick.C
	}
	t.Logf("%d conversations of a turn in %s; orchestrator and llm-worker together: %s before, %s after these turns, %s started again", idle, took.Round(time.Second), before, busy, after)
	if cost := after.own - before.own; cost > idleMost {
		t.Errorf("idle conversations cost %.1f MB", cost)
	}
	if turn, err := client.Conversation(parley.NewID()).Send(t.Context(), "hello"); err != nil {
		t.Error(err)
	} else if _, err := turn.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}
