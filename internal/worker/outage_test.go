package worker_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/topology"
	"github.com/parleybus/parley/internal/worker"
)

// presence is the TTL of announcements in these tests: like ackWait, a quarter of
// the real one. The outages below are a quarter of 4, 8 and 12 s.
const presence = 3 * time.Second

// TestWhatRunsOutlivesAnUnavailableServer stops the server while calls of every
// effect class and generations run. Some of them end while it is away, others when
// it is back; each has run once.
func TestWhatRunsOutlivesAnUnavailableServer(t *testing.T) {
	for _, d := range []time.Duration{time.Second, 2 * time.Second, 3 * time.Second} {
		t.Run(d.String(), func(t *testing.T) {
			t.Parallel()
			s := newStage(t, presence)
			u := s.startRunning()
			s.down()
			u.end("during")
			<-time.After(d)
			s.up()
			s.eventually(soon, s.Connected, "the connection does not come back")
			<-time.After(ackWait) // for those who would take the jobs
			u.end("after")
			u.check()
		})
	}
}

// running is what runs on three workers of each kind, by when it ends.
type running struct {
	*stage
	tools  map[*call]*step
	models map[*chat]*model
	jobs   map[*chat]*events.GenerationJob
	ends   map[string][]func()
}

func (s *stage) startRunning() *running {
	u := &running{s, map[*call]*step{}, map[*chat]*model{}, map[*chat]*events.GenerationJob{}, map[string][]func(){}}
	var all []tool.Tool
	var steps []*step
	for _, when := range []string{"during", "after"} {
		for _, effect := range []events.Effect{events.EffectPure, events.EffectIdempotent, events.EffectOnce} {
			x := newStep(string(effect)+"-"+when, effect)
			x.result = func() tool.Result { return tool.Result{Content: strings.Repeat("long ", 100<<10)} } // by reference
			u.ends[when] = append(u.ends[when], func() { x.end <- nil })
			all, steps = append(all, x), append(steps, x)
		}
	}
	for i := range 3 {
		s.tools(fmt.Sprintf("tools-%d", i), all...)
	}
	for _, x := range steps {
		u.tools[s.request(x.name, x.effect, "{}").publish()] = x
		next(s.t, x.runs)
	}
	for _, when := range []string{"during", "after"} {
		m := newModel()
		for i := range 3 {
			s.modelsOf(when, fmt.Sprintf("models-%s-%d", when, i), m)
		}
		c := s.chat()
		job := c.request()
		job.Route = when + "/m"
		s.publish(job)
		next(s.t, m.calls)
		u.models[c], u.jobs[c] = m, job
		u.ends[when] = append(u.ends[when], func() { m.end <- struct{}{} })
	}
	return u
}

func (u *running) end(when string) {
	for _, end := range u.ends[when] {
		end()
	}
}

// check waits for the end of everything, and reports what ran twice.
func (u *running) check() {
	u.t.Helper()
	for c, x := range u.tools {
		c.gone(c.subject, 2*soon)
		if again := len(x.runs); again > 0 {
			u.t.Errorf("the call of %s ran %d times more", x.name, again)
		}
		c.lanes("ToolStarted ToolResult")
		if r := await[*events.ToolResult](u.stage, c.lane, soon); r.Status != events.StatusOK {
			u.t.Errorf("the call of %s ended as %s: %s", x.name, r.Status, r.Content)
		}
	}
	for c, m := range u.models {
		e := await[*events.GenerationEnded](u.stage, c.lane(events.ChannelGen), 2*soon)
		if again := len(m.calls); again > 0 || e.Finish != events.FinishStop {
			u.t.Errorf("the generation ended as %s: %v; the model was called %d times more", e.Finish, e.Error, again)
		}
		subject, err := topology.GenerationJob(u.jobs[c].Route, u.jobs[c].Generation)
		u.done(err)
		u.gone(subject, soon)
	}
}

// lanes checks what the call's lane holds.
func (c *call) lanes(want string) {
	c.t.Helper()
	var types []string
	for _, e := range c.events(c.lane) {
		types = append(types, e.Type())
	}
	if got := strings.Join(types, " "); got != want {
		c.t.Errorf("the lane of the %s call holds %s, want %s", c.job.Effect, got, want)
	}
}

// TestACallOfADeadWorkerMovesOn cuts a worker's connection for good.
func TestACallOfADeadWorkerMovesOn(t *testing.T) {
	for effect, want := range map[events.Effect]events.Status{events.EffectPure: events.StatusOK, events.EffectOnce: events.StatusUnknown} {
		t.Run(string(effect), func(t *testing.T) {
			t.Parallel()
			s := newStage(t, presence)
			x := newStep("x", effect)
			b, _ := s.tools("first", x)
			c := s.request("x", effect, "{}").publish()
			next(t, x.runs)
			y := newStep("x", effect)
			y.end <- nil
			s.tools("second", y)
			began := time.Now()
			b.Close()
			r := await[*events.ToolResult](s, c.lane, 2*soon)
			if r.Status != want || len(y.runs) > 1 || effect == events.EffectOnce && len(y.runs) > 0 {
				t.Errorf("it ended as %s and ran %d times more", r.Status, len(y.runs))
			}
			t.Logf("after %v, where an announcement lives for %v", time.Since(began).Round(time.Millisecond), presence)
			if most := 4 * presence; time.Since(began) > most {
				t.Errorf("not within %v", most)
			}
			c.gone(c.subject, soon)
		})
	}
}

func TestAJobOfALiveWorkerIsLeftToIt(t *testing.T) {
	t.Parallel()
	s := newStage(t, presence)
	x := newStep("x", events.EffectPure)
	s.tools("first", x)
	c := s.request("x", events.EffectPure, "{}").publish()
	next(t, x.runs)
	y := newStep("x", events.EffectPure)
	s.tools("second", y)
	// The same call once more, as an owner of the shard publishes it on recovery
	// after the deduplication window.
	s.done(s.Jobs().Publish(t.Context(), c.job.Conversation, c.subject, newID(), c.job))
	<-time.After(presence + ackWait)
	x.end <- nil
	c.gone(c.subject, 2*soon)
	if again := len(x.runs) + len(y.runs); again > 0 {
		t.Errorf("it ran %d times more", again)
	}
	c.lanes("ToolStarted ToolResult")
}

// TestAStrangersMessageOnTheLaneOfARunningCallCostsNoResult: only another attempt
// takes a lane from its worker. What others write there moves it, and no more.
func TestAStrangersMessageOnTheLaneOfARunningCallCostsNoResult(t *testing.T) {
	for _, effect := range []events.Effect{events.EffectOnce, events.EffectPure} {
		t.Run(string(effect), func(t *testing.T) {
			t.Parallel()
			s := newStage(t, topology.PresenceTTL)
			x := newStep("x", effect)
			s.tools("tools", x)
			c := s.request("x", effect, "{}").publish()
			next(t, x.runs)
			_, js := s.Raw()
			for _, e := range []events.Event{&events.ToolResult{Call: c.job.Call, Attempt: newID(), Status: events.StatusOK, Content: "forged"}, &events.Unknown{Name: "Nonsense", Raw: []byte(`{"type":"Nonsense"}`)}} {
				frame, err := events.AppendFrame(nil, e)
				s.done(err)
				_, err = js.Publish(t.Context(), c.lane.Subject(topology.Conv), frame)
				s.done(err)
			}
			x.end <- nil
			c.gone(c.subject, 2*soon)
			all := c.events(c.lane)
			if r, ok := all[len(all)-1].(*events.ToolResult); !ok || r.Status != events.StatusOK || r.Content == "forged" || len(x.runs) > 0 {
				t.Errorf("the lane ends with %+v, and the tool ran %d times more", all[len(all)-1], len(x.runs))
			}
			if len(all) != 4 {
				t.Errorf("the lane holds %d events", len(all))
			}
		})
	}
}

func TestAWorkerThatStopsGivesItsJobsToOthersAtOnce(t *testing.T) {
	t.Parallel()
	s := newStage(t, topology.PresenceTTL)
	m := newModel()
	_, stop := s.models("first", m)
	c := s.chat()
	job := c.request()
	subject := s.publish(job)
	next(t, m.calls)
	s.models("second", m)
	began := time.Now()
	stop()
	next(t, m.calls)
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the generation was taken over after %v", took)
	}
	m.end <- struct{}{}
	s.gone(subject, soon)
	var released bool
	for _, e := range s.events(c.lane(events.ChannelGen)) {
		if r, ok := e.(*events.GenerationReleased); ok && r.Generation == job.Generation && r.Error == "" {
			released = true
		}
	}
	if !released {
		t.Error("the first worker did not release the generation")
	}
}

// TestAHandBackIsNoFailedAttempt hands a job back more often than it may fail.
func TestAHandBackIsNoFailedAttempt(t *testing.T) {
	t.Parallel()
	s := newStage(t, presence)
	c := s.request("x", events.EffectPure, "{}").publish()
	g := s.chat()
	job := g.request()
	generation := s.publish(job)
	_, js := s.Raw()
	for _, name := range []string{"tool_x", "llm_test"} {
		cons, err := js.Consumer(t.Context(), topology.StreamJobs, name)
		s.done(err)
		for range topology.JobAttempts + 1 {
			m, err := cons.Next()
			s.done(err)
			s.done(m.Nak())
		}
	}
	x, m := newStep("x", events.EffectPure), newModel()
	for range 2 { // a transient failure is the first of the attempts
		x.end <- tool.Retry(errors.New("busy"), time.Millisecond)
	}
	x.end <- nil
	m.end <- struct{}{}
	s.tools("tools", x)
	s.models("models", m)
	c.gone(c.subject, soon)
	s.gone(generation, soon)
	if r := await[*events.ToolResult](s, c.lane, soon); r.Status != events.StatusOK {
		t.Errorf("the call ended as %s: %s", r.Status, r.Content)
	}
	c.lanes("ToolStarted ToolReleased ToolStarted ToolReleased ToolStarted ToolResult")
	if e := await[*events.GenerationEnded](s, g.lane(events.ChannelGen), soon); e.Finish != events.FinishStop {
		t.Errorf("the generation ended as %s: %v", e.Finish, e.Error)
	}
}

// TestAJobThatFailsEveryTimeEnds starts with the maximum of attempts on the lane.
func TestAJobThatFailsEveryTimeEnds(t *testing.T) {
	t.Parallel()
	s := newStage(t, presence)
	c := s.request("x", events.EffectPure, "{}")
	var at uint64
	for range topology.JobAttempts {
		at = s.write(c.lane, at, &events.ToolStarted{Call: c.job.Call, Attempt: newID(), Tool: "x"})
	}
	x := newStep("x", events.EffectPure)
	s.tools("tools", x)
	c.publish()
	if r := await[*events.ToolResult](s, c.lane, soon); r.Status != events.StatusFailed || len(x.runs) > 0 {
		t.Errorf("it ended as %s and ran %d times", r.Status, len(x.runs))
	}
}

// TestAToolThatIsMissingForAMomentLosesNoCall runs a worker with many tools, so that
// its announcements take a while.
func TestAToolThatIsMissingForAMomentLosesNoCall(t *testing.T) {
	t.Parallel()
	s := newStage(t, topology.PresenceTTL)
	x := newStep("x", events.EffectOnce)
	var others []tool.Tool
	for i := range 300 {
		others = append(others, newStep(fmt.Sprintf("other-%d", i), events.EffectPure))
	}
	registry, err := tool.New(others...)
	s.done(err)
	s.done(registry.Set("x", x))
	w := &worker.Tool{Bus: s.connect(nil), Name: "tools", Log: s.log(), Tools: registry}
	s.run(w.Run)
	var calls []*call
	for range 65 {
		calls = append(calls, s.request("x", events.EffectOnce, "{}"))
		x.end <- nil
	}
	calls[0].publish().gone(calls[0].subject, 2*soon)
	s.done(registry.Set("x"))
	for _, c := range calls[1:] {
		c.publish()
	}
	<-time.After(2 * time.Second)
	s.done(registry.Set("x", x))
	for _, c := range calls {
		c.gone(c.subject, 2*soon)
		if r := await[*events.ToolResult](s, c.lane, soon); r.Status != events.StatusOK {
			t.Errorf("a call ended as %s: %s", r.Status, r.Content)
		}
		if e := await[*events.ToolStarted](s, c.lane, soon); e.Delivery > 15 {
			t.Errorf("a call was handed out %d times", e.Delivery)
		}
	}
}
