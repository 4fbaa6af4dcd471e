package daemon_test

import (
	"context"
	"runtime"
	"runtime/metrics"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/ceilings"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// heap measures how far the heap grows until stop is called, in MiB.
func heap() (stop func() int64) {
	read := func() int64 {
		s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(s)
		return int64(s[0].Value.Uint64())
	}
	runtime.GC()
	base := read()
	var most atomic.Int64
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			most.Store(max(most.Load(), read()))
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return func() int64 {
		cancel()
		<-done
		return (most.Load() - base) >> 20
	}
}

// answers waits until a conversation has n answers to inputs and returns them.
func (d *deployment) answers(ctx context.Context, conversation string, n int) []*events.InputAnswered {
	d.t.Helper()
	var all []*events.InputAnswered
	lane := topology.At(d.Shards(), conversation, events.ChannelTurn).Subject(topology.Conv)
	for ctx.Err() == nil {
		all = all[:0]
		err := d.Shard(topology.ShardOf(conversation, d.Shards())).Read(ctx, 0, lane, func(m bus.Message) error {
			for _, l := range m.Lines {
				if dec, ok := l.Event.(*events.Decision); ok {
					for _, l := range dec.Events {
						if a, ok := l.Event.(*events.InputAnswered); ok {
							all = append(all, a)
						}
					}
				}
			}
			return nil
		})
		if err != nil && ctx.Err() == nil {
			d.t.Fatal(err)
		}
		if len(all) >= n {
			return all
		}
		bus.Pause(ctx, 20*time.Millisecond)
	}
	d.t.Fatalf("%d of %d inputs are answered", len(all), n)
	return nil
}

// TestClaimsOfALargeObjectUseNoMemory: twelve messages of 300 bytes refer to one
// object. They are answered without fetching it, while another conversation runs,
// and again after a restart.
func TestClaimsOfALargeObjectUseNoMemory(t *testing.T) {
	d := serve(t)
	d.run(d.models("models", scriptFile(t, "model: demo\npace: 0\nrules:\n  - {name: one, match: ., steps: [{text: Hello.}]}\n")))
	stop := d.run(d.orchestrator("orchestrator"))
	ctx, cancel := context.WithTimeout(t.Context(), 120*time.Second)
	defer cancel()
	s := &stranger{d, newID(t)}
	claim := s.claim(s.object(200<<20, "UserMessage"))
	subject := topology.At(d.Shards(), s.conversation, events.ChannelIn).Subject(topology.Conv)
	most := heap()
	for range 12 {
		s.publish(subject, claim)
	}
	if _, end := d.turn(newID(t), "hello"); end.Outcome != events.OutcomeCompleted {
		t.Errorf("beside it: %s %v", end.Outcome, end.Error)
	}
	for _, a := range d.answers(ctx, s.conversation, 12) {
		if a.Answer != events.AnswerInvalid || a.Code != ceilings.CodeInputBytes {
			t.Errorf("the answer is %+v", a)
		}
	}
	stop()
	if err := d.Shard(0).SetCheckpoint(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	d.run(d.orchestrator("orchestrator2"))
	if _, end := d.turn(s.conversation, "hello"); end.Outcome != events.OutcomeCompleted {
		t.Errorf("its own next turn: %s %v", end.Outcome, end.Error)
	}
	if mib := most(); mib > 300 {
		t.Errorf("the heap grew by %d MiB", mib)
	}
}

// TestManyLargeInputsAreNotHeldAtOnce: each input is as large as one may be. A
// backlog of them, before an orchestrator begins and while it decides, is read a few
// at a time.
func TestManyLargeInputsAreNotHeldAtOnce(t *testing.T) {
	d := serve(t)
	ctx, cancel := context.WithTimeout(t.Context(), 600*time.Second)
	defer cancel()
	d.run(d.models("models", scriptFile(t, "model: demo\npace: 0\nrules:\n  - {name: one, match: ., steps: [{delay: 600000, text: Hello.}]}\n")))
	s := &stranger{d, newID(t)}
	subject := topology.At(d.Shards(), s.conversation, events.ChannelIn).Subject(topology.Conv)
	const n = 28
	var claims []string
	for range n {
		claims = append(claims, s.claim(s.object(2_000_000, "UserMessage")))
	}
	send := func(claims []string) {
		for _, c := range claims {
			s.publish(subject, c)
		}
	}
	most := heap()
	send(claims[:n/2])
	d.run(d.orchestrator("orchestrator"))
	send(claims[n/2:])
	counts := map[events.Answer]int{}
	for _, a := range d.answers(ctx, s.conversation, n) {
		counts[a.Answer]++
		if a.Answer == events.AnswerRefused && a.Code != ceilings.CodeQueueBytes && a.Code != ceilings.CodeBytesPerMinute {
			t.Errorf("refused: %+v", a)
		}
	}
	if mib := most(); mib > 400 {
		t.Errorf("the heap grew by %d MiB", mib)
	} else {
		t.Logf("the heap grew by %d MiB; answers: %v", mib, counts)
	}
	if counts[events.AnswerAccepted] == 0 || counts[events.AnswerRefused] == 0 {
		t.Errorf("answers: %v", counts)
	}
	d.answersCancel(s.conversation)
}
