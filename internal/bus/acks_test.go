package bus

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

func genLane(b *Bus) (Lane, topology.Address) {
	a := topology.At(b.Shards(), uuid.Must(uuid.NewV7()).String(), events.ChannelGen)
	return b.Lane(a), a
}

func text(n int) events.Event { return &events.TextChunk{Origin: events.Origin{Index: n}, Text: "x"} }

// TestAFrameWithoutItsAcknowledgementIsSettled: the frame is stored, and its
// acknowledgement goes elsewhere.
func TestAFrameWithoutItsAcknowledgementIsSettled(t *testing.T) {
	t.Parallel()
	for name, missed := range map[string]func(b *Bus, l *LaneWriter){
		"found by the sweep": func(b *Bus, l *LaneWriter) {
			b.acks.sweep()
			if l.mu.Lock(); !l.waits {
				t.Error("a frame is given up before its time")
			}
			l.mu.Unlock()
			b.acks.sweep()
			b.acks.sweep()
		},
		"found when the connection is lost": func(b *Bus, _ *LaneWriter) { b.acks.lost() },
		"found when the publish is refused": func(b *Bus, l *LaneWriter) { b.acks.denied(l.msg.Subject) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := deployment(t)
			lane, _ := genLane(b)
			w := lane.Open(t.Context(), 0)
			w.msg.Reply = b.nc.NewInbox()
			if err := w.Append(text(0)); err != nil {
				t.Fatal(err)
			}
			missed(b, w)
			at, err := w.Flush()
			if err != nil || at == 0 {
				t.Fatalf("at %d, %v", at, err)
			}
			if err := w.Append(text(1)); err != nil {
				t.Fatal(err)
			}
			missed(b, w)
			end, err := w.Close()
			if err != nil || end <= at || w.Frames() != 2 {
				t.Errorf("ends at %d after %d, %d frames, %v", end, at, w.Frames(), err)
			}
			if last, err := lane.Last(t.Context()); err != nil || last.Sequence != end {
				t.Errorf("the lane ends at %d: %v", last.Sequence, err)
			}
		})
	}
}

// TestWhatOnlyLooksLikeAnAcknowledgementStoresNothing: of an earlier frame, or of a
// frame that nobody waits for.
func TestWhatOnlyLooksLikeAnAcknowledgementStoresNothing(t *testing.T) {
	t.Parallel()
	b := deployment(t)
	lane, _ := genLane(b)
	w := lane.Open(t.Context(), 0)
	w.acknowledged(7)
	if w.seq != 0 || w.frames != 0 {
		t.Errorf("at %d after an acknowledgement of nothing", w.seq)
	}
	if err := w.Append(text(0)); err != nil {
		t.Fatal(err)
	}
	at, err := w.Flush()
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.waits, w.busy = true, true // a frame is out
	w.mu.Unlock()
	w.acknowledged(at)
	if w.mu.Lock(); !w.waits || w.seq != at {
		t.Error("the acknowledgement of the frame before counts for this one")
	}
	w.waits, w.busy = false, false
	w.mu.Unlock()
	if _, err := w.Close(); err != nil {
		t.Error(err)
	}
}

func TestAnAnswerIsAnAcknowledgementOfItsStreamOnly(t *testing.T) {
	for answer, want := range map[string]uint64{
		`{"stream":"CONV_0","seq":12}`:                                      12,
		`{"stream":"CONV_0","seq":12,"domain":"x","duplicate":true}`:        12,
		`{"stream":"CONV_1","seq":12}`:                                      0,
		`{"stream":"CONV_0","seq":0}`:                                       0,
		`{"error":{"code":400,"err_code":10071},"stream":"CONV_0","seq":9}`: 0,
		`{"stream":"CONV_0","seq":-1}`:                                      0,
		`{"stream":"CONV_0"`:                                                0,
		`null`:                                                              0,
		``:                                                                  0,
	} {
		if got := ackedAs("CONV_0", []byte(answer)); got != want {
			t.Errorf("%s: %d, want %d", answer, got, want)
		}
	}
}

// TestALaneThatEndsLeavesNothingToSweep: what is registered for it is gone, also of one
// whose context ends and that nobody closes.
func TestALaneThatEndsLeavesNothingToSweep(t *testing.T) {
	t.Parallel()
	b := deployment(t)
	why := errors.New("the worker stops")
	ctx, stop := context.WithCancelCause(t.Context())
	var lanes []*LaneWriter
	for range 3 {
		lane, _ := genLane(b)
		lanes = append(lanes, lane.Open(ctx, 0))
	}
	if _, err := lanes[0].Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(b.acks.all()); n != 2 {
		t.Errorf("%d lanes are swept, want 2", n)
	}
	stop(why)
	waiting, done := context.WithTimeout(t.Context(), 10*time.Second)
	defer done()
	for len(b.acks.all()) > 0 {
		if !Pause(waiting, time.Millisecond) {
			t.Fatal("a lane stays")
		}
	}
	if err := lanes[1].Append(text(0)); !errors.Is(err, why) {
		t.Errorf("append: %v", err)
	}
}
