package bus

import (
	"errors"
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
	const heartbeat = 200 * time.Millisecond
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
