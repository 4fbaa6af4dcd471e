package terminal

import (
	"bytes"
	"math"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/events"
)

func TestASummaryUsesTheTimesOfTheLog(t *testing.T) {
	var out bytes.Buffer
	r := New(&out, Profile{}, Options{})
	if s := r.Summary(); s != (Summary{}) || s.Line("", Profile{}) != "" {
		t.Errorf("without events the summary is %+v", s)
	}
	for _, e := range readArchive(t, "testdata/stream/one-call.txtar").entries(t) {
		if err := r.Show(e); err != nil {
			t.Fatal(err)
		}
	}
	s := r.Summary()
	if s.Usage == nil || s.Usage.Total() != 224 {
		t.Errorf("usage %+v", s.Usage)
	}
	s.Usage, s.Rate = nil, math.Round(s.Rate)
	want := Summary{
		Turn: "t1", Outcome: events.OutcomeCompleted, Reason: "answered", Steps: 2, Calls: 1,
		FirstToken: 149 * time.Millisecond, Duration: time.Second,
		// 22 and 12 tokens in 200 and 400 ms.
		Rate: 57,
	}
	if s != want {
		t.Errorf("got %+v, want %+v", s, want)
	}
}

func TestANewTurnStartsANewSummary(t *testing.T) {
	r := New(&bytes.Buffer{}, Profile{}, Options{})
	for i, e := range []events.Event{
		&events.TurnStarted{Turn: "t1"}, &events.TurnEnded{Turn: "t1", Outcome: events.OutcomeFailed, Steps: 3},
		&events.TurnStarted{Turn: "t2"},
	} {
		if err := r.Show(Entry{Time: time.Unix(int64(i), 0), Line: events.Line{Event: e}}); err != nil {
			t.Fatal(err)
		}
	}
	if s := r.Summary(); s != (Summary{Turn: "t2"}) {
		t.Errorf("got %+v", s)
	}
}
