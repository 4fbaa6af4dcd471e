package bus_test

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/offer"
	"github.com/parleybus/parley/internal/topology"
)

func toolOffer(worker, schema string, effect events.Effect) bus.Offer {
	return bus.Offer{Kind: "tool", Name: "clock", Worker: worker, Tool: &events.ToolSpec{Name: "clock", Schema: json.RawMessage(schema), Effect: effect}}
}

func TestToolsOfOneNameMustBeOneTool(t *testing.T) {
	b := inProcess(t)
	first := b.Presence().NewAnnouncement()
	if announced, err := first.Set(t.Context(), []bus.Offer{toolOffer("one", `{"type":"object"}`, "pure")}); err != nil || len(announced) != 1 {
		t.Fatal(announced, err)
	}
	second := b.Presence().NewAnnouncement()
	for name, other := range map[string]bus.Offer{"another schema": toolOffer("two", `{"type":"object","required":["x"]}`, "pure"), "another effect": toolOffer("two", `{"type":"object"}`, "once")} {
		t.Run(name+" is refused, and both are named", func(t *testing.T) {
			announced, err := second.Set(t.Context(), []bus.Offer{other, {Kind: "tool", Name: "mine", Worker: "two", Tool: &events.ToolSpec{Name: "mine"}}})
			taken, ok := errors.AsType[*bus.TakenError](err)
			if !ok || taken.Worker != "two" || taken.Other != "one" || !strings.Contains(err.Error(), "one") || !strings.Contains(err.Error(), "two") {
				t.Errorf("%v", err)
			}
			if len(announced) != 1 || announced[0].Name != "mine" {
				t.Errorf("announced: %+v", announced)
			}
		})
	}
	if announced, err := b.Presence().NewAnnouncement().Set(t.Context(), []bus.Offer{toolOffer("three", `{ "type": "object" }`, "pure")}); err != nil || len(announced) != 1 {
		t.Errorf("the same tool is refused: %v", err)
	}
	if offers, err := b.Presence().Offers(t.Context()); err != nil || len(offers) != 3 {
		t.Errorf("%+v %v", offers, err)
	}
	first.Leave(t.Context())
	b.Presence().NewAnnouncement().Leave(t.Context())
	third := b.Presence().NewAnnouncement()
	if _, err := third.Set(t.Context(), []bus.Offer{toolOffer("three", `{"type":"object"}`, "pure")}); err != nil {
		t.Fatal(err)
	}
	third.Leave(t.Context())
	if announced, err := second.Set(t.Context(), []bus.Offer{toolOffer("two", `{"type":"object","required":["x"]}`, "pure")}); err != nil || len(announced) != 1 {
		t.Errorf("the name is free and refused still: %+v %v", announced, err)
	}
}

func TestAToolThatIsTooLongIsNotServedAndTheOthersAre(t *testing.T) {
	b := inProcess(t)
	long := toolOffer("w", `{"type":"object"}`, "pure")
	long.Tool.Description = strings.Repeat("x", offer.MaxBytes)
	announced, err := b.Presence().NewAnnouncement().Set(t.Context(), append(named("w", "saw"), long))
	if len(announced) != 1 || announced[0].Name != "saw" || !errors.Is(err, offer.ErrTooLong) || !bus.Unserved(err) {
		t.Errorf("%+v, %v", announced, err)
	}
}

func TestAWorkerThatIsRejectedSaysSo(t *testing.T) {
	b := inProcess(t)
	roster := filled(t, b)
	if _, err := b.Presence().KeepTool(t.Context(), offer.Known{Tool: *toolOffer("one", "", "once").Tool}, 0); err != nil {
		t.Fatal(err)
	}
	p := b.Presence().NewAnnouncement()
	for range 2 {
		announced, err := p.Set(t.Context(), []bus.Offer{toolOffer("two", "", "pure")})
		taken, is := errors.AsType[*bus.TakenError](err)
		if !is || taken.Effect != "pure" || taken.Counts != "once" || taken.Other != "" || len(announced) != 0 {
			t.Fatalf("%+v, %v", announced, err)
		}
	}
	offers, conflicts, err := b.Presence().OffersAndConflicts(t.Context())
	if err != nil || len(offers) != 0 || len(conflicts) != 1 || conflicts[0].Worker != "two" {
		t.Errorf("%+v, %+v, %v", offers, conflicts, err)
	}
	eventually(t, func() bool { return len(roster.Snapshot().Announced) == 1 }, "the roster does not show what was rejected")
	if n := len(roster.Offers("")); n != 0 {
		t.Errorf("%d offers", n)
	}
	if was, err := b.Presence().ForgetTool(t.Context(), "clock"); err != nil || was == nil {
		t.Fatal(was, err)
	}
	if announced, err := p.Set(t.Context(), []bus.Offer{toolOffer("two", "", "pure")}); err != nil || len(announced) != 1 {
		t.Errorf("%+v, %v", announced, err)
	}
	if _, err := b.Presence().KeepTool(t.Context(), offer.Known{Tool: *toolOffer("one", "", "once").Tool}, 0); err != nil {
		t.Fatal(err)
	}
	other := b.Presence().NewAnnouncement()
	if _, err := other.Set(t.Context(), []bus.Offer{toolOffer("three", "", "pure")}); err == nil {
		t.Error("a second milder worker is accepted")
	}
	for _, leave := range []func(){func() { p.Leave(t.Context()) }, func() { other.Leave(t.Context()) }} {
		leave()
	}
	if offers, conflicts, err := b.Presence().OffersAndConflicts(t.Context()); err != nil || len(offers)+len(conflicts) != 0 {
		t.Errorf("after all have left: %+v, %+v, %v", offers, conflicts, err)
	}
}

func TestOfTwoToolsThatComeAtOnceOneGivesWay(t *testing.T) {
	b := inProcess(t)
	for range 20 {
		one, two := b.Presence().NewAnnouncement(), b.Presence().NewAnnouncement()
		var counts [2]int
		var both sync.WaitGroup
		for i, p := range []*bus.Announcement{one, two} {
			both.Go(func() {
				announced, err := p.Set(t.Context(), []bus.Offer{toolOffer([]string{"one", "two"}[i], []string{`{}`, `{"type":"object"}`}[i], "pure")})
				if _, taken := errors.AsType[*bus.TakenError](err); err != nil && !taken {
					t.Error(err)
				}
				counts[i] = len(announced)
			})
		}
		both.Wait()
		if counts[0]+counts[1] != 1 {
			t.Fatalf("%v of the two are announced", counts)
		}
		one.Leave(t.Context())
		two.Leave(t.Context())
	}
}

func TestQueuesReportTheirLag(t *testing.T) {
	b := inProcess(t)
	queue, err := topology.ToolQueue("clock")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Jobs().EnsureQueue(t.Context(), queue); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		call := id()
		subject, err := topology.ToolJob("clock", call)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Jobs().Publish(t.Context(), id(), subject, call, &events.ToolJob{Call: call, Tool: "clock", Arguments: json.RawMessage("{}")}); err != nil {
			t.Fatal(err)
		}
	}
	var got []bus.QueueInfo
	t.Cleanup(func() { t.Logf("the queues are %+v", got) })
	eventually(t, func() bool { // the server counts a moment after it has stored
		var err error
		if got, err = b.Jobs().Queues(t.Context()); err != nil {
			t.Fatal(err)
		}
		return len(got) == 1 && got[0] == bus.QueueInfo{Kind: "tool", Name: "clock", Lag: 3}
	}, "the queue does not have a lag of 3")
}

func TestAPieceOfAnObject(t *testing.T) {
	b := inProcess(t)
	text := strings.Repeat("añb", 1000)
	o, err := b.Objects().Put(t.Context(), id(), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for offset := int64(0); offset < int64(len(text)); {
		piece, size, err := b.Objects().Piece(t.Context(), o.Name, offset, 770)
		if err != nil || size != int64(len(text)) || len(piece) == 0 || strings.ToValidUTF8(string(piece), "?") != string(piece) {
			t.Fatalf("%q %d %v", piece, size, err)
		}
		all.Write(piece)
		offset += int64(len(piece))
	}
	if all.String() != text {
		t.Error("the pieces do not make the whole")
	}
	if _, _, err := b.Objects().Piece(t.Context(), o.Name, int64(len(text))+1, 10); err == nil {
		t.Error("a piece beyond the end is given")
	}
	if _, _, err := b.Objects().Piece(t.Context(), id()+"/nothing", 0, 10); err == nil || !strings.Contains(err.Error(), "no object") {
		t.Errorf("an object that is not there: %v", err)
	}
}

// TestTheDefaultModelIsAnnouncedFirstAndWithdrawnLast: who sees some of the offers must
// not take another model for the default.
func TestTheDefaultModelIsAnnouncedFirstAndWithdrawnLast(t *testing.T) {
	b := inProcess(t)
	// Not a watch: the bucket keeps one record for each key, so that a watch which
	// comes late never sees the first.
	nc, _ := b.Raw()
	written, err := nc.SubscribeSync("$KV." + topology.BucketPresence + ".>")
	if err != nil {
		t.Fatal(err)
	}
	for range 5 { // the order of a map is right now and then
		var offers []bus.Offer
		for _, name := range []string{"a", "b", "m", "y", "z"} {
			offers = append(offers, bus.Offer{Kind: "llm", Name: name, Worker: "w", Model: name + "/1", Default: name == "m"})
		}
		a := b.Presence().NewAnnouncement()
		if _, err := a.Set(t.Context(), offers); err != nil {
			t.Fatal(err)
		}
		a.Leave(t.Context())
		var keys []string
		for range 2 * len(offers) {
			m, err := written.NextMsgWithContext(within(t, 10*time.Second))
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, topology.EntryKey(topology.BucketPresence, m.Subject))
		}
		if first, last := keys[0], keys[len(keys)-1]; first != offers[2].Key() || last != first {
			t.Errorf("%q", keys)
		}
	}
}
