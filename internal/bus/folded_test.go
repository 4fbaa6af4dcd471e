package bus_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

func TestAMessageIsFoldedWithEveryFieldThatTheFoldReads(t *testing.T) {
	m := bus.Message{Address: topology.Address{Conversation: "c", Channel: events.ChannelCall, Call: "x"},
		Sequence: 7, ID: "c/i", Lines: []events.Line{{}}, Bad: errors.New("no JSON")}
	f := m.Folded()
	for i, v := 0, reflect.ValueOf(f); i < v.NumField(); i++ {
		if v.Field(i).IsZero() {
			t.Errorf("%s is not set", v.Type().Field(i).Name)
		}
	}
	if f.Position != "7-1" || f.ID != "i" {
		t.Errorf("position %q, id %q", f.Position, f.ID)
	}
}

func TestEveryReaderGivesTheIDThatAnInputWasPublishedWith(t *testing.T) {
	b := inProcess(t)
	nc, _ := b.Raw()
	conversation, input := id(), id()
	f := followShard(t, b, 0)
	defer f.end(t)
	take(t, f.caught)
	attach := func(what string) {
		t.Helper()
		for m, err := range b.Conversation(conversation).Attach(within(t, 10*time.Second), bus.From{}) {
			if err != nil || m.Folded().ID != input {
				t.Errorf("%s: id %q, error %v", what, m.ID, err)
			}
			return
		}
	}
	attached := make(chan struct{})
	go func() {
		defer close(attached)
		attach("a viewer")
	}()
	msg := nats.NewMsg(topology.At(1, conversation, events.ChannelIn).Subject(topology.Conv))
	msg.Data = []byte(`{"type":"UserMessage","text":"hi"}`)
	msg.Header.Set(nats.MsgIdHdr, conversation+"/"+input)
	if _, err := nc.RequestMsg(msg, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	take(t, attached)
	attach("a viewer that comes later")
	if m := take(t, f.got); m.Folded().ID != input {
		t.Errorf("follow: id %q", m.ID)
	}
	facts := func(m bus.Message) error {
		if m.Folded().ID != input {
			t.Errorf("facts: id %q", m.ID)
		}
		return nil
	}
	if err := b.Conversation(conversation).Facts(t.Context(), 0, facts); err != nil {
		t.Error(err)
	}
	emptied(t, b, 1)
	if err := b.Conversation(conversation).Facts(t.Context(), 0, facts); err != nil {
		t.Error(err)
	}
}
