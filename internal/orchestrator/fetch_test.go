package orchestrator

import (
	"fmt"
	"testing"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/ceilings"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
	"golang.org/x/time/rate"
)

// TestInputsThatReferToOneObjectFetchItOnce: 300 bytes each must not cost megabytes each.
func TestInputsThatReferToOneObjectFetchItOnce(t *testing.T) {
	b, _ := known(t)
	put := func(n int) events.Object {
		t.Helper()
		o, err := b.Objects().Put(t.Context(), fmt.Sprintf("00000000-0000-7000-8000-%012d", n), fmt.Appendf(nil, `{"type":"UserMessage","text":"number %d"}`, n))
		if err != nil {
			t.Fatal(err)
		}
		return *o
	}
	one, other := put(1), put(2)
	s := newShard(&Orchestrator{Bus: b, Ceilings: ceilings.Defaults(), large: rate.NewLimiter(rate.Inf, 1)}, 0, nil)
	c := &conversation{id: "c"}
	fetch := func(o events.Object) string {
		t.Helper()
		m := bus.Message{Address: topology.Address{Channel: events.ChannelIn}, Lines: []events.Line{{Event: &events.Claim{Of: "UserMessage", Object: o}}}}
		if err := s.fetch(t.Context(), c, &m, m.Claim()); err != nil {
			t.Fatal(err)
		}
		if m.Bad != nil {
			return m.Bad.Error()
		}
		return m.Lines[0].Event.(*events.UserMessage).Text
	}
	if text := fetch(one); text != "number 1" {
		t.Fatal(text)
	}
	_, js := b.Raw()
	store, err := js.Stream(t.Context(), topology.ObjectStream)
	if err == nil {
		err = store.Purge(t.Context()) // a second fetch finds nothing
	}
	if err != nil {
		t.Fatal(err)
	}
	if text := fetch(one); text != "number 1" {
		t.Errorf("it was fetched again: %s", text)
	}
	if text := fetch(other); text == "number 1" || text == "number 2" {
		t.Errorf("another object was not fetched: %s", text)
	}
}
