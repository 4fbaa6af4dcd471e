package daemon_test

import (
	"context"
	"flag"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/daemon"
	orchestratorrole "github.com/parleybus/parley/internal/daemon/orchestrator"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/orchestrator"
	"github.com/parleybus/parley/internal/orchestrator/logtest"
	"github.com/parleybus/parley/internal/policy"
	"github.com/parleybus/parley/internal/tool"
)

var logsTo = flag.String("logs", "", "write the logs that TestDecisionsFollowFromTheLog records into this folder")

// recordedLog is a conversation whose log is recorded.
type recordedLog struct {
	script   string
	settings *events.Settings
	rules    string              // of the deployment, YAML
	hooks    []orchestrator.Hook // of the orchestrator itself
	deletes  bool                // the conversation is deleted: the log is the one a viewer received
	play     func(s *stage)
}

// TestDecisionsFollowFromTheLog records conversations of all kinds and checks that
// each Decision in their logs follows, byte for byte, from the messages before it.
// With -logs DIR it writes the logs. Those of internal/orchestrator/logtest were
// recorded once and are not recorded again.
func TestDecisionsFollowFromTheLog(t *testing.T) {
	for name, c := range recordedLogs() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := c.record(t, name)
			for i, m := range l.Messages {
				d, err := l.Decision(i)
				if err == nil && d != nil {
					err = l.FindKnown(i)
				}
				if err != nil {
					t.Fatalf("message %d: %v", m.Sequence, err)
				}
			}
			if *logsTo != "" {
				if err := l.Write(*logsTo); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func (c *recordedLog) record(t *testing.T, name string) *logtest.Log {
	t.Helper()
	s := &stage{deployment: serve(t), t: t, hold: newHolder(), conversation: newID(t)}
	s.start = s.run
	cfg := daemon.Config{Name: "owner"}
	l := &logtest.Log{Name: name, Deployment: logtest.Deployment{Conversation: s.conversation, Limits: orchestrator.DefaultLimits()}}
	for _, h := range c.hooks {
		l.Hooks = append(l.Hooks, h.Hook)
	}
	cfg.Rules = rulesFile(t, c.rules+soonReminders)
	rules, err := policy.Load(cfg.Rules)
	if err != nil {
		t.Fatal(err)
	}
	l.Policy, l.Prices = rules.Policy, rules.Prices
	l.Hooks = append(l.Hooks, rules.Hooks...)
	s.orchestrator = func() daemon.Role { return orchestratorrole.Role(cfg, s.log, nil, nil, c.hooks...) }
	tools, err := tool.New(s.hold, curious{}, chargeTool{})
	if err != nil {
		t.Fatal(err)
	}
	stopTools := s.run(s.tools("tools", tools))
	s.restartTools = func() {
		stopTools()
		stopTools = s.run(s.tools("tools", tools))
	}
	models, recorder := s.recorded("models", c.script)
	s.recorder = recorder
	s.run(models)
	s.begin(c.settings)
	c.play(s)
	l.Tools, l.Route = s.offers()
	seen := s.seen
	if !c.deletes {
		seen = s.logs()[s.conversation]
	}
	for _, m := range seen {
		l.Messages = append(l.Messages, s.recordedMessage(m))
	}
	return l
}

// offers returns the tools and the default model that the workers announce.
func (s *stage) offers() (specs []events.ToolSpec, route string) {
	s.t.Helper()
	all, err := s.Presence().Offers(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	for _, o := range all {
		if o.Tool != nil {
			specs = append(specs, *o.Tool)
		} else {
			route = o.Model
		}
	}
	return specs, route
}

func (s *stage) recordedMessage(m bus.Message) logtest.Message {
	s.t.Helper()
	var object []byte
	lines, err := events.DecodeFrame(m.Data)
	if err == nil {
		if claim, is := lines[0].Event.(*events.Claim); is {
			if object, err = s.Objects().Get(s.t.Context(), &claim.Object); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	r, err := logtest.New(m.Subject, m.Sequence, m.Time, m.ID, m.Data, object)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// chargeTool has an effect that must not happen twice. It fails with the error in
// its argument "fail".
type chargeTool struct{}

func (chargeTool) Spec() events.ToolSpec {
	return events.ToolSpec{Name: "charge", Description: "charges a card", Effect: events.EffectOnce, TimeoutMS: 5_000}
}

func (chargeTool) Run(_ context.Context, in tool.Input) (tool.Result, error) {
	var args struct{ Fail string }
	if err := in.Decode(&args); err != nil {
		return tool.Result{}, err
	}
	if args.Fail != "" {
		return tool.Result{}, errFailed(args.Fail)
	}
	in.Print("charging\n")
	return tool.Result{Content: "charged", Structured: []byte(`{"charged":true}`)}, nil
}

type errFailed string

func (e errFailed) Error() string { return string(e) }

// turn sends a message and waits until its turn has ended.
func (s *stage) turn(text string) {
	s.t.Helper()
	n := s.state.Turns
	s.send(&events.UserMessage{Text: text, From: "ann"})
	s.reach("the end of the turn on "+text, func() bool { return s.state.Turns > n && s.state.Turn == "" })
}

// waitsFor sends a message and waits until its turn is paused.
func (s *stage) waitsFor(text string) {
	s.t.Helper()
	n := s.state.Turns
	s.send(&events.UserMessage{Text: text})
	s.reach("the pause of the turn on "+text, func() bool { return s.state.Turns > n && s.state.Phase == events.PhasePaused })
}

// over waits until no turn runs.
func (s *stage) over() {
	s.t.Helper()
	s.reach("the end of the turn", func() bool { return s.state.Turn == "" && len(s.state.Queue) == 0 })
}

// pass waits for a duration.
func (s *stage) pass(d time.Duration) {
	select {
	case <-s.ctx.Done():
	case <-time.After(d):
	}
}
