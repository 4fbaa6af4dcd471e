package parley_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/embedded"
	"github.com/parleybus/parley/model"
	"github.com/parleybus/parley/tool"
)

func TestMain(m *testing.M) {
	// nats-server leaves it behind for a while when it stops.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*stream).trySetupSourceConsumer.func3"))
}

// start runs a deployment with a model and tools for a test.
func start(t *testing.T, answer model.AnswerFunc, tools ...tool.Tool) *embedded.Parley {
	t.Helper()
	return embed(t, embedded.Options{Tools: tools, Models: []model.Served{{Provider: model.Func("test", answer), Model: "test-1"}}})
}

// embed runs a deployment without the tools of the box, in a directory of its own, until
// the test ends.
func embed(t testing.TB, o embedded.Options) *embedded.Parley {
	t.Helper()
	o.Dir, o.NoBuiltins = cmp.Or(o.Dir, t.TempDir()), true
	p, err := embedded.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// echo answers with the message's text, a word at a time.
func echo(_ context.Context, r model.Request, w *model.Writer) error {
	for word := range strings.SplitAfterSeq("You said: "+r.Messages[len(r.Messages)-1].Parts[0].Text, " ") {
		w.Text(word)
	}
	return nil
}

// transfer is a tool that is never run without approval.
func transfer(done chan<- string) tool.Tool {
	type args struct {
		To string `json:"to"`
	}
	return tool.Func("transfer", "Transfer money", func(_ context.Context, a args) (string, error) {
		done <- a.To
		return "transferred to " + a.To, nil
	})
}

// pays calls transfer once and then reports its result.
func pays(_ context.Context, r model.Request, w *model.Writer) error {
	last := r.Messages[len(r.Messages)-1]
	if last.Role == parley.RoleTool {
		w.Text("Done: " + last.Parts[0].Text)
		return nil
	}
	w.Call("transfer", json.RawMessage(`{"to":"Ada"}`))
	return nil
}

func TestATurnStreamsAndEndsOnce(t *testing.T) {
	p := start(t, echo)
	conv := p.Conversation(parley.NewID())
	turn, err := conv.Send(t.Context(), "hello there", parley.WithFrom("ada"))
	if err != nil {
		t.Fatal(err)
	}
	var text string
	var last parley.Body
	for e, err := range turn.Events(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if chunk, ok := e.Body.(*parley.TextChunk); ok {
			text += chunk.Text
		}
		last = e.Body
	}
	end, ok := last.(*parley.TurnEnded)
	if !ok || end.Outcome != parley.OutcomeCompleted || end.Turn != turn.ID() {
		t.Fatalf("the last event is %#v of turn %q", last, turn.ID())
	}
	if text != "You said: hello there" {
		t.Fatalf("the text is %q", text)
	}
	result, err := turn.Wait(t.Context()) // again, from the log
	if err != nil || result.Text != text || result.Outcome != parley.OutcomeCompleted {
		t.Fatalf("got %+v, %v", result, err)
	}
}

func TestACallWaitsUntilSomebodyApprovesIt(t *testing.T) {
	done := make(chan string, 1)
	p := start(t, pays, transfer(done))
	turn, err := p.Conversation(parley.NewID()).Send(t.Context(), "pay Ada")
	if err != nil {
		t.Fatal(err)
	}
	var first parley.WaitingChange
	for change, err := range p.FollowWaiting(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		first = change
		break
	}
	if first.Change != "waits" || first.Tool != "transfer" || first.Conversation == "" {
		t.Fatalf("what waits is %+v", first)
	}
	waiting, err := p.Waiting(t.Context())
	if err != nil || len(waiting) != 1 || string(waiting[0].Arguments) != `{"to":"Ada"}` {
		t.Fatalf("waiting: %+v, %v", waiting, err)
	}
	if err := waiting[0].Approve(t.Context(), parley.By("ada")); err != nil {
		t.Fatal(err)
	}
	result, err := turn.Wait(t.Context())
	if err != nil || result.Text != "Done: transferred to Ada" || <-done != "Ada" {
		t.Fatalf("got %+v, %v", result, err)
	}
	err = waiting[0].Approve(t.Context())
	refused, ok := errors.AsType[*parley.AnswerError](err)
	if !ok || refused.Answer.Answer != parley.AnswerAlreadyDecided && refused.Answer.Answer != parley.AnswerUnknownCall || parley.CodeOf(err) != parley.CodeRefused {
		t.Fatalf("a second approval returned %v", err)
	}
}

func TestAViewerThatJoinsLateSeesNoTokenTwice(t *testing.T) {
	next := make(chan string)
	p := start(t, func(ctx context.Context, _ model.Request, w *model.Writer) error {
		for {
			select {
			case word, more := <-next:
				if !more {
					return nil
				}
				w.Text(word)
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	conv := p.Conversation(parley.NewID())
	turn, err := conv.Send(t.Context(), "count")
	if err != nil {
		t.Fatal(err)
	}
	next <- "one "
	next <- "two "
	streamed := 0
	for e, err := range conv.Events(t.Context(), parley.From{}) {
		if err != nil {
			t.Fatal(err)
		}
		if chunk, ok := e.Body.(*parley.TextChunk); ok {
			streamed += strings.Count(chunk.Text, " ")
		}
		if streamed == 2 {
			break
		}
	}
	view, live, err := conv.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	open, generation := view.Open()
	if open == nil || generation == "" || parley.TextOf(*open) != "one two " || view.State.Phase != parley.PhaseGenerating {
		t.Fatalf("the open answer is %+v of %q in phase %s", open, generation, view.State.Phase)
	}
	text := parley.TextOf(*open)
	next <- "three"
	close(next)
	for e, err := range live {
		if err != nil {
			t.Fatal(err)
		}
		if chunk, ok := e.Body.(*parley.TextChunk); ok {
			text += chunk.Text
		}
		if _, ended := e.Body.(*parley.TurnEnded); ended {
			break
		}
	}
	if text != "one two three" {
		t.Fatalf("the late viewer saw %q", text)
	}
	if result, err := turn.Wait(t.Context()); err != nil || result.Text != text {
		t.Fatalf("got %+v, %v", result, err)
	}
}

func TestWatchFoldsTheConversationAsItChanges(t *testing.T) {
	p := start(t, echo)
	conv := p.Conversation(parley.NewID())
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	sent := false
	for view, err := range conv.Watch(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if !sent {
			if len(view.Messages) != 0 || view.State.Turns != 0 {
				t.Fatalf("an empty conversation is %+v", view)
			}
			if _, err := conv.Send(ctx, "hi", parley.WithSystem("be brief")); err != nil {
				t.Fatal(err)
			}
			sent = true
		}
		if view.State.Turns == 1 && view.State.Phase == parley.PhaseIdle {
			if len(view.Messages) != 2 || parley.TextOf(view.Messages[1]) != "You said: hi" || view.Settings.System != "be brief" {
				t.Fatalf("the conversation is %+v", view)
			}
			return
		}
	}
	t.Fatal("the iteration ended")
}

func TestFollowedOffersShowWhoComesAndGoes(t *testing.T) {
	done := make(chan string, 1)
	p := start(t, echo)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	served := make(chan error, 1)
	steps := 0
	for offers, err := range p.FollowOffers(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		there := parley.SpecOf(offers, "transfer") != nil
		switch {
		case steps == 0 && !there:
			if models := parley.Models(offers); len(models) != 1 || models[0] != "test/test-1" {
				t.Fatalf("the models are %v", models)
			}
			go func() {
				served <- tool.Server{Options: p.Options()}.Serve(ctx, transfer(done))
			}()
			steps++
		case steps == 1 && there:
			leave()
			steps++
		case steps == 2 && !there:
			if err := <-served; err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatal("the iteration ended")
}

func TestTheDeploymentIsFollowed(t *testing.T) {
	p := start(t, echo, transfer(make(chan string, 1)))
	d, err := p.Deployment(t.Context())
	for err == nil && len(d.Shards) == 1 && d.Shards[0].Owner == "" { // the start does not wait for the owner
		d, err = p.Deployment(t.Context())
	}
	if err != nil || len(d.Shards) != 1 || len(d.Workers) != 2 || d.Server != p.URL() || len(d.Problems) > 0 {
		t.Errorf("the deployment is %+v, %v", d, err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	states := 0
	for d, err := range p.FollowDeployment(ctx, 50*time.Millisecond) {
		if err != nil {
			t.Fatal(err)
		}
		if states++; states == 1 {
			if len(d.Workers) != 2 || !d.Workers[0].Before || d.Shards[0].Owner == "" || d.Messages != 0 {
				t.Errorf("the first state is %+v", d)
			}
			if _, err := p.Conversation(parley.NewID()).Publish(ctx, &parley.Settings{System: "Be brief."}); err != nil {
				t.Fatal(err)
			}
		}
		if d.Messages > 0 && d.Shards[0].End > 0 {
			return
		}
	}
	t.Error("messages are not counted")
}
