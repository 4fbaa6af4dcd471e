package bus

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

func TestWhatBecameOfAMark(t *testing.T) {
	made := time.Now()
	m := mark{seq: 7, at: made.Add(time.Second), made: made}
	log := func(last uint64, created time.Time) *jetstream.StreamInfo {
		return &jetstream.StreamInfo{Created: created, State: jetstream.StreamState{LastSeq: last}}
	}
	for name, c := range map[string]struct {
		r    *raw
		info *jetstream.StreamInfo
		want fate
	}{
		"the log has it":                                 {&raw{at: m.at}, nil, kept},
		"another message is in its place":                {&raw{at: m.at.Add(1)}, log(9, made), replaced},
		"the log ends before it":                         {nil, log(5, made), replaced},
		"it has expired or was deleted":                  {nil, log(9, made), unknown},
		"the stream was made anew and ends before it":    {nil, log(5, made.Add(1)), unknown},
		"the stream was made anew and has another there": {&raw{at: m.at.Add(1)}, log(9, made.Add(1)), unknown},
	} {
		if got := m.fate(c.r, c.info); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// TestALogThatGrowsWhileItIsComparedIsNoLogThatHasExpired: a log that was replaced by an
// older copy ends before the mark when it is asked for that message, and behind it when it
// is asked for its end.
func TestALogThatGrowsWhileItIsComparedIsNoLogThatHasExpired(t *testing.T) {
	t.Parallel()
	b := deployment(t)
	conversation := uuid.Must(uuid.NewV7()).String()
	shard := topology.ShardOf(conversation, b.Shards())
	lane := b.Lane(topology.At(b.Shards(), conversation, events.ChannelGen)).Open(t.Context(), 0)
	info, err := b.infoOf(t.Context(), topology.ConvStream(shard))
	if err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if lane.Append(text(n)) != nil {
				return
			}
			if _, err := lane.Flush(); err != nil {
				return
			}
		}
	}()
	// Of a log that grows, each sequence soon is one that was not there when it was asked
	// for and is there when the end is.
	for range 300 {
		end, err := b.endOf(t.Context(), topology.ConvStream(shard))
		if err != nil {
			t.Fatal(err)
		}
		became, err := b.fateOf(t.Context(), shard, mark{seq: end + 3, at: info.Created, made: info.Created})
		if err != nil || became != replaced {
			t.Fatalf("a mark at %d of another log: %d, %v", end+3, became, err)
		}
	}
	close(stop)
	<-done
	if _, err := lane.Close(); err != nil {
		t.Error(err)
	}
}
