package toolworker

import (
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/parleybus/parley/internal/conformance"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
)

func announces(s *stage) {
	s.start("one")
	o := s.OfferOf(s.served, "one")
	if o.Kind != "tool" || o.Name != s.tool.Name || !conformance.Named(o.Worker, "one") || o.Tool == nil || o.Tool.Name != s.tool.Name || o.Tool.Effect != events.EffectPure || o.Tool.Description == "" {
		s.Fatalf("it announces %+v, expected kind tool, the name, its unique worker's name, and a tool of the same name with a description and the effect pure", o)
	}
	var v tool.Validator
	if err := v.Check(*o.Tool); err != nil {
		s.Errorf("its tool cannot be offered: %v", err)
	}
}

// run has the worker run a call.
func (s *stage) run() { s.newCall(s.tool.Arguments).publish().ended(events.StatusOK) }

// signsIn runs a call on servers without accounts, which want a token, or a user
// and a password.
func signsIn(s *stage) {
	for _, login := range []*url.Userinfo{url.User("t0ken"), url.UserPassword("somebody", "s3cr3t")} {
		for _, inURL := range []bool{true, false} {
			plain := newStage(s.Check, s.tool, conformance.Setup{Login: login, InURL: inURL})
			plain.start("one")
			plain.run()
		}
	}
}

func requestsTheQueue(s *stage) { s.RequestsTheQueue(s.served, s.run) }
func requestsAgain(s *stage)    { s.RequestsAgain(s.served, s.run) }
func leavesTheQueue(s *stage)   { s.LeavesTheQueue(s.served, s.run) }
func announcesAgain(s *stage)   { s.AnnouncesAgain(s.served) }
func leaves(s *stage)           { s.Leaves(s.served, s.run) }

// handsBack starts a second worker, which takes the job that the first one hands
// back.
func handsBack(s *stage) {
	c, first := running(s, events.EffectPure)
	started := await1(c)
	s.start("two")
	stopped := time.Now()
	first.Signal(syscall.SIGTERM)
	second := await[*events.ToolStarted](c, conformance.Soon)
	if types := c.lanes(); !strings.Contains(types, "ToolReleased") {
		s.Errorf("it did not write a ToolReleased: the lane holds %s", types)
	}
	if took := time.Since(stopped); took >= conformance.AckWait {
		s.Errorf("another worker got the job after %v, expected at once: it was not handed back before ack_wait had passed", took)
	}
	if !conformance.Named(second.Worker, "two") || second.Delivery != 2 || second.Attempt == started.Attempt {
		s.Errorf("after the start %+v comes %+v, expected another attempt, of worker two, with its delivery", started, second)
	}
}

// await1 returns the start on the lane.
func await1(c *call) *events.ToolStarted {
	e, ok := c.read()[0].Event.(*events.ToolStarted)
	if !ok {
		c.Fatalf("the lane holds %s, expected a ToolStarted", c.lanes())
	}
	return e
}

func endsOnce(s *stage) {
	c, p := running(s, events.EffectOnce)
	p.Signal(syscall.SIGTERM)
	c.ended(events.StatusUnknown)
}

func takesOver(s *stage) {
	c, first := running(s, events.EffectIdempotent)
	started := await1(c)
	first.Signal(syscall.SIGKILL)
	<-first.Done
	s.start("two")
	second := await[*events.ToolStarted](c, 2*conformance.Soon)
	if !conformance.Named(second.Worker, "two") || second.Delivery < 2 || second.Attempt == started.Attempt {
		s.Errorf("after the start %+v comes %+v, expected another attempt, of worker two, with its delivery", started, second)
	}
	id := conformance.NewID()
	c.publishInput(id, &cancel{ID: id, Turn: c.job.Turn})
	if r := c.ended(events.StatusCancelled); r.Attempt != second.Attempt {
		s.Errorf("the result is of attempt %s, expected %s, the latest", r.Attempt, second.Attempt)
	}
}

// keepsTheJob loses the result of a call on its way to the server for a while.
func keepsTheJob(s *stage) {
	s = newStage(s.Check, s.tool, conformance.Setup{Proxied: true})
	s.MakeQueue(s.served)
	s.start("one")
	c := s.newCall(s.tool.Arguments)
	var lost atomic.Int64
	s.Proxy.Lose(func(f conformance.Frame) bool {
		return f.ToServer && f.Subject == c.job.Subject && strings.Contains(string(f.Data), `"ToolResult"`) && lost.Add(1) > 0
	})
	c.publish()
	s.Eventually(conformance.Soon, "it publishes a ToolResult", func() bool { return lost.Load() > 0 })
	s.Never(time.Second, "the job was acknowledged before its result was stored, expected after it", func() bool { return !s.HasJob(c.subject) })
	s.Proxy.Lose(nil)
	await[*events.ToolResult](c, 2*conformance.Soon)
	c.jobRemoved(conformance.Soon)
}
