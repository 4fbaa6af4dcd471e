package bus

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// A reader that gets nothing while the leader has more, as one does whose replica
// lags, is given up after two heartbeats; one that has read all is kept.
func TestAReaderThatLagsIsReplacedAfterTwoHeartbeats(t *testing.T) {
	t.Parallel()
	b := deployment(t)
	const heartbeat = 500 * time.Millisecond
	nothing := func(raw) error { return errors.New("a message that is not there") }
	p, err := b.newPuller(t.Context(), topology.ConvStream(0), topology.Probe(0), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	p.filter = ">" // what it should get; its consumer holds none of it
	if err := p.batch(t.Context(), pull{most: 1, expires: 4 * heartbeat, heartbeat: heartbeat}, nothing); err != nil {
		t.Errorf("a reader of an empty log is given up: %v", err)
	}
	input := uuid.Must(uuid.NewV7()).String()
	if _, err := b.Conversation(input).Publish(t.Context(), input, &events.UserMessage{ID: input, Text: "hello"}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	err = p.batch(t.Context(), pull{most: 1, expires: time.Minute, heartbeat: heartbeat}, nothing)
	if took := time.Since(began); !errors.Is(err, ErrShortRead) || took > 10*time.Second {
		t.Errorf("after %s: %v, want %v", took, err, ErrShortRead)
	}
}

// A reader has the server send the next messages while it is at work on those before.
func TestTheNextMessagesAreAskedForAhead(t *testing.T) {
	t.Parallel()
	b := deployment(t)
	id := uuid.Must(uuid.NewV7()).String()
	a := topology.At(b.Shards(), id, events.ChannelGen)
	const all = 2*pullBatch + 7
	stream(t, b, a, all)
	p, err := b.newPuller(t.Context(), topology.ConvStream(a.Shard), a.Subject(topology.Conv), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	var asked []int
	read, sum := 0, 0
	for _, want := range []int{pullBatch, pullBatch, 7} {
		err := p.batch(t.Context(), pull{most: int(min(p.pending, pullBatch)), expires: appendTimeout, ahead: true}, func(r raw) error {
			if read++; read%pullBatch == pullBatch/2 || read == all {
				asked = append(asked, p.asked)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if sum += want; read != sum {
			t.Fatalf("%d messages, want %d", read, sum)
		}
	}
	if want := []int{pullBatch, 7, 0}; !slices.Equal(asked, want) {
		t.Errorf("asked for %v ahead, want %v", asked, want)
	}
	if p.pending != 0 || read != all {
		t.Errorf("%d of %d messages, %d more", read, all, p.pending)
	}
}
