package chaos_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/chaos"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// violations are what a run broke: the name of the check, and what it found.
type violations []string

func (v *violations) add(check, format string, args ...any) {
	*v = append(*v, check+": "+fmt.Sprintf(format, args...))
}

// read reads a conversation's log over a connection without faults.
func read(ctx context.Context, c *parley.Client, id string) (all []parley.Event, err error) {
	for e, err := range c.Conversation(id).Events(ctx, parley.From{NoFollow: true}) {
		if err != nil {
			return all, err
		}
		all = append(all, e)
	}
	return all, nil
}

// facts are what a log says, counted.
type facts struct {
	began, ended map[string]int
	outcomes     []parley.Outcome
	results      map[string]int // of each call, in Decisions and from workers
	started      map[string]int
	unknown      []string // calls whose result is unknown
}

func factsOf(log []parley.Event) facts {
	f := facts{began: map[string]int{}, ended: map[string]int{}, results: map[string]int{}, started: map[string]int{}}
	runs := map[string]string{} // the attempt that started last, by call
	for _, e := range log {
		switch b := e.Body.(type) {
		case *parley.TurnStarted:
			f.began[b.Turn]++
		case *parley.TurnEnded:
			f.ended[b.Turn]++
			f.outcomes = append(f.outcomes, b.Outcome)
		case *parley.ToolStarted:
			f.started[b.Call]++
			runs[b.Call] = b.Attempt
		case *parley.ToolResult:
			if b.Attempt != runs[b.Call] {
				continue // of a worker that was replaced, or of a stranger
			}
			f.results[b.Call]++
			if b.Status == events.StatusUnknown {
				f.unknown = append(f.unknown, b.Call)
			}
		}
	}
	return f
}

// check compares a conversation's log, its transcript and what its viewer saw.
// One that did not end is checked for what holds at any time.
func (v *violations) check(ctx context.Context, c *parley.Client, k *talk, w *witness, ended bool) {
	name := k.name + " " + k.id
	if k.deleted && !ended {
		return
	}
	if k.deleted {
		if err := c.Conversation(k.id).Exists(ctx); parley.CodeOf(err) != parley.CodeDeleted {
			v.add("deletion", "%s: it is deleted, and reading it returns %v", name, err)
		}
		return
	}
	log, err := v.logOf(ctx, c, k)
	if err != nil {
		v.add("log", "%s: its log cannot be read: %v", name, err)
		return
	}
	v.checkOwners(k, log, w)
	if !k.store.partial() {
		v.checkCheckpoints(k, log, w)
		v.checkMarks(k, log)
	}
	if !ended {
		return
	}
	f := factsOf(log)
	if len(f.began) != k.turns {
		v.add("turns", "%s: %d turns began, want %d", name, len(f.began), k.turns)
	}
	for turn, n := range f.began {
		if n != 1 || f.ended[turn] != 1 {
			v.add("turns", "%s: turn %s began %d times and ended %d times", name, turn, n, f.ended[turn])
		}
	}
	for call, n := range f.results {
		if n != 1 {
			v.add("results", "%s: call %s has %d results", name, call, n)
		}
	}
	for _, call := range f.unknown {
		if f.started[call] == 0 {
			v.add("results", "%s: call %s is unknown and was never started", name, call)
		}
	}
	if !k.store.partial() {
		v.checkInputs(ctx, c, k)
		if k.mayFail() {
			v.checkFailures(k, log)
		}
	}
	if k.compacted && !slices.ContainsFunc(log, is[*parley.Compacted]) {
		v.add("compaction", "%s %s: its history was never compacted", k.name, k.id)
	}
	v.checkAnswer(ctx, c, k, f)
	if !k.store.partial() {
		v.checkViewer(ctx, k, log)
	}
}

// logOf returns a conversation's log, or its facts if the log has let go of some.
func (v *violations) logOf(ctx context.Context, c *parley.Client, k *talk) ([]parley.Event, error) {
	if k.store.partial() {
		return k.facts(ctx)
	}
	return read(ctx, c, k.id)
}

// checkAnswer compares the last answer with that of a run without faults, unless a
// call was cut in the middle of its one effect.
func (v *violations) checkAnswer(ctx context.Context, c *parley.Client, k *talk, f facts) {
	want := parley.OutcomeCompleted
	if k.cancelled {
		want = parley.OutcomeCancelled
	}
	completed := 0
	for _, outcome := range f.outcomes {
		if outcome == parley.OutcomeCompleted {
			completed++
		}
		if k.mayFail() && outcome == parley.OutcomeFailed {
			continue // see checkFailures
		}
		if outcome != want && !(k.cancelled && outcome == parley.OutcomeCompleted) { // the cancel may come too late
			v.add("answer", "%s %s: its turn ended as %s", k.name, k.id, outcome)
		}
	}
	if k.cancelled || len(f.unknown) > 0 {
		return
	}
	view, err := c.Conversation(k.id).View(ctx)
	if err != nil {
		v.add("answer", "%s %s: its transcript: %v", k.name, k.id, err)
		return
	}
	answers := 0
	for _, m := range view.Messages {
		if m.Role == parley.RoleAssistant && parley.TextOf(m) == k.answer {
			answers++
		}
	}
	if answers != completed || completed == 0 && k.turns > 0 {
		v.add("answer", "%s %s: %d answers %q in %d turns of which %d completed: %+v", k.name, k.id, answers, k.answer, k.turns, completed, view.Messages)
	}
}

// checkFailures: a turn fails only when its last step has used its budget of requests,
// and only by what the provider did.
func (v *violations) checkFailures(k *talk, log []parley.Event) {
	requests, step := map[string]int{}, 0 // of the last step of each turn
	for _, e := range log {
		switch b := e.Body.(type) {
		case *parley.GenerationStarted:
			if b.Step != step {
				step, requests[b.Turn] = b.Step, 0
			}
			requests[b.Turn]++
		case *parley.TurnEnded:
			step = 0
			if b.Outcome != parley.OutcomeFailed {
				continue
			}
			if b.Error == nil || requests[b.Turn] < k.budget(b.Error.Class) {
				v.add("failure", "%s %s: the turn at %s failed after %d requests of its step: %v", k.name, k.id, e.Cursor, requests[b.Turn], b.Error)
			}
		}
	}
}

// checkViewer compares what a viewer saw, over all its reconnects, with the log.
func (v *violations) checkViewer(ctx context.Context, k *talk, log []parley.Event) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	_ = k.until(ctx, func() bool { return len(k.seen) >= len(log) }) // what is missing is reported below
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, e := range log {
		if i >= len(k.seen) {
			v.add("viewer", "%s %s: the viewer saw %d of %d events", k.name, k.id, len(k.seen), len(log))
			return
		}
		if s := k.seen[i]; s.Cursor != e.Cursor || fmt.Sprintf("%T", s.Body) != fmt.Sprintf("%T", e.Body) || string(s.Raw) != string(e.Raw) ||
			s.Superseded != e.Superseded || s.Supersedes != e.Supersedes {
			v.add("viewer", "%s %s: event %d of the viewer is %T at %s (%s; superseded %t, supersedes %q), and of the log %T at %s (%s; %t, %q)", k.name, k.id, i,
				s.Body, s.Cursor, s.Raw, s.Superseded, s.Supersedes, e.Body, e.Cursor, e.Raw, e.Superseded, e.Supersedes)
			return
		}
	}
	if len(k.seen) > len(log) {
		v.add("viewer", "%s %s: the viewer saw %d events, the log has %d", k.name, k.id, len(k.seen), len(log))
	}
}

// checkProcess compares what a viewer's process saw, over all its deaths, with the log.
func (v *violations) checkProcess(ctx context.Context, c *parley.Client, k *talk, file string) {
	log, err := read(ctx, c, k.id)
	var want []byte
	for _, e := range log {
		line, encoded := json.Marshal(chaos.SeenOf(e))
		if err = cmp.Or(err, encoded); err == nil {
			want = append(append(want, line...), '\n')
		}
	}
	if err != nil {
		if parley.CodeOf(err) != parley.CodeDeleted {
			v.add("log", "%s %s: its log cannot be read: %v", k.name, k.id, err)
		}
		return
	}
	// A viewer that was suspended, or started again on a busy machine, takes its time.
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		got, err := os.ReadFile(file)
		if bytes.Equal(got, want) {
			return
		}
		if !bus.Pause(ctx, 50*time.Millisecond) {
			v.add("viewer", "%s %s: the viewer's process saw %d events (%v), and the log has %d; they differ at %s", k.name, k.id, bytes.Count(got, []byte("\n")), err, len(log), difference(got, want))
			return
		}
	}
}

// difference returns the first lines that differ.
func difference(got, want []byte) string {
	next, stop := iter.Pull(bytes.Lines(want))
	defer stop()
	for line := range bytes.Lines(got) {
		if other, _ := next(); !bytes.Equal(line, other) {
			return fmt.Sprintf("%s instead of %s", line, other)
		}
	}
	other, _ := next()
	return fmt.Sprintf("the end instead of %s", other)
}

// checkLedger compares the effects that took place with what may take place.
func (v *violations) checkLedger(effects map[string]int) {
	for effect, n := range effects {
		if strings.HasPrefix(effect, "charge ") && n > 1 {
			v.add("ledger", "the once call %q took effect %d times", effect, n)
		}
	}
}

// roundMost bounds one look at the deployment. A request for a stream that has no leader yet
// is never answered: whoever waits for it has looked once.
const roundMost = 10 * time.Second

// checkNothingIsLeft waits until the queues and timers are empty and HISTORY holds
// every fact.
func (v *violations) checkNothingIsLeft(ctx context.Context, b *bus.Bus) {
	ctx, cancel := context.WithTimeout(ctx, 45*time.Second)
	defer cancel()
	for {
		round, done := context.WithTimeout(ctx, roundMost)
		left, err := leftovers(round, b)
		done()
		if err == nil && left == "" {
			return
		}
		select {
		case <-ctx.Done():
			v.add("leftovers", "left behind: %s, %v; %s", left, err, queues(context.WithoutCancel(ctx), b))
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func leftovers(ctx context.Context, b *bus.Bus) (string, error) {
	var left []string
	_, js := b.Raw()
	for _, name := range []string{topology.StreamJobs, topology.StreamTimers} {
		stream, err := js.Stream(ctx, name)
		if err != nil {
			return "", err
		}
		if n := stream.CachedInfo().State.Msgs; n > 0 {
			left = append(left, fmt.Sprintf("%d messages in %s", n, name))
		}
	}
	behind, err := b.Deployment().HistoryBehind(ctx)
	if err != nil {
		return "", err
	}
	for _, h := range behind {
		if h.Copied >= h.Fact && !h.Diverging {
			continue
		}
		left = append(left, fmt.Sprintf("HISTORY is behind: %+v", h))
	}
	stuck, err := b.Deployment().Stuck(ctx, 0, 0)
	if err != nil {
		return "", err
	}
	for _, s := range stuck {
		left = append(left, s.Conversation+" "+s.Why)
	}
	return strings.Join(left, ", "), nil
}
