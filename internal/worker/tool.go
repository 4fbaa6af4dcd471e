package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/fault"
	"github.com/parleybus/parley/internal/jobs"
	"github.com/parleybus/parley/internal/secret"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/topology"
)

// Tool is a worker that runs calls of tools.
type Tool struct {
	Bus   *bus.Bus
	Name  string // of this worker
	Log   *slog.Logger
	Tools *tool.Registry
	// Slots is how many calls of each tool run at once; 16 when zero. MaxCalls is
	// how many calls of all its tools do; no bound when zero.
	Slots, MaxCalls int
	// Timeout bounds a call whose tool names no time; 2 minutes when zero.
	Timeout time.Duration
	// Drain is how long calls may continue when the worker is stopped.
	Drain time.Duration
	// Stats counts what happens; may be nil.
	Stats *Stats
	// Secrets are removed from what tools return, print and ask; may be nil.
	Secrets *secret.Set
	// Servers returns the MCP servers of which tools are missing; may be nil.
	Servers func() []bus.ServerState

	schemas tool.Validator
}

// outputBytes is how much output goes into one message, in bytes.
const outputBytes = 64 << 10

// Offers returns what the worker announces.
func (w *Tool) Offers() []bus.Offer {
	var offers []bus.Offer
	for _, spec := range w.Tools.Specs() {
		spec = redactSpec(w.Secrets, spec)
		o := bus.Offer{Kind: "tool", Name: spec.Name, Worker: w.Name, Tool: &spec, Low: true}
		if spec.Name == ReadResult && w.Servers != nil {
			o.Servers = redactServers(w.Secrets, w.Servers())
		}
		offers = append(offers, o)
	}
	return offers
}

func (w *Tool) handle(ctx context.Context, j jobs.Job) error {
	job, ok := j.Event.(*events.ToolJob)
	if !ok {
		return jobs.Reject(fmt.Errorf("a %s is no job for a tool-worker", j.Event.Type()))
	}
	a, err := address(job.Subject, job.Conversation, events.ChannelCall)
	if err == nil && a.Call != job.Call {
		err = fmt.Errorf("%w: subject %q is not the lane of call %q", topology.ErrBadID, job.Subject, job.Call)
	}
	if err != nil {
		return jobs.Reject(err)
	}
	t, ok := w.Tools.Lookup(job.Tool)
	if !ok {
		// It was withdrawn a moment ago: it may come back, or others serve it.
		return jobs.RetryAfter(fmt.Errorf("tool %q is not served here any more", job.Tool), missingBackoff(j.Delivery))
	}
	has := func(s events.State) bool {
		for _, c := range s.Calls {
			if c.Call == job.Call {
				return c.Status == ""
			}
		}
		return false
	}
	// Watch before reading the lane: a Decision after that must not be missed.
	watched, stop, err := watch(ctx, w.Bus, a, job.Decision, job.Turn, job.Call, has)
	if err != nil {
		return err
	}
	defer stop()
	try, past, err := w.start(ctx, a, job, j.Delivery, has)
	if errors.Is(err, errStale) {
		return nil
	}
	if err != nil {
		return err
	}
	// What the tool did cannot be undone: the result is written also after an outage
	// of the server and when the worker stops.
	writing, written := outlive(ctx, releaseTimeout)
	defer written()
	err = w.call(ctx, watched, writing, t, try, past, j)
	if errors.Is(err, bus.ErrFenced) {
		return jobs.RetryAfter(err, fencedBackoff)
	}
	return err
}

// missingBackoff is the delay of a job whose tool is not served here: 0.5, 1, 2,
// 4 s.
func missingBackoff(delivery int) time.Duration {
	return 500 * time.Millisecond << min(max(delivery-1, 0), 3)
}

// start takes the call's lane with a ToolStarted, and returns the attempt and
// those before it. A lane that moves meanwhile is read again. [errStale] reports
// that the call has its result (only the acknowledgement was lost), or that its
// turn no longer waits for it.
func (w *Tool) start(ctx context.Context, a topology.Address, job *events.ToolJob, delivery int, has func(events.State) bool) (*run, history, error) {
	try := &run{w: w, job: job, lane: a}
	var err error
	if try.attempt, err = newID(); err != nil {
		return nil, nil, err
	}
	for tries := 1; ; tries++ {
		var past history
		if try.position, past, err = w.position(ctx, a, job); err != nil {
			return nil, nil, err
		}
		if err := wanted(ctx, w.Bus, a, job.Decision, has); err != nil {
			return nil, nil, err
		}
		if err := claim(ctx, w.Bus, w.Name, past, once(job)); err != nil {
			return nil, nil, err
		}
		begin := &events.ToolStarted{Call: job.Call, Attempt: try.attempt, Tool: job.Tool, Worker: w.Name, Delivery: delivery}
		if _, err = try.append(ctx, begin); !errors.Is(err, bus.ErrFenced) {
			return try, past, err
		}
		if err := startBackoff(ctx, tries); err != nil {
			return nil, nil, err
		}
	}
}

// once reports whether a call must not run again after it has started.
func once(job *events.ToolJob) bool {
	return job.Effect != events.EffectPure && job.Effect != events.EffectIdempotent
}

// position returns the lane's last sequence and the attempts at the call.
// [errStale] reports that the call has its result. What was written before the
// call was requested, and what cannot be read, does not count. The messages may
// have expired in CONV while the job waited: HISTORY has them.
func (w *Tool) position(ctx context.Context, a topology.Address, job *events.ToolJob) (uint64, history, error) {
	last, err := w.Bus.Lane(a).Last(ctx)
	if err != nil {
		return 0, nil, err
	}
	var past history
	err = w.Bus.Lane(a).Read(ctx, job.Decision, func(m bus.Message) error {
		for _, l := range m.Lines {
			if r, ok := l.Event.(*events.ToolResult); ok && past.running(r.Attempt) {
				return errStale // as the fold has it
			}
			past = past.see(l.Event)
		}
		return nil
	})
	return last.Sequence, past, err
}

// call runs the tool and writes its one result, or releases the call. ctx ends
// when the worker must stop, watched also when the call is cancelled, and writing
// when there is no more time to write.
func (w *Tool) call(ctx, watched, writing context.Context, t tool.Tool, try *run, past history, j jobs.Job) error {
	job, tried := try.job, past.failures()
	result := &events.ToolResult{Call: job.Call, Attempt: try.attempt, Tool: job.Tool}
	if len(past) > 0 && once(job) {
		result.Status = events.StatusUnknown
		result.Content = "a worker died while it ran this call; it is not known whether it took effect, and it must not be run again on its own"
		return w.write(writing, try, result)
	}
	if own := t.Spec().Effect; job.Effect.Weaker(own) {
		result.Status, result.Content = weak(job, own, len(past) > 0)
		w.Log.Error("a call is refused: another worker announces this tool with a weaker effect class, or the call is from before a change; see `parley tools` and `parley doctor`",
			"tool", job.Tool, "call", job.Call, "effect", job.Effect, "own", own)
		return w.write(writing, try, result)
	}
	if tried >= topology.JobAttempts {
		result.Status = events.StatusFailed
		result.Content = fmt.Sprintf("the call was started %d times and never came to an end", tried)
		return w.write(writing, try, result)
	}
	// The orchestrator validated the arguments against the schema that it knew.
	if err := w.schemas.Validate(t.Spec(), string(job.Arguments)); err != nil {
		result.Status, result.Content = events.StatusInvalidArguments, "the call was not run: "+err.Error()
		return w.write(writing, try, result)
	}
	started := time.Now()
	fault.Point(fault.ToolStarted)
	got, err := w.run(watched, t, try)
	fault.Point(fault.ToolRan)
	got, err = try.redactResult(redactResult(w.Secrets, got)), try.redactError(w.Secrets.Error(err))
	result.TookMS = time.Since(started).Milliseconds()
	result.Status, result.Content = events.StatusOK, got.Content
	if err == nil {
		err = w.check(writing, t.Spec(), job, got, result)
	}
	if err != nil {
		if ctx.Err() != nil && !once(job) {
			return w.release(writing, try, "", fmt.Errorf("the worker stops: %w", err), 0)
		}
		after, passes := tool.RetryAfter(err)
		if tried++; passes && !once(job) && tried < maxTries && watched.Err() == nil {
			return w.release(writing, try, err.Error(), err, retryBackoff(after, tried))
		}
		result.Status, result.Content = status(ctx, watched, err), err.Error()
		if passes && !once(job) && tried >= maxTries {
			result.Content = fmt.Sprintf("tried %d times, the last time: %s", tried, result.Content)
			w.deadLetter(writing, j, job, err)
		}
	}
	return w.write(writing, try, result)
}

// weak returns the result of a call whose effect class is weaker than the
// tool's: it is not run, as nobody may have approved it.
func weak(job *events.ToolJob, own events.Effect, started bool) (events.Status, string) {
	if started {
		return events.StatusUnknown, fmt.Sprintf("a worker died while it ran this call as %q; the tool is %q, so it must not be run again on its own, and it is not known whether it took effect", job.Effect, own)
	}
	return events.StatusWeakEffect, fmt.Sprintf("the call was not run: it was requested with the effect class %q, and the tool has %q. Make the call again if it is still needed: it is then judged as %q, and a person may be asked", job.Effect, own, events.EffectOnce)
}

// release hands back a call that was started, so that it runs again after a delay.
func (w *Tool) release(ctx context.Context, try *run, failure string, cause error, after time.Duration) error {
	released := &events.ToolReleased{Call: try.job.Call, Attempt: try.attempt, Tool: try.job.Tool, Error: bus.Preview(failure, errorBytes)}
	if _, err := try.append(ctx, released); err != nil {
		return err
	}
	return jobs.RetryAfter(cause, after)
}

// maxTries is how often a call is run whose tool reports errors that may pass.
const maxTries = 6

// errorBytes is how much of an error goes into a ToolReleased, in bytes.
const errorBytes = 4 << 10

// retryBackoff is the delay before a call is tried again: the one that the tool
// names, or 0.5, 1, 2 … s, and up to a quarter more, so that calls that failed
// together do not come back together.
func retryBackoff(after time.Duration, tried int) time.Duration {
	if after <= 0 {
		after = 250 * time.Millisecond << min(max(tried, 1), 7)
	}
	return after + rand.N(after/4+1)
}

// deadLetter stores a call that was tried too often in DEAD, for whoever operates
// the tool; the model reads the result.
func (w *Tool) deadLetter(ctx context.Context, j jobs.Job, job *events.ToolJob, cause error) {
	frame, err := events.AppendFrame(nil, job)
	if err == nil {
		err = w.Bus.Jobs().DeadLetter(ctx, j.Subject, frame, cause.Error(), "tries "+job.Call)
	}
	if err != nil {
		w.Log.Warn("a dead letter could not be written", "tool", job.Tool, "call", job.Call, "error", err)
	}
}

func status(ctx, watched context.Context, err error) events.Status {
	switch {
	case errors.Is(context.Cause(watched), errCancelled):
		return events.StatusCancelled
	case ctx.Err() != nil:
		return events.StatusUnknown // the worker stopped in the middle
	}
	return tool.StatusOf(err)
}

// run runs the tool with its deadline. A panic is a failure of the tool, not of the
// worker.
func (w *Tool) run(ctx context.Context, t tool.Tool, try *run) (result tool.Result, err error) {
	job := try.job
	timeout := w.Timeout
	if spec := t.Spec(); spec.TimeoutMS > 0 {
		timeout = time.Duration(spec.TimeoutMS) * time.Millisecond
	}
	if job.TimeoutMS > 0 {
		timeout = min(timeout, time.Duration(job.TimeoutMS)*time.Millisecond)
	}
	ctx, until, stop := bounded(ctx, timeout)
	defer stop()
	defer func() {
		if r := recover(); r != nil {
			w.Log.Error("a tool panicked", "tool", job.Tool, "call", job.Call, "panic", try.redact(fmt.Sprint(r)), "stack", string(debug.Stack()))
			err = tool.End(events.StatusCrashed, "the tool %s broke down: %v", job.Tool, r)
		}
	}()
	print, printed := w.output(try)
	defer printed()
	in := tool.Input{Call: job.Call, Conversation: job.Conversation, Turn: job.Turn, Arguments: job.Arguments, Output: print, Ask: func(ctx context.Context, q tool.Question) (tool.Answer, error) {
		defer until.pause()()
		return try.prompt(ctx, redactQuestion(w.Secrets, q))
	}}
	result, err = t.Run(ctx, in)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("the tool %s did not finish within %s: %w", job.Tool, timeout, context.DeadlineExceeded)
	}
	return result, err
}

// output returns a function that publishes what a tool prints while it runs, which
// may be called from several goroutines, and one that publishes what was held back
// because it might have been the beginning of a secret.
func (w *Tool) output(try *run) (print func(string), end func()) {
	job := try.job
	out := topology.OfCall(w.Bus.Shards(), job.Conversation, events.ChannelOut, job.Call)
	var mu sync.Mutex
	index, clean := 0, w.Secrets.Stream()
	show := func(text string) {
		for text = strings.ToValidUTF8(try.redact(text), "\uFFFD"); text != ""; {
			piece := bus.Preview(text, outputBytes)
			text = text[len(piece):]
			if err := w.Bus.Lane(out).Show(&events.ToolOutput{Call: job.Call, Attempt: try.attempt, Index: index, Text: piece}); err != nil {
				w.Log.Debug("tool output could not be shown", "call", job.Call, "error", err)
			}
			index++
		}
	}
	print = func(text string) {
		mu.Lock()
		defer mu.Unlock()
		show(clean.Next(text))
	}
	return print, func() {
		mu.Lock()
		defer mu.Unlock()
		show(clean.End())
	}
}
