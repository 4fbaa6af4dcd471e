package parley_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/parleybus/parley"
)

// waited sends a message and returns its turn and what it waits for.
func waited(t *testing.T, c *parley.Conversation) (*parley.Turn, parley.Waiting) {
	t.Helper()
	turn, err := c.Send(t.Context(), "pay Ada")
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range turn.Events(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := e.Body.(*parley.Paused); !ok {
			continue
		}
		all, err := c.Waiting(t.Context())
		if err != nil || len(all) != 1 {
			t.Fatalf("waiting: %+v, %v", all, err)
		}
		return turn, all[0]
	}
	t.Fatal("nothing waits")
	return nil, parley.Waiting{}
}

func TestATranscriptSaysWhatPeopleDidToCalls(t *testing.T) {
	p := start(t, pays, transfer(make(chan string, 2)))
	for name, c := range map[string]struct {
		decide func(context.Context, parley.Waiting) error
		want   parley.Intervention
	}{
		"edited": {func(ctx context.Context, w parley.Waiting) error {
			return w.Edit(ctx, json.RawMessage(`{"to":"Bob"}`), parley.By("eve"))
		}, parley.Intervention{By: "eve", Proposed: `{"to":"Ada"}`}},
		"answered": {func(ctx context.Context, w parley.Waiting) error {
			return w.Answer(ctx, "paid in cash", parley.By("eve"))
		}, parley.Intervention{By: "eve", Answered: true}},
		"approved": {func(ctx context.Context, w parley.Waiting) error { return w.Approve(ctx) }, parley.Intervention{}},
	} {
		t.Run(name, func(t *testing.T) {
			conv := p.Conversation(parley.NewID())
			turn, waiting := waited(t, conv)
			v, err := conv.View(t.Context())
			if err != nil || len(v.Transcript()) != len(v.Messages)-1 {
				t.Errorf("%d of %d messages are in the transcript, %v", len(v.Transcript()), len(v.Messages), err)
			}
			if err := c.decide(t.Context(), waiting); err != nil {
				t.Fatal(err)
			}
			if _, err := turn.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if v, err = conv.View(t.Context()); err != nil {
				t.Fatal(err)
			}
			all, err := conv.Interventions(t.Context(), &v)
			if err != nil || all[waiting.Call] != c.want || len(v.Transcript()) != len(v.Messages) {
				t.Errorf("a person did %+v, want %+v (%v)", all[waiting.Call], c.want, err)
			}
		})
	}
}

func TestAResultThatIsGoneIsNotFetched(t *testing.T) {
	p := start(t, echo)
	messages := []parley.Message{{Parts: []parley.Part{{Text: "as it is"}, {Text: "the beginning", Object: &parley.Object{Bucket: "PARLEY_OBJECTS", Name: "gone"}}}}}
	if err := p.FetchResults(t.Context(), messages); parley.CodeOf(err) != parley.CodeNotFound || messages[0].Parts[0].Text != "as it is" {
		t.Errorf("got %v and %+v", err, messages)
	}
}
