package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/fault"
	"github.com/parleybus/parley/internal/jobs"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/transcript"
	"github.com/parleybus/parley/internal/secret"
	"github.com/parleybus/parley/internal/topology"
)

// LLM is a worker that calls models.
type LLM struct {
	Bus  *bus.Bus
	Name string // of this worker
	Log  *slog.Logger
	// Routes are the providers served, by the route's token.
	Routes map[string]Route
	// Slots is how many generations of each route run at once; 64 when zero.
	Slots int
	// Stats counts what happens; may be nil.
	Stats *Stats
	// Secrets are removed from what providers say; may be nil.
	Secrets *secret.Set
}

// Route is a provider, and the model to call when the job names none.
type Route struct {
	Provider llm.Provider
	Model    string
}

// minPause is the shortest pause in reading an answer that is too fast.
const minPause = 5 * time.Millisecond

// Offers returns what the worker announces. The model def is marked as the one to
// call when nothing names a model.
func (w *LLM) Offers(def string) []bus.Offer {
	var offers []bus.Offer
	for token, r := range w.Routes {
		model := token + "/" + r.Model
		offers = append(offers, bus.Offer{Kind: "llm", Name: token, Worker: w.Name, Model: model, Default: model == def})
	}
	return offers
}

// Serve announces the worker's routes and runs until ctx ends, then withdraws them.
// The model def is announced as the default model.
func (w *LLM) Serve(ctx context.Context, def string) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return w.Bus.Presence().Stay(ctx, w.Offers(def)) })
	g.Go(func() error { return w.Run(ctx) })
	return g.Wait()
}

// Run takes generations until ctx ends, then hands its jobs back at once.
func (w *LLM) Run(ctx context.Context) error {
	if w.Slots == 0 {
		w.Slots = 64
	}
	pool := jobs.WorkerPool{Bus: w.Bus, Log: w.Log, Metrics: w.Stats.jobs(), Queues: map[topology.Queue]jobs.Work{}}
	for token := range w.Routes {
		queue, err := topology.LLMQueue(token)
		if err != nil {
			return err
		}
		pool.Queues[queue] = jobs.Work{Handle: w.handle, Slots: w.Slots}
	}
	return pool.Run(ctx)
}

func (w *LLM) handle(ctx context.Context, j jobs.Job) error {
	job, ok := j.Event.(*events.GenerationJob)
	if !ok {
		return jobs.Reject(fmt.Errorf("a %s is no job for an llm-worker", j.Event.Type()))
	}
	a, err := address(job.Subject, job.Conversation, events.ChannelGen)
	if err != nil {
		return jobs.Reject(err)
	}
	if job.DelayMS > 0 && j.Delivery == 1 {
		return jobs.RetryAfter(errors.New("the job is for later"), time.Duration(job.DelayMS)*time.Millisecond)
	}
	has := func(s events.State) bool { return s.Generation == job.Generation }
	// Watch before reading the lane: a Decision after that must not be missed.
	watched, stop, err := watch(ctx, w.Bus, a, job.Decision, job.Turn, "", has)
	if err != nil {
		return err
	}
	defer stop()
	g := &generation{w: w, job: job, calls: map[int]string{}}
	if g.attempt, err = newID(); err != nil {
		return err
	}
	at, err := w.start(ctx, a, g, has)
	if errors.Is(err, errStale) {
		return nil
	}
	if err != nil {
		return err
	}
	// The lane outlives a cancelled turn and the worker's stop: the end of the
	// generation, or its release, is still written.
	writing, written := outlive(ctx, releaseTimeout)
	defer written()
	g.lane = w.Bus.Lane(a).Open(writing, at)
	err = g.run(watched)
	if _, closeErr := g.lane.Close(); closeErr != nil {
		err = closeErr
	}
	if errors.Is(err, bus.ErrFenced) {
		return jobs.RetryAfter(err, fencedBackoff)
	}
	return err
}

// start takes the lane with the attempt's GenerationStarted and returns the
// position. [errStale] reports that the generation has ended, or that its turn no
// longer waits for it.
func (w *LLM) start(ctx context.Context, a topology.Address, g *generation, has func(events.State) bool) (uint64, error) {
	token, model, _ := strings.Cut(g.job.Route, "/")
	start := &events.GenerationStarted{Generation: g.job.Generation, Turn: g.job.Turn, Step: g.job.Step,
		Provider: token, Model: cmp.Or(model, w.Routes[token].Model), Worker: w.Name, EstimatedInputTokens: estimateInput(g.job)}
	start.Stamp(g.attempt, 0)
	g.index = 1
	frame, err := events.AppendFrame(nil, start)
	if err != nil {
		return 0, err
	}
	last, err := w.Bus.Lane(a).Last(ctx)
	if err != nil {
		return 0, err
	}
	past, err := w.attempts(ctx, a, g.job, g.job.LaneSequence, last.Sequence)
	if err != nil {
		return 0, err
	}
	g.tried = past.failures()
	if err := claim(ctx, w.Bus, w.Name, past, false); err != nil {
		return 0, err
	}
	read := last.Sequence
	for tries := 1; ; tries++ {
		if err := wanted(ctx, w.Bus, a, g.job.Decision, has); err != nil {
			return 0, err
		}
		at, err := w.Bus.Lane(a).Append(ctx, last.Sequence, frame)
		if err == nil {
			if _, err := w.attempts(ctx, a, g.job, read, last.Sequence); errors.Is(err, errStale) {
				return 0, err
			}
			return at, nil
		}
		if !errors.Is(err, bus.ErrFenced) {
			return 0, err
		}
		// The generation before may still write its end or more. Retry at once: between
		// reading the lane's last message and the append there is only the check whether
		// the generation is wanted, so that the append wins. What was written meanwhile
		// is read after it.
		if err := startBackoff(ctx, tries); err != nil {
			return 0, err
		}
		if last, err = w.Bus.Lane(a).Last(ctx); err != nil {
			return 0, err
		}
	}
}

// attempts reads the attempts at a generation from its lane, after one position
// and up to another. [errStale] reports that the generation has ended.
func (w *LLM) attempts(ctx context.Context, a topology.Address, job *events.GenerationJob, after, upTo uint64) (past history, err error) {
	if upTo <= after {
		return nil, nil
	}
	err = w.Bus.Shard(a.Shard).Read(ctx, after, a.Subject(topology.Conv), func(m bus.Message) error {
		for _, l := range m.Lines {
			switch e := l.Event.(type) {
			case *events.GenerationEnded:
				if e.Generation == job.Generation {
					return errStale
				}
			case *events.GenerationStarted:
				if e.Generation == job.Generation {
					past = past.see(e)
				}
			default:
				past = past.see(e)
			}
		}
		return nil
	})
	return past, err
}

// generation is one attempt at one generation.
type generation struct {
	w       *LLM
	job     *events.GenerationJob
	lane    *bus.LaneWriter
	attempt string
	index   int
	calls   map[int]string // our ids of the calls, by block
	tried   int            // attempts before this one that failed
	content bool           // part of an answer was published
	sent    int            // requests of the attempt, those that the provider refused included
}

func (g *generation) run(ctx context.Context) error {
	token, model, _ := strings.Cut(g.job.Route, "/")
	route, ok := g.w.Routes[token]
	model = cmp.Or(model, route.Model)
	if most := attemptsOf(g.job); g.tried >= most {
		return g.end(ctx, &events.GenerationEnded{Finish: events.FinishError, Error: &events.Error{Class: events.ErrInternal,
			Message: fmt.Sprintf("the generation was started %d times and never came to an end: see the logs of the llm-workers", g.tried)}})
	}
	if !ok || model == "" {
		return g.end(ctx, &events.GenerationEnded{Finish: events.FinishError, Error: &events.Error{Class: events.ErrInvalidRequest,
			Message: fmt.Sprintf("route %q names no model that this worker can ask: write provider/model, with a provider that is configured", g.job.Route)}})
	}
	fault.Point(fault.AnswerStarted)
	req := llm.Request{Model: model, System: g.job.System, Messages: g.job.Messages, Tools: g.job.Tools, Parameters: g.job.Parameters, Schema: g.job.AnswerSchema, CacheKey: g.job.Conversation,
		NoImages: route.Provider.Capabilities(model).NoImages, Again: g.again}
	var err error
	if req.Media, err = g.w.media(ctx, req); err != nil {
		return g.interrupted(ctx, err)
	}
	for {
		g.sent++
		end, err := g.callModel(ctx, route.Provider, req)
		if err != nil {
			return err
		}
		if g.sent > 1 {
			end.Requests = g.sent
		}
		end.Window = cmp.Or(end.Window, transcript.Window(model))
		if end.Error != nil && ctx.Err() == nil {
			if end.Error.Class == events.ErrContextLength {
				end.Window = cmp.Or(transcript.WindowIn(end.Error.Message), end.Window)
			}
			next, again, err := g.reduce(route.Provider.Name(), req, end.Error)
			if err != nil {
				return err
			}
			if again {
				req = next
				continue
			}
			end.Error = transcript.Advise(end.Error, req)
		}
		if end.Error != nil {
			g.w.Log.Info("the provider failed", "provider", token, "model", model, "error", end.Error)
		}
		return g.end(ctx, end)
	}
}

// attemptsOf returns how many workers may die on a generation. Each attempt may have
// called the provider, so that the step's budget of requests bounds them.
func attemptsOf(job *events.GenerationJob) int {
	if job.Requests > 0 {
		return min(job.Requests, topology.JobAttempts)
	}
	return topology.JobAttempts
}

// requestsLeft returns how many requests the attempt may still make: the budget is that
// of the step.
func (g *generation) requestsLeft() int {
	most := llm.MostRequests
	if g.job.Requests > 0 {
		most = min(most, g.job.Requests-g.tried)
	}
	return most - g.sent
}

// again reports whether the request may be sent once more after a refusal, and counts
// it.
func (g *generation) again() bool {
	if g.requestsLeft() <= 0 {
		return false
	}
	g.sent++
	return true
}

// callModel calls the provider once and publishes the answer as it streams. The end
// is returned and not published. A failure is never retried here: the orchestrator
// decides on that (ADR 66).
func (g *generation) callModel(ctx context.Context, p llm.Provider, req llm.Request) (end *events.GenerationEnded, err error) {
	defer func() {
		if r := recover(); r != nil {
			g.w.Log.Error("a provider's adapter panicked", "route", g.job.Route, "generation", g.job.Generation, "panic", r, "stack", string(debug.Stack()))
			end, err = &events.GenerationEnded{Finish: events.FinishError, Error: &events.Error{Class: events.ErrInternal,
				Message: fmt.Sprintf("the adapter of %s broke down: %v", g.job.Route, r)}}, nil
		}
	}()
	clean := &answer{secrets: g.w.Secrets}
	tally, began := newTally(g.job.Ceilings), time.Now()
	for e := range p.Stream(ctx, req) {
		if last, ok := e.(*events.GenerationEnded); ok {
			end = last
			continue
		}
		stamped, ok := e.(events.Stamped)
		if !ok {
			continue
		}
		if over := tally.add(e); over != nil {
			// Leaving the loop closes the connection.
			if err := g.append(clean.end()...); err != nil {
				return nil, err
			}
			return &events.GenerationEnded{Finish: events.FinishError, Error: over}, g.endCalls(tally)
		}
		if ahead := tally.pause(time.Since(began)); ahead > minPause {
			_ = sleep(ctx, ahead) // when ctx ends the stream does, too
		}
		if err := g.name(e); err != nil {
			return nil, err
		}
		g.content = true
		if err := g.append(clean.events(stamped)...); err != nil {
			return nil, err
		}
	}
	if err := g.append(clean.end()...); err != nil {
		return nil, err
	}
	if end == nil {
		end = &events.GenerationEnded{Finish: events.FinishError, Error: &events.Error{Class: events.ErrCut, Message: "the answer was cut without a word"}}
	}
	return end, nil
}

// endCalls ends the calls of an answer that was stopped.
func (g *generation) endCalls(t *tally) error {
	for _, e := range t.ends() {
		e.Call = g.calls[e.Block]
		if err := g.append(e); err != nil {
			return err
		}
	}
	return nil
}

// name gives the model's calls ids of ours.
func (g *generation) name(e events.Event) (err error) {
	switch e := e.(type) {
	case *events.ToolCallStart:
		if g.calls[e.Block], err = newID(); err != nil {
			return err
		}
		e.Call = g.calls[e.Block]
	case *events.ToolCallDelta:
		e.Call = g.calls[e.Block]
	case *events.ToolCallEnd:
		e.Call = g.calls[e.Block]
	}
	return nil
}

func (g *generation) append(all ...events.Stamped) error {
	for _, e := range all {
		if fault.Planted(fault.DropDelta) && g.index == 5 && e.Type() == "TextChunk" {
			continue // and not counted, so that the fold does not notice
		}
		e.Stamp(g.attempt, g.index)
		g.index++
		if err := g.lane.Append(e); err != nil {
			return err
		}
	}
	return nil
}

// end publishes the end. A worker that stops releases the generation instead and
// hands the job back; the next worker starts again.
func (g *generation) end(ctx context.Context, end *events.GenerationEnded) error {
	redactEnd(g.w.Secrets, end)
	if end.Error != nil && end.Error.Class == events.ErrCancelled {
		if !errors.Is(context.Cause(ctx), errCancelled) {
			if err := g.append(&events.GenerationReleased{Generation: g.job.Generation}); err != nil {
				return err
			}
			return jobs.RetryAfter(fmt.Errorf("the worker stops: %w", end.Error), 0)
		}
		end.Finish = events.FinishCancelled
	}
	end.Generation, end.EventCount = g.job.Generation, g.index+1
	g.w.Stats.generation(end, g.index)
	fault.Point(fault.AnswerStreamed)
	return g.append(end)
}

// reduce returns the request with which to call the model again after it refused the
// history, and reports whether there is one. It stays the same attempt, as nothing of
// an answer was published; the log says what is left out.
func (g *generation) reduce(provider string, req llm.Request, refusal *events.Error) (llm.Request, bool, error) {
	if g.content {
		return req, false, nil
	}
	next, ok := transcript.Reduce(provider, req, refusal, g.requestsLeft())
	if !ok {
		return req, false, nil
	}
	g.w.Log.Info("provider refused the history, asking again", "provider", provider, "model", req.Model, "generation", g.job.Generation,
		"omit", next.Omit, "no_images", next.NoImages, "demand", next.Demand, "error", refusal)
	omitted := next.Omit
	switch {
	case next.NoImages != req.NoImages:
		omitted = events.OmitImages
	case next.Omit == req.Omit:
		return next, true, nil
	}
	e := &events.HistoryReduced{Generation: g.job.Generation, Omitted: omitted, Error: redactFailure(g.w.Secrets, refusal)}
	return next, true, g.append(e)
}

// imageBytes is what an image or file counts in an estimate, as bytes of text: about
// the 1,500 tokens that providers count for an image.
const imageBytes = 6000

// estimateInput estimates the tokens of a job's request from the bytes of its texts,
// for answers whose provider reports no usage.
func estimateInput(job *events.GenerationJob) int64 {
	n := int64(len(job.System))
	for _, m := range job.Messages {
		for _, p := range m.Parts {
			n += int64(len(p.Text) + len(p.Arguments))
			if p.Kind == events.PartImage || p.Kind == events.PartFile {
				n += imageBytes
			}
			for _, a := range p.Attachments {
				if transcript.Sendable(a) {
					n += imageBytes
				}
			}
		}
	}
	for _, t := range job.Tools {
		n += int64(len(t.Name) + len(t.Description) + len(t.Schema))
	}
	return events.EstimateTokens(n)
}
