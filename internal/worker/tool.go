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
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/topology"
)

// Tool runs calls.
type Tool struct {
	Bus   *bus.Bus
	Name  string // of this worker
	Log   *slog.Logger
	Tools *tool.Registry
	// Slots is how many calls of each tool run at once; 16 when zero. MaxCalls is
	// how many of all its tools do; no bound when zero.
	Slots, MaxCalls int
	// Timeout bounds a call whose tool does not say; 2 minutes when zero.
	Timeout time.Duration
	// Drain is how long calls may go on when the worker is stopped.
	Drain time.Duration
	// Stats counts what happens; may be nil.
	Stats *Stats

	schemas tool.Validator
}

// outputBytes is how much output goes into one message, in bytes.
const outputBytes = 64 << 10

// Offers is what the worker announces.
func (w *Tool) Offers() []bus.Offer {
	var offers []bus.Offer
	for _, spec := range w.Tools.Specs() {
		offers = append(offers, bus.Offer{Kind: "tool", Name: spec.Name, Worker: w.Name, Tool: &spec, Low: true})
	}
	return offers
}

func (w *Tool) handle(ctx context.Context, j bus.Job) error {
	job, ok := j.Event.(*events.ToolJob)
	if !ok {
		return bus.Reject(fmt.Errorf("a %s is no job for a tool-worker", j.Event.Type()))
	}
	a, err := address(job.Subject, job.Conversation, events.ChannelCall)
	if err == nil && a.Call != job.Call {
		err = fmt.Errorf("%w: subject %q is not the lane of call %q", topology.ErrBadID, job.Subject, job.Call)
	}
	if err != nil {
		return bus.Reject(err)
	}
	t, ok := w.Tools.Lookup(job.Tool)
	if !ok {
		// It went a moment ago; the job waits for whoever serves it next.
		return bus.RetryAfter(fmt.Errorf("tool %q is not served here any more", job.Tool), 0)
	}
	last, err := w.Bus.LastOf(ctx, a)
	if err != nil {
		return err
	}
	has := func(s events.State) bool {
		for _, c := range s.Calls {
			if c.Call == job.Call {
				return c.Status == ""
			}
		}
		return false
	}
	// Watch first: what is decided after this must not be missed.
	watched, stop, err := watch(ctx, w.Bus, a, job.Turn, job.Call, has)
	if err != nil {
		return err
	}
	defer stop()
	started, done, err := w.lane(ctx, a, job)
	if err != nil || done {
		return err // when it has its result, only the acknowledgement was lost
	}
	if err := wanted(ctx, w.Bus, a, job.Decision, has); err != nil {
		if errors.Is(err, errStale) {
			return nil
		}
		return err
	}
	err = w.call(ctx, watched, t, job, j, a, last.Sequence, started)
	if errors.Is(err, bus.ErrFenced) {
		return bus.RetryAfter(err, yieldTo)
	}
	return err
}

// lane finds out whether a worker started the call, and whether it has its
// result. What was written before the call was asked for, and what cannot be
// read, does not count. The messages may have expired in CONV while the job
// waited: HISTORY has them.
func (w *Tool) lane(ctx context.Context, a topology.Address, job *events.ToolJob) (started, done bool, err error) {
	attempt := ""
	err = w.Bus.ReadLane(ctx, a, job.Decision, func(m bus.Message) error {
		for _, l := range m.Lines {
			switch e := l.Event.(type) {
			case *events.ToolResult:
				done = done || started && e.Attempt == attempt // as the fold has it
			case *events.ToolStarted:
				started, attempt = true, e.Attempt
			}
		}
		return nil
	})
	return started, done, err
}

// call takes the lane, runs the tool and writes its one result.
func (w *Tool) call(ctx, watched context.Context, t tool.Tool, job *events.ToolJob, j bus.Job, a topology.Address, at uint64, started bool) error {
	attempt, err := newID()
	if err != nil {
		return err
	}
	begin := &events.ToolStarted{Call: job.Call, Attempt: attempt, Tool: job.Tool, Worker: w.Name, Delivery: j.Delivery}
	result := &events.ToolResult{Call: job.Call, Attempt: attempt, Tool: job.Tool}
	once := job.Effect != events.EffectPure && job.Effect != events.EffectIdempotent
	if started && once {
		result.Status = events.StatusUnknown
		result.Content = "a worker died while it ran this call; it is not known whether it took effect, and it must not be run again on its own"
		return w.write(ctx, a, at, result, begin)
	}
	if j.Last() {
		result.Status = events.StatusFailed
		result.Content = fmt.Sprintf("the call was tried %d times and never came to an end", topology.JobDeliveries)
		return w.write(ctx, a, at, result, begin)
	}
	// Whoever made the job has looked at the arguments, by the schema that it knew.
	if err := w.schemas.Validate(t.Spec(), string(job.Arguments)); err != nil {
		result.Status, result.Content = events.StatusInvalidArguments, "the call was not run: "+err.Error()
		return w.write(ctx, a, at, result, begin)
	}
	if at, err = w.append(ctx, a, at, begin); err != nil {
		return err
	}
	try := &run{w: w, job: job, attempt: attempt, lane: a, at: at}
	began := time.Now()
	got, err := w.run(watched, t, try)
	at = try.position()
	result.TookMS = time.Since(began).Milliseconds()
	result.Status, result.Content = events.StatusOK, got.Content
	if err == nil {
		err = w.check(ctx, t.Spec(), job, got, result)
	}
	if err != nil {
		if ctx.Err() != nil && !once {
			return bus.RetryAfter(fmt.Errorf("the worker stops: %w", err), 0)
		}
		after, passes := tool.RetryAfter(err)
		if passes && !once && j.Delivery < tries && watched.Err() == nil {
			return bus.RetryAfter(err, rest(after, j.Delivery))
		}
		result.Status, result.Content = status(ctx, watched, err), err.Error()
		if passes && !once && j.Delivery >= tries {
			result.Content = fmt.Sprintf("tried %d times, the last time: %s", j.Delivery, result.Content)
			w.bury(ctx, j, job, err)
		}
	}
	// What the tool did is done: the result is written also when the worker is
	// told to stop.
	done, cancel := context.WithTimeout(context.WithoutCancel(ctx), topology.JobAckWait)
	defer cancel()
	return w.write(done, a, at, result)
}

// tries is how often a call is run whose tool says that it may pass.
const tries = 6

// rest is how long a call rests before it is tried again: what the tool says, or
// 0.5, 1, 2 … s, and up to a quarter more, so that not all come back at once.
func rest(after time.Duration, delivery int) time.Duration {
	if after <= 0 {
		after = 250 * time.Millisecond << min(max(delivery, 1), 7)
	}
	return after + rand.N(after/4+1)
}

// bury puts a call that was tried too often with the dead letters, for those who
// look after the tool; the model is told by the result.
func (w *Tool) bury(ctx context.Context, j bus.Job, job *events.ToolJob, cause error) {
	frame, err := events.AppendFrame(nil, job)
	if err == nil {
		err = w.Bus.Bury(ctx, j.Subject, frame, cause.Error(), "tries "+job.Call)
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
		return events.StatusUnknown // stopped in the middle, and not to be run again
	}
	return tool.StatusOf(err)
}

// run runs the tool with its deadline. A panic is the tool's failure, not the
// worker's.
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
			w.Log.Error("a tool panicked", "tool", job.Tool, "call", job.Call, "panic", r, "stack", string(debug.Stack()))
			err = tool.End(events.StatusCrashed, "the tool %s broke down: %v", job.Tool, r)
		}
	}()
	in := tool.Input{Call: job.Call, Conversation: job.Conversation, Turn: job.Turn, Arguments: job.Arguments, Output: w.output(job, try.attempt), Ask: func(ctx context.Context, q tool.Question) (tool.Answer, error) {
		defer until.wait()()
		return try.ask(ctx, q)
	}}
	result, err = t.Run(ctx, in)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("the tool %s did not finish within %s: %w", job.Tool, timeout, context.DeadlineExceeded)
	}
	return result, err
}

// output shows what a tool prints on its way. It may be called from several
// goroutines.
func (w *Tool) output(job *events.ToolJob, attempt string) func(string) {
	out := topology.OfCall(w.Bus.Shards(), job.Conversation, events.ChannelOut, job.Call)
	var mu sync.Mutex
	index := 0
	return func(text string) {
		mu.Lock()
		defer mu.Unlock()
		for text = strings.ToValidUTF8(text, "\uFFFD"); text != ""; {
			piece := bus.Preview(text, outputBytes)
			text = text[len(piece):]
			if err := w.Bus.Show(out, &events.ToolOutput{Call: job.Call, Attempt: attempt, Index: index, Text: piece}); err != nil {
				w.Log.Debug("tool output could not be shown", "call", job.Call, "error", err)
			}
			index++
		}
	}
}

func (w *Tool) append(ctx context.Context, a topology.Address, at uint64, es ...events.Event) (uint64, error) {
	frame, err := events.AppendFrame(nil, es...)
	if err != nil {
		return 0, err
	}
	return w.Bus.Append(ctx, a, at, frame)
}
