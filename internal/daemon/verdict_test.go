package daemon_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/topology"
)

// stage is a conversation on a deployment whose orchestrator can be restarted.
type stage struct {
	*deployment
	*viewer
	ctx          context.Context
	t            *testing.T
	hold         *holder
	recorder     *recorder
	conversation string
	stop         func()
	start        func(daemon.Role) (stop func())
	orchestrator func() daemon.Role
	restartTools func() // replaces the tool worker; set for recorded logs
}

// setStage returns a stage without a running orchestrator.
func setStage(t *testing.T, script string) *stage {
	t.Helper()
	s := withoutModels(t)
	models, recorder := s.recorded("models", script)
	s.recorder = recorder
	s.run(models)
	return s
}

// withoutModels returns a stage with neither an orchestrator nor an llm-worker.
func withoutModels(t *testing.T) *stage {
	t.Helper()
	s := &stage{deployment: serve(t), t: t, hold: newHolder(), conversation: newID(t)}
	s.start = s.run
	s.orchestrator = func() daemon.Role { return s.deployment.orchestrator("owner-" + newID(t)[24:]) }
	tools, err := tool.New(s.hold)
	if err != nil {
		t.Fatal(err)
	}
	s.run(s.tools("tools", tools))
	return s
}

// begin starts the conversation with settings and without a message.
func (s *stage) begin(settings *events.Settings) *stage {
	s.t.Helper()
	s.stop = s.start(s.orchestrator())
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	s.t.Cleanup(cancel)
	s.ctx, s.viewer = ctx, s.view(ctx, s.conversation)
	answered(s.t, s.send(settings), events.AnswerAccepted)
	return s
}

func play(t *testing.T, script string, settings *events.Settings) *stage {
	t.Helper()
	return setStage(t, script).begin(settings)
}

// restart replaces the orchestrator by another one.
func (s *stage) restart() {
	s.t.Helper()
	s.stop()
	s.stop = s.start(s.orchestrator())
}

// send publishes an input and reads until its answer.
func (s *stage) send(e events.Event) (a *events.InputAnswered) {
	s.t.Helper()
	id := identify(s.deployment, e)
	s.sendNew(s.conversation, func(string) events.Event { return e })
	s.until("the answer to a "+e.Type(), func(e events.Event) bool {
		answer, ok := e.(*events.InputAnswered)
		if ok && answer.Input == id {
			a = answer
		}
		return a != nil
	})
	return a
}

// decide sends a verdict on a waiting call.
func (s *stage) decide(r events.Ruling, call events.CallState, arguments string) *events.InputAnswered {
	s.t.Helper()
	return s.send(&events.Verdict{Verdict: r, From: "ann", Calls: []events.CallVerdict{
		{Call: call.Call, Digest: call.Digest, Arguments: json.RawMessage(arguments), Content: "an answer"}}})
}

// answered checks an answer.
func answered(t *testing.T, a *events.InputAnswered, want events.Answer) {
	t.Helper()
	if a.Answer != want {
		t.Fatalf("the answer is %+v, want %s", a, want)
	}
}

// pause reads until the turn waits.
func (s *stage) pause() (p *events.Paused) {
	s.t.Helper()
	s.until("the pause", func(e events.Event) bool {
		if e, ok := e.(*events.Paused); ok {
			p = e
		}
		return p != nil
	})
	return p
}

// end reads until a turn ends.
func (s *stage) end() (e *events.TurnEnded) {
	s.t.Helper()
	s.until("the end", func(ev events.Event) bool {
		if ev, ok := ev.(*events.TurnEnded); ok {
			e = ev
		}
		return e != nil
	})
	return e
}

// completed reads until a turn ends, checks that it completed, and audits the log.
func (s *stage) completed(text string) {
	s.t.Helper()
	end := s.end()
	if _, answer := s.state.Transcript.Ended(end.Turn); end.Outcome != events.OutcomeCompleted || answer != text {
		s.t.Fatalf("the turn ended as %s (%s, %v) with %q, want %q", end.Outcome, end.Reason, end.Error, answer, text)
	}
	if err := audit(s.conversation, s.logs()[s.conversation]); err != nil {
		s.t.Fatal(err)
	}
	s.recorder.check(s.t)
}

// calls returns a script whose first answer calls hold.
func calls(arguments ...string) string {
	s := "model: demo\npace: 0\nrules:\n  - name: calls\n    match: .\n    steps:\n      - text: Calling.\n        calls:\n"
	for _, a := range arguments {
		s += "          - {tool: hold, arguments: " + a + "}\n"
	}
	s += "      - text: \"Done:"
	for i := range arguments {
		s += fmt.Sprintf(" {{result %d}}", i)
	}
	return s + ".\"\n"
}

func TestEditedArgumentsAreWhatRanAndWhatTheModelSaw(t *testing.T) {
	s := play(t, calls("{as: ask, n: 1}"), &events.Settings{Policy: momentPolicy()})
	s.send(&events.UserMessage{Text: "go"})
	p := s.pause()
	call := waiting(t, s.state, events.WaitApproval)
	if original := `{"as":"ask","n":1}`; string(p.Awaiting[0].Arguments) != original || p.Awaiting[0].Digest != events.Digest(original) || call.Digest != events.Digest(original) {
		t.Fatalf("the pending call has the arguments %s, digest %s", p.Awaiting[0].Arguments, p.Awaiting[0].Digest)
	}
	for _, arguments := range []string{`{"n":2}`, `["as"]`, `{"as":2}`, "null", ""} {
		answered(t, s.decide(events.RulingEdit, call, arguments), events.AnswerInvalid)
	}
	s.restart()
	edited := `{"as":"quick","n":2}`
	var requested *events.ToolCallRequested
	answered(t, s.decide(events.RulingEdit, call, ` {"as": "quick",  "n":2} `), events.AnswerAccepted)
	s.completed("Done: quick.")
	var original string
	for _, m := range s.seen {
		each(m, func(e events.Event) {
			switch e := e.(type) {
			case *events.ToolCallRequested:
				requested = e
			case *events.AssistantMessage:
				for _, p := range e.Message.Parts {
					original += p.Arguments
				}
			}
		})
	}
	if got := s.hold.runs(call.Call); !slices.Equal(got, []string{edited}) {
		t.Errorf("the tool ran with %q", got)
	}
	if requested == nil || string(requested.Arguments) != edited || original != `{"as":"ask","n":1}` {
		t.Errorf("the log holds the model's arguments %s and the request %+v", original, requested)
	}
	seen := ""
	for _, m := range s.recorder.last(t).Messages {
		for _, p := range m.Parts {
			seen += p.Arguments
		}
	}
	if seen != edited {
		t.Errorf("the model saw %s", seen)
	}
}

// pair returns a deployment and a second connection.
func pair(t *testing.T) (*deployment, *bus.Bus) {
	t.Helper()
	b, err := broker.Start(broker.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Stop() })
	connect := func(setup *topology.Plan) *bus.Bus {
		c, err := bus.Connect(t.Context(), bus.Config{URL: b.URL()}, setup)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	return &deployment{connect(&topology.Plan{}), t, slog.New(slog.NewTextHandler(t.Output(), nil))}, connect(nil)
}

// duel sends two verdicts on each call of a conversation concurrently, one
// approves, the other rejects. It checks the results and returns how often the
// approval won.
func duel(ctx context.Context, t *follower, other *bus.Bus, hold *holder) (int, error) {
	if err := t.send(ctx, &events.Settings{Policy: momentPolicy()}); err != nil {
		return 0, err
	}
	if err := t.publish(ctx, &events.UserMessage{Text: "go"}); err != nil {
		return 0, err
	}
	if err := t.until("the pause", func(events.Event) bool { return t.state.Phase == events.PhasePaused }); err != nil {
		return 0, err
	}
	waiting := slices.Clone(t.state.Calls)
	approve, reject := make([]string, len(waiting)), make([]string, len(waiting))
	both := []*bus.Bus{t.d.Bus, other}
	var g errgroup.Group
	ready := make(chan struct{})
	for i, c := range waiting {
		for n, r := range []events.Ruling{events.RulingApprove, events.RulingReject} {
			id := newID(t.d.t)
			[][]string{approve, reject}[n][i] = id
			v := &events.Verdict{ID: id, Verdict: r, Reason: "no", Calls: []events.CallVerdict{{Call: c.Call, Digest: c.Digest}}}
			g.Go(func() error {
				<-ready
				_, err := both[(n+i)%2].Conversation(t.id).Publish(ctx, id, v)
				return err
			})
		}
	}
	close(ready)
	if err := g.Wait(); err != nil {
		return 0, err
	}
	if err := t.until("the end and all answers", func(events.Event) bool {
		return t.state.Turn == "" && len(t.answers) == 2+2*len(waiting)
	}); err != nil {
		return 0, err
	}
	won := 0
	for i, c := range waiting {
		called, _ := t.state.Transcript.Call(c.Call)
		yes, no := t.answers[approve[i]].Calls[0].Answer, t.answers[reject[i]].Calls[0].Answer
		is, runs := called.Status, len(hold.runs(c.Call))
		switch {
		case yes == events.AnswerAccepted && no == events.AnswerAlreadyDecided && is == events.StatusOK && runs == 1:
			won++
		case yes == events.AnswerAlreadyDecided && no == events.AnswerAccepted && is == events.StatusRefused && runs == 0:
		default:
			return won, fmt.Errorf("call %d: approving is %s, rejecting is %s, it ended as %q and ran %d times", i, yes, no, is, runs)
		}
	}
	return won, nil
}

func TestTwoPeopleDecideConcurrentlyAndOneVerdictIsAccepted(t *testing.T) {
	for _, c := range []struct{ conversations, calls int }{{1, 200}, {100, 2}} {
		t.Run(fmt.Sprintf("200 calls in %d conversations", c.conversations), func(t *testing.T) {
			d, other := pair(t)
			hold := newHolder()
			tools, err := tool.New(hold)
			if err != nil {
				t.Fatal(err)
			}
			var arguments []string
			for i := range c.calls {
				arguments = append(arguments, fmt.Sprintf("{as: ask, n: %d}", i))
			}
			models, recorder := d.recorded("models", calls(arguments...))
			for _, r := range []daemon.Role{d.tools("tools", tools), models, d.orchestrator("one"), d.orchestrator("two")} {
				d.run(r)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
			defer cancel()
			var won atomic.Int64
			var g errgroup.Group
			for range c.conversations {
				g.Go(func() error {
					follower := d.follow(ctx, newID(t))
					defer follower.stop()
					n, err := duel(ctx, follower, other, hold)
					won.Add(int64(n))
					return err
				})
			}
			if err := g.Wait(); err != nil {
				t.Fatal(err)
			}
			for id, log := range d.logs() {
				if err := cmp.Or(audit(id, log), firstVerdictCounts(log)); err != nil {
					t.Errorf("conversation %s: %v", id, err)
				}
			}
			recorder.check(t)
			if n := won.Load(); n == 0 || n == 200 {
				t.Errorf("approving won %d times of 200: they did not race", n)
			}
			t.Logf("approved %d of 200", won.Load())
		})
	}
}

func TestApprovalForTheConversationIsValidUntilItIsRevoked(t *testing.T) {
	s := play(t, calls("{as: ask}"), &events.Settings{Policy: momentPolicy()})
	s.send(&events.UserMessage{Text: "go"})
	s.pause()
	first := waiting(t, s.state, events.WaitApproval)
	a := s.decide(events.RulingAlways, first, "")
	if len(a.Granted) != 1 || a.Granted[0].Tool != "hold" || a.Granted[0].From != "ann" {
		t.Fatalf("granted was %+v", a.Granted)
	}
	s.completed("Done: ask.")
	answered(t, s.decide(events.RulingReject, first, ""), events.AnswerAlreadyDecided)
	s.restart()
	s.send(&events.UserMessage{Text: "again"})
	by := ""
	s.until("the call", func(e events.Event) bool {
		if r, ok := e.(*events.ToolCallRequested); ok {
			by = r.By
		}
		return by != ""
	})
	if by != a.Granted[0].ID {
		t.Errorf("the second call runs by %q, the approval is %q", by, a.Granted[0].ID)
	}
	s.completed("Done: ask.")
	if a := s.send(&events.Verdict{Verdict: events.RulingRevoke}); !slices.Equal(a.Revoked, []string{by}) {
		t.Errorf("revoking is answered %+v", a)
	}
	s.send(&events.UserMessage{Text: "and again"})
	s.pause()
	answered(t, s.decide(events.RulingApprove, waiting(t, s.state, events.WaitApproval), ""), events.AnswerAccepted)
	s.completed("Done: ask.")
}

func TestDenyIsNeverBypassed(t *testing.T) {
	never := events.Rule{When: `args.as == "never"`, Action: events.ActionDeny, Reason: "not here"}
	policy := momentPolicy()
	policy.Rules = append(policy.Rules, never) // its place in the list does not matter
	s := play(t, calls("{as: ask, n: 1}", "{as: ask, n: 2}", "{as: never}"), &events.Settings{Policy: policy})
	s.send(&events.UserMessage{Text: "go"})
	s.pause()
	one, two, three := s.state.Calls[0], s.state.Calls[1], s.state.Calls[2]
	a := s.send(&events.Verdict{Verdict: events.RulingEdit, Calls: []events.CallVerdict{
		{Call: one.Call, Digest: one.Digest, Arguments: json.RawMessage(`{"as":"quick"}`)},
		{Call: two.Call, Digest: two.Digest, Arguments: json.RawMessage(`{"as":"never"}`)},
		{Call: three.Call, Digest: events.Digest(`{"as":"never"}`), Arguments: json.RawMessage(`{"as":"quick"}`)}}})
	var got []events.Answer
	for _, c := range a.Calls {
		got = append(got, c.Answer)
	}
	if want := []events.Answer{events.AnswerAccepted, events.AnswerDenied, events.AnswerAlreadyDecided}; !slices.Equal(got, want) {
		t.Fatalf("the answers are %v, want %v", got, want)
	}
	answered(t, s.decide(events.RulingAlways, two, ""), events.AnswerAccepted)
	s.completed("Done: quick ask the policy of this conversation does not allow this call: it was not run: not here.")
	if n := len(s.hold.runs(three.Call)); n > 0 {
		t.Errorf("the call that is denied ran %d times", n)
	}
	policy.Rules[0].Action = events.ActionDeny // overrides the approval for the conversation
	s.send(&events.Settings{Policy: policy})
	s.send(&events.UserMessage{Text: "again"})
	s.end()
	for _, c := range s.state.Transcript.Calls("")[3:] {
		if c.Status != events.StatusRefused || len(s.hold.runs(c.Call)) > 0 {
			t.Errorf("a call that is denied now ended as %s", c.Status)
		}
	}
}

func TestADeadlineExpiresTheCallAndLateInputsChangeNothing(t *testing.T) {
	policy := momentPolicy()
	policy.DeadlineMS, policy.ReminderMS = 1500, 150
	s := play(t, calls("{as: run}", "{as: ask}", "{as: app}"), &events.Settings{Policy: policy})
	s.send(&events.UserMessage{Text: "go"})
	p := s.pause()
	run, ask, app := s.state.Calls[0], s.state.Calls[1], s.state.Calls[2]
	if left := p.DeadlineMS - p.AtMS; left != 1500 || p.RemindMS-p.AtMS != 150 {
		t.Errorf("the pause expires after %d ms: %+v", left, p)
	}
	s.restart()
	for n := range 2 {
		if p := s.pause(); p.Reminder != n+1 || len(p.Awaiting) != 2 {
			t.Errorf("reminder %d is %+v", n+1, p)
		}
	}
	expired := map[string]bool{}
	s.until("the calls to expire", func(e events.Event) bool {
		if r, ok := e.(*events.ToolCallRefused); ok && r.Status == events.StatusExpired {
			expired[r.Call] = true
		}
		return expired[ask.Call] && expired[app.Call]
	})
	answered(t, s.decide(events.RulingApprove, ask, ""), events.AnswerExpired)
	if err := s.resultFrom(s.ctx, s.conversation, app.Call, "too late"); err != nil {
		t.Fatal(err)
	}
	s.restart()
	s.send(&events.Cancel{Call: run.Call})
	end := s.end()
	answered(t, s.decide(events.RulingAnswer, app, ""), events.AnswerExpired)
	for i, want := range []events.Status{events.StatusCancelled, events.StatusExpired, events.StatusExpired} {
		if c := s.state.Transcript.Calls(end.Turn)[i]; c.Status != want {
			t.Errorf("call %d ended as %s: %s, want %s", i, c.Status, c.Content, want)
		}
	}
	if n := len(s.hold.runs(ask.Call)) + len(s.hold.runs(app.Call)); n > 0 {
		t.Errorf("calls that expired ran %d times", n)
	}
	for _, m := range s.recorder.last(t).Messages {
		if m.Parts[0].Text == "too late" {
			t.Error("the model reads a result that came too late")
		}
	}
}

// TestAnAppGivesAResultAsAnyClientOfNATSCan: the deferred part.
func TestAnAppGivesAResultAsAnyClientOfNATSCan(t *testing.T) {
	s := play(t, calls("{as: app}"), &events.Settings{Policy: momentPolicy()})
	s.send(&events.UserMessage{Text: "go"})
	s.pause()
	call := waiting(t, s.state, events.WaitResult)
	answered(t, s.decide(events.RulingApprove, call, ""), events.AnswerNotAllowed)
	s.restart()
	nc, _ := s.Raw()
	publish := func(content string) string {
		m := nats.NewMsg(topology.OfCall(s.Shards(), s.conversation, events.ChannelCall, call.Call).Subject(topology.Conv))
		m.Header.Set("Nats-Expected-Last-Subject-Sequence", "0")
		m.Data = fmt.Appendf(nil, `{"type":"ToolResult","call":%q,"status":"ok","content":%q}`, call.Call, content)
		ack, err := nc.RequestMsg(m, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		return string(ack.Data)
	}
	if ack := publish("from an app"); strings.Contains(ack, "error") {
		t.Fatalf("the result was refused: %s", ack)
	}
	if ack := publish("from another"); !strings.Contains(ack, "wrong last sequence") {
		t.Errorf("the second result was not refused: %s", ack)
	}
	s.completed("Done: from an app.")
	if n := len(s.hold.runs(call.Call)); n > 0 {
		t.Errorf("the call ran %d times", n)
	}
}
