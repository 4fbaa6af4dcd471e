package parley_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/embedded"
	"github.com/parleybus/parley/hook"
	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/topology"
	"github.com/parleybus/parley/model"
)

// sendAndWait sends a message and waits for the end of its turn.
func sendAndWait(t *testing.T, conv *parley.Conversation, text string, options ...parley.SendOption) parley.Result {
	t.Helper()
	turn, err := conv.Send(t.Context(), text, options...)
	if err != nil {
		t.Fatal(err)
	}
	result, err := turn.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func TestEventsContinueBehindAnyCursor(t *testing.T) {
	p := start(t, echo)
	conv := p.Conversation(parley.NewID())
	sendAndWait(t, conv, "one two three")
	var all []parley.Event
	for e, err := range conv.Events(t.Context(), parley.From{NoFollow: true}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	name := func(e parley.Event) string { return e.Cursor.String() + " " + e.Body.Type() }
	for i, e := range all {
		if e.Decided {
			continue // a program that stops within a Decision gets all of it again
		}
		cursor, err := parley.ParseCursor(e.Cursor.String())
		if err != nil {
			t.Fatal(err)
		}
		var rest []string
		for e, err := range conv.Events(t.Context(), parley.From{After: cursor, NoFollow: true}) {
			if err != nil {
				t.Fatal(err)
			}
			rest = append(rest, e.Body.Type())
		}
		var want []string
		for _, e := range all[i+1:] {
			want = append(want, e.Body.Type())
		}
		if !slices.Equal(rest, want) {
			t.Fatalf("behind %s came\n%v\nwant\n%v", name(e), rest, want)
		}
	}
	if len(all) < 8 || all[0].Body.Type() != "UserMessage" {
		t.Fatalf("the log has %d events", len(all))
	}
}

func TestAReplayKeepsThePaceOfTheLog(t *testing.T) {
	p := start(t, echo)
	conv := p.Conversation(parley.NewID())
	sendAndWait(t, conv, "hi")
	sendAndWait(t, conv, "hi again")
	var first, last time.Time
	began := time.Now()
	for e, err := range conv.Replay(t.Context(), parley.From{}, parley.Pace{Speed: 0.5}) {
		if err != nil {
			t.Fatal(err)
		}
		if first.IsZero() {
			first = e.Time
		}
		last = e.Time
	}
	if took, original := time.Since(began), last.Sub(first); took < 2*original {
		t.Fatalf("at half the speed the replay took %s, and the original %s", took, original)
	}
}

func TestErrorsHaveCodes(t *testing.T) {
	p := start(t, echo)
	ctx := t.Context()
	known := p.Conversation(parley.NewID())
	sendAndWait(t, known, "hi")
	for _, c := range []struct {
		name string
		want parley.Code
		do   func() error
	}{
		{"an id that is no UUID", parley.CodeInvalid, func() error { _, err := p.Conversation("chat42").Send(ctx, "hi"); return err }},
		{"an empty message", parley.CodeInvalid, func() error { _, err := known.Send(ctx, " "); return err }},
		{"a view of nothing", parley.CodeNotFound, func() error { _, err := p.Conversation(parley.NewID()).View(ctx); return err }},
		{"a deletion of nothing", parley.CodeNotFound, func() error {
			_, err := p.Conversation(parley.NewID()).Delete(ctx, parley.Delete{})
			return err
		}},
		{"a cancel of nothing", parley.CodeRefused, func() error { _, err := known.Cancel(ctx, parley.Cancel{}); return err }},
		{"settings that cannot be", parley.CodeRefused, func() error {
			return known.Configure(ctx, parley.Settings{WhileRunning: "sometimes"})
		}},
		{"a cursor that is none", parley.CodeInvalid, func() error { _, err := parley.ParseCursor("x"); return err }},
		{"a cursor of another log", parley.CodeCursorExpired, func() error {
			for _, err := range known.Events(ctx, parley.From{After: parley.Cursor{Sequence: 1, Epoch: "other"}}) {
				return err
			}
			return nil
		}},
		{"a tool that nobody serves", parley.CodeNoWorker, func() error { _, err := p.CallTool(ctx, parley.ToolCall{Tool: "nothing"}); return err }},
		{"an object that is not there", parley.CodeNotFound, func() error {
			_, err := p.Fetch(ctx, &parley.Object{Bucket: "PARLEY_OBJECTS", Name: "nothing", Size: 1})
			return err
		}},
		{"no server", parley.CodeNoServer, func() error { _, err := parley.Connect(ctx, parley.Config{URL: "nats://127.0.0.1:1"}); return err }},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.do(); parley.CodeOf(err) != c.want {
				t.Fatalf("got %v with code %q, want %q", err, parley.CodeOf(err), c.want)
			}
		})
	}
}

func TestSettingsThatAreRefusedFailTheirMessage(t *testing.T) {
	p := start(t, echo)
	turn, err := p.Conversation(parley.NewID()).Send(t.Context(), "hi", parley.WithSettings(parley.Settings{WhileRunning: "sometimes"}))
	if err != nil {
		t.Fatal(err)
	}
	_, err = turn.Wait(t.Context())
	refused, ok := errors.AsType[*parley.AnswerError](err)
	if !ok || refused.Answer.Answer != parley.AnswerInvalid {
		t.Fatalf("the turn returned %v", err)
	}
}

func TestAMessageWithoutAnOrchestratorIsKeptAndItsTurnSaysWhy(t *testing.T) {
	t.Parallel()
	server, err := broker.Start(broker.Config{Dir: t.TempDir(), Port: -1})
	if err != nil {
		t.Fatal(err)
	}
	b, err := bus.Connect(t.Context(), bus.Config{}.InProcess(server.InProcess()), &topology.Plan{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := parley.Connect(t.Context(), parley.Config{Options: []nats.Option{server.InProcess()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		b.Close()
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	conv := c.Conversation(parley.NewID())
	turn, err := conv.Send(t.Context(), "hi")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := turn.Wait(t.Context()); parley.CodeOf(err) != parley.CodeNoOrchestrator {
		t.Fatalf("the turn returned %v", err)
	}
	view, err := conv.View(t.Context())
	if err != nil || view.Cursor.Sequence == 0 {
		t.Fatalf("the conversation is %+v, %v", view, err)
	}
}

func TestListedByActivityAndDeletedForGood(t *testing.T) {
	p := start(t, echo)
	ctx := t.Context()
	older, newer := p.Conversation(parley.NewID()), p.Conversation(parley.NewID())
	sendAndWait(t, older, "older")
	sendAndWait(t, newer, "newer")
	sendAndWait(t, older, "again")
	var ids []string
	for s, err := range p.Conversations(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, s.ID)
	}
	if !slices.Equal(ids, []string{older.ID(), newer.ID()}) {
		t.Fatalf("listed are %v, want the one that was active last first", ids)
	}
	receipt, err := older.Delete(ctx, parley.Delete{Reason: "test"})
	if err != nil || receipt.Messages == 0 {
		t.Fatalf("the receipt is %+v, %v", receipt, err)
	}
	if _, err := older.View(ctx); parley.CodeOf(err) != parley.CodeDeleted {
		t.Fatalf("a view of a deleted conversation returned %v", err)
	}
	if _, err := older.Delete(ctx, parley.Delete{}); parley.CodeOf(err) != parley.CodeDeleted {
		t.Fatalf("a second deletion returned %v", err)
	}
	turn, err := older.Send(ctx, "are you there?")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := turn.Wait(ctx); parley.CodeOf(err) != parley.CodeDeleted {
		t.Fatalf("a message to a deleted conversation returned %v", err)
	}
}

func TestCancelStopsTheTurnOfItsMessageOnly(t *testing.T) {
	running := make(chan struct{}, 2)
	p := start(t, func(ctx context.Context, r model.Request, w *model.Writer) error {
		if parley.TextOf(r.Messages[len(r.Messages)-1]) == "quick" {
			w.Text("done")
			return nil
		}
		running <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	})
	conv := p.Conversation(parley.NewID())
	slow, err := conv.Send(t.Context(), "slow")
	if err != nil {
		t.Fatal(err)
	}
	<-running
	queued, err := conv.Send(t.Context(), "quick")
	if err != nil {
		t.Fatal(err)
	}
	dropped, err := conv.Send(t.Context(), "quick")
	if err != nil {
		t.Fatal(err)
	}
	if err := dropped.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := dropped.Wait(t.Context()); parley.CodeOf(err) != parley.CodeRefused {
		t.Fatalf("a message that was taken off the queue gave %v", err)
	}
	// The queue was dropped as a whole: what another message waits for is its own error.
	if _, err := queued.Wait(t.Context()); parley.CodeOf(err) != parley.CodeRefused {
		t.Fatalf("the other queued message gave %v", err)
	}
	if err := slow.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	if result, err := slow.Wait(t.Context()); err != nil || result.Outcome != parley.OutcomeCancelled {
		t.Fatalf("the cancelled turn is %+v, %v", result, err)
	}
	if err := slow.Cancel(t.Context()); parley.CodeOf(err) != parley.CodeRefused {
		t.Fatalf("a second cancel returned %v", err)
	}
}

func TestAnAttemptThatIsReplacedIsMarkedSuperseded(t *testing.T) {
	tries := 0
	p := start(t, func(_ context.Context, _ model.Request, w *model.Writer) error {
		if tries++; tries == 1 {
			w.Text("lost ")
			return &model.Failure{Class: parley.FailureNetwork, Message: "the line was cut"}
		}
		w.Text("kept")
		return nil
	})
	conv := p.Conversation(parley.NewID())
	if result := sendAndWait(t, conv, "hi"); result.Text != "kept" {
		t.Fatalf("the answer is %q", result.Text)
	}
	lost := ""
	for e, err := range conv.Events(t.Context(), parley.From{NoFollow: true}) {
		if err != nil {
			t.Fatal(err)
		}
		switch body := e.Body.(type) {
		case *parley.TextChunk:
			if body.Text == "lost " {
				lost = body.Attempt
			}
		case *parley.GenerationStarted:
			if lost != "" && e.Supersedes != lost {
				t.Fatalf("attempt %s supersedes %q, want %s", body.Attempt, e.Supersedes, lost)
			}
		}
	}
	if lost == "" {
		t.Fatal("nothing was lost")
	}
}

func TestAHookAddsToTheSystemPrompt(t *testing.T) {
	prompts := make(chan string, 1)
	p, err := embedded.Start(t.Context(), embedded.Options{Dir: t.TempDir(), Port: -1, NoBuiltins: true, Models: []model.Served{{
		Provider: model.Func("test", func(_ context.Context, r model.Request, w *model.Writer) error {
			prompts <- r.System
			w.Text("ok")
			return nil
		}), Model: "test-1"}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- hook.Serve(ctx, parley.Config{URL: p.Server()}, hook.Before, "memory", func(_ context.Context, c *hook.Call) (*hook.Answer, error) {
			return &hook.Answer{Context: "Ada likes tea."}, nil
		})
	}()
	conv := p.Conversation(parley.NewID())
	sendAndWait(t, conv, "hi", parley.WithSettings(parley.Settings{System: "Be brief.",
		Hooks: []parley.Hook{{Name: "memory", When: parley.HookBefore}}}))
	if prompt := <-prompts; !strings.Contains(prompt, "Be brief.") || !strings.Contains(prompt, "Ada likes tea.") {
		t.Errorf("the system prompt is %q", prompt)
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func TestAnotherProgramCannotUseTheDirectoryMeanwhile(t *testing.T) {
	dir := t.TempDir()
	p, err := embedded.Start(t.Context(), embedded.Options{Dir: dir, NoBuiltins: true, Models: []model.Served{{Provider: model.Func("test", echo), Model: "test-1"}}})
	if err != nil {
		t.Fatal(err)
	}
	conv := p.Conversation(parley.NewID())
	sendAndWait(t, conv, "remember me")
	if _, err := embedded.Start(t.Context(), embedded.Options{Dir: dir}); err == nil {
		t.Error("a second deployment started on the same directory")
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	p, err = embedded.Start(t.Context(), embedded.Options{Dir: dir, NoBuiltins: true, Models: []model.Served{{Provider: model.Func("test", echo), Model: "test-1"}}})
	if err != nil {
		t.Fatal(err)
	}
	view, err := p.Conversation(conv.ID()).View(t.Context())
	if err != nil || len(view.Messages) != 2 {
		t.Errorf("after a restart the conversation is %+v, %v", view, err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// TestAMessageThatIsSentAgainIsItsTurn: also later than the server itself would
// notice.
func TestAMessageThatIsSentAgainIsItsTurn(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	p := deployment(ctx, echo)
	defer p.Close()
	conv, id := p.Conversation(parley.NewID()), parley.NewID()
	first, err := conv.Send(ctx, "once", parley.WithInputID(id))
	if err != nil {
		t.Fatal(err)
	}
	want, err := first.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for again := first; again.Start() == first.Start(); { // until the server stores it anew
		if again, err = conv.Send(ctx, "once", parley.WithInputID(id)); err != nil {
			t.Fatal(err)
		}
		stored := again.Start()
		got, err := again.Wait(ctx)
		if err != nil || got.Text != want.Text || got.Turn != want.Turn || again.ID() != first.ID() {
			t.Fatalf("%+v, %v", got, err)
		}
		if stored != first.Start() {
			break
		}
	}
}
