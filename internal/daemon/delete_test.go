package daemon_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/broker/brokertest"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// stored counts the stored messages of a conversation by stream.
func (d *deployment) stored(id string, calls ...string) map[string]int {
	d.t.Helper()
	found := map[string]int{}
	_, js := d.Raw()
	streams := []string{topology.StreamHistory, topology.StreamJobs, topology.StreamTimers, "OBJ_" + topology.BucketObjects}
	for shard := range d.Shards() {
		streams = append(streams, topology.ConvStream(shard))
	}
	for _, stream := range streams {
		s, err := js.Stream(d.t.Context(), stream)
		if err != nil {
			d.t.Fatal(err)
		}
		info, err := s.Info(d.t.Context(), jetstream.WithSubjectFilter(">"))
		if err != nil {
			d.t.Fatal(err)
		}
		for subject, n := range info.State.Subjects {
			name := subject
			if at := strings.LastIndex(subject, "."); strings.HasPrefix(subject, "$O.") {
				raw, err := base64.URLEncoding.DecodeString(subject[at+1:])
				if err != nil {
					continue
				}
				name = string(raw)
			}
			ours := strings.Contains(name, id) || slices.ContainsFunc(calls, func(c string) bool { return strings.Contains(name, c) })
			if ours {
				found[stream] += int(n)
			}
		}
	}
	return found
}

// deleted blocks until only the tombstone of a conversation is stored.
func (d *deployment) deleted(id string, calls ...string) {
	d.t.Helper()
	want := map[string]int{topology.ConvStream(topology.ShardOf(id, d.Shards())): 1, topology.StreamHistory: 1}
	var got map[string]int
	for end := time.Now().Add(20 * time.Second); ; {
		last, _, err := d.Conversation(id).LastDecision(d.t.Context(), 0)
		if err != nil {
			d.t.Fatal(err)
		}
		// Before its last Decision a deletion has as little stored for a moment.
		if got = d.stored(id, calls...); last != nil && last.State.Phase == events.PhaseDeleted && last.State.Deleted != nil && maps.Equal(got, want) {
			return
		}
		if time.Now().After(end) {
			d.t.Fatalf("conversation %s has the messages %v, want %v; its last Decision is %+v", id, got, want, last)
		}
		select {
		case <-d.t.Context().Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// finished runs a turn in a new conversation.
func (d *deployment) finished(question string) (id string) {
	d.t.Helper()
	id = newID(d.t)
	if _, end := d.turn(id, question); end.Outcome != events.OutcomeCompleted {
		d.t.Fatalf("%+v", end)
	}
	return id
}

func TestADeletedConversationLeavesItsTombstoneOnly(t *testing.T) {
	d := start(t, scriptFile(t, threeSteps), builtins(t))
	other := d.finished("hello")
	id := d.finished(strings.Repeat("a large text ", 200_000))
	had := d.stored(id)
	if had["OBJ_"+topology.BucketObjects] == 0 || had[topology.StreamHistory] == 0 {
		t.Fatalf("the conversation has %v", had)
	}
	before := d.stored(other)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	follower := d.follow(ctx, id)
	defer follower.stop()
	del := &events.Delete{From: "ann"}
	if err := follower.send(ctx, del); err != nil {
		t.Fatal(err)
	}
	answered(t, follower.answers[del.ID], events.AnswerAccepted)
	receipt := follower.state.Deleted
	if receipt == nil || receipt.Messages == 0 || receipt.History == 0 || receipt.Objects == 0 || receipt.AtMS == 0 {
		t.Errorf("the receipt is %+v", receipt)
	}
	d.deleted(id)

	// Later inputs are answered, change nothing, and are purged.
	late := &events.UserMessage{Text: "anybody?"}
	again := &events.Delete{}
	for _, in := range []events.Event{late, again} {
		if err := follower.send(ctx, in); err != nil {
			t.Fatal(err)
		}
		answered(t, follower.answers[identify(d, in)], events.AnswerDeleted)
		d.deleted(id)
	}
	call := newID(t)
	if err := d.Lane(topology.OfCall(1, id, events.ChannelOut, call)).Show(&events.ToolOutput{Call: call, Text: "late"}); err != nil {
		t.Fatal(err)
	}
	if err := d.resultFrom(ctx, id, call, "late"); err != nil {
		t.Fatal(err)
	}
	d.deleted(id, call)

	page, _, err := d.Deployment().Conversations(ctx, 0, 0)
	if err != nil || len(page) != 1 || page[0].ID != other {
		t.Errorf("listed: %+v, %v", page, err)
	}
	if got := d.stored(other); !maps.Equal(got, before) {
		t.Errorf("the other conversation has %v, had %v", got, before)
	}
	if _, end := d.turn(other, "and you?"); end.Outcome != events.OutcomeCompleted {
		t.Errorf("%+v", end)
	}
}

// TestADeletionReachesWhatWasPublishedToAnotherShard: an input that its publisher
// sent to the wrong shard was delivered; the original remains in that shard's log.
func TestADeletionReachesWhatWasPublishedToAnotherShard(t *testing.T) {
	d := sharded(t, 4)
	d.run(d.models("models", scriptFile(t, "model: demo\npace: 0\nrules:\n  - {name: one, match: ., steps: [{text: Hello.}]}\n")))
	d.run(d.orchestrator("orchestrator"))
	id := newID(t)
	wrong := (topology.ShardOf(id, 4) + 1) % 4
	st := &stranger{d, id}
	publish := func(input string) {
		st.publish(fmt.Sprintf("conv.%d.%s.in", wrong, id), fmt.Sprintf(`{"type":"UserMessage","id":%q,"text":"hello"}`, input))
	}
	publish(newID(t))
	d.endOf(id)
	if had := d.stored(id); had[topology.ConvStream(wrong)] != 1 {
		t.Fatalf("the conversation has %v", had)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	follower := d.follow(ctx, id)
	defer follower.stop()
	del := &events.Delete{}
	if err := follower.send(ctx, del); err != nil {
		t.Fatal(err)
	}
	answered(t, follower.answers[del.ID], events.AnswerAccepted)
	d.deleted(id)
	late := newID(t)
	publish(late)
	if err := follower.until("the answer", func(events.Event) bool { return follower.answers[late] != nil }); err != nil {
		t.Fatal(err)
	}
	answered(t, follower.answers[late], events.AnswerDeleted)
	d.deleted(id)
}

func TestAConversationIsDeletedInTheMiddleOfATurn(t *testing.T) {
	for name, policy := range map[string]*events.Policy{"running": nil, "waiting": approveEverything()} {
		t.Run(name, func(t *testing.T) {
			s := setStage(t, callsScript("hold", `{"as":"run"}`))
			s.begin(&events.Settings{Policy: policy})
			s.sendNew(s.conversation, func(id string) events.Event { return &events.UserMessage{ID: id, Text: "go"} })
			s.reach("a call", func() bool {
				return len(s.state.Calls) > 0 && (policy != nil && s.state.Phase == events.PhasePaused || policy == nil && s.state.Started[s.state.Calls[0].Call])
			})
			call := s.state.Calls[0].Call
			queued := s.sendNew(s.conversation, func(id string) events.Event { return &events.UserMessage{ID: id, Text: "next"} })
			answered(t, s.send(&events.Delete{Reason: "asked to"}), events.AnswerAccepted)
			s.hold.wait(t)
			s.deleted(s.conversation, call)
			var seen string
			for _, m := range s.seen {
				seen += string(m.Data) + "\n"
			}
			for _, want := range []string{`"ToolCallRefused"`, `"reason":"asked to"`, `"dropped":["` + queued} {
				if !strings.Contains(seen, want) {
					t.Errorf("the viewer did not see %s in\n%s", want, seen)
				}
			}
		})
	}
}

// An orchestrator's permissions are sufficient for a deletion.
func TestAnOrchestratorMayDelete(t *testing.T) {
	_, as := governed(t)
	app, owner, model, tools := as(topology.App), as(topology.Orchestrator), as(topology.LLMWorker), as(topology.ToolWorker)
	model.run(model.models("models", scriptFile(t, threeSteps)))
	tools.run(tools.tools("tools", builtins(t)))
	owner.run(owner.orchestrator("owner"))
	id := app.finished(strings.Repeat("a large text ", 100_000))
	app.sendNew(id, func(input string) events.Event { return &events.Delete{ID: input} })
	as(topology.Admin).deleted(id)
}

// TestADeletionIsFinishedByTheNextOwner stops the deletion at each step, for which
// the first owner has no permission. Other conversations are still answered.
func TestADeletionIsFinishedByTheNextOwner(t *testing.T) {
	for _, stream := range []string{topology.StreamJobs, topology.StreamTimers, "OBJ_" + topology.BucketObjects, topology.ConvStream(0), topology.StreamHistory} {
		t.Run(stream, func(t *testing.T) {
			_, as := governedBut(t, "$JS.API.STREAM.PURGE."+stream)
			app, model, tools := as(topology.App), as(topology.LLMWorker), as(topology.ToolWorker)
			model.run(model.models("models", scriptFile(t, threeSteps)))
			tools.run(tools.tools("tools", builtins(t)))
			first := as(topology.Orchestrator)
			stop := first.owner("first")
			id := app.finished(strings.Repeat("a large text ", 100_000))
			ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
			defer cancel()
			follower := app.follow(ctx, id)
			defer follower.stop()
			del := &events.Delete{}
			if err := follower.publish(ctx, del); err != nil {
				t.Fatal(err)
			}
			if err := follower.until("the deletion", func(events.Event) bool { return follower.state.Phase == events.PhaseDeleting }); err != nil {
				t.Fatal(err)
			}
			app.finished("hello")
			stop()
			next := as(topology.Admin)
			next.run(next.orchestrator("next"))
			if err := follower.until("the answer", func(events.Event) bool { return follower.answers[del.ID] != nil }); err != nil {
				t.Fatal(err)
			}
			next.deleted(id)
		})
	}
}

// TestADeletionSurvivesOwnersThatDieAtAnyMoment stops the owner at a random
// moment of each deletion.
func TestADeletionSurvivesOwnersThatDieAtAnyMoment(t *testing.T) {
	d := serve(t)
	d.run(d.tools("tools", builtins(t)))
	d.run(d.models("models", scriptFile(t, threeSteps)))
	stop := d.run(d.orchestrator("first"))
	ids := make([]string, 20)
	for i := range ids {
		ids[i] = d.finished("hello")
	}
	for i, id := range ids {
		d.sendNew(id, func(input string) events.Event { return &events.Delete{ID: input} })
		select {
		case <-t.Context().Done():
		case <-time.After(rand.N(12 * time.Millisecond)):
		}
		stop()
		stop = d.run(d.orchestrator(fmt.Sprintf("next-%d", i)))
	}
	for _, id := range ids {
		d.deleted(id)
	}
}

// governedBut is governed with an orchestrator that may not publish to one
// subject.
func governedBut(t *testing.T, denied string) (_ brokertest.Accounts, as func(topology.Role) *deployment) {
	t.Helper()
	return governed(t, func(opts *server.Options) {
		for _, u := range opts.Users {
			if u.Username == string(topology.Orchestrator) {
				u.Permissions.Publish.Allow = slices.DeleteFunc(u.Permissions.Publish.Allow, func(s string) bool { return s == denied })
			}
		}
	})
}

// identify returns an input's id, after setting a missing one.
func identify(d *deployment, e events.Event) string {
	id := new(string)
	switch e := e.(type) {
	case *events.Settings:
		id = &e.ID
	case *events.UserMessage:
		id = &e.ID
	case *events.Verdict:
		id = &e.ID
	case *events.Cancel:
		id = &e.ID
	case *events.Delete:
		id = &e.ID
	}
	if *id == "" {
		*id = newID(d.t)
	}
	return *id
}
