package bus_test

import (
	"context"
	"errors"
	"net"
	"strconv"
	"testing"

	"github.com/parleybus/parley/internal/broker/brokertest"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// TestAnOwnerNoticesThatItsLogWasReplacedBehindWhatItHasRead: its connection is slow, so
// that all that it has read is in the older copy too. HISTORY knows of more.
func TestAnOwnerNoticesThatItsLogWasReplacedBehindWhatItHasRead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lost, grown int
		want        error
	}{
		"the log ends before what was lost":    {lost: 6, want: bus.ErrOtherLog},
		"the log has grown past what was lost": {lost: 6, grown: 9, want: bus.ErrOtherLog},
		"nothing was lost":                     {grown: 9},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, number, err := net.SplitHostPort(brokertest.Addresses(t, 1)[0])
			if err != nil {
				t.Fatal(err)
			}
			port, err := strconv.Atoi(number)
			if err != nil {
				t.Fatal(err)
			}
			l := newLogsOn(t, port)
			kept := l.send(5)
			l.save()
			owner := l.slowOwner(kept)
			again := owner.Reconnected()
			l.send(c.lost)
			l.replace()
			l.send(c.grown)
			<-again
			frame, err := events.AppendFrame(nil, &events.Decision{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = owner.Lane(topology.At(1, id(), events.ChannelTurn)).Append(t.Context(), 0, frame)
			if !errors.Is(err, c.want) {
				t.Errorf("a Decision: %v, want %v", err, c.want)
			}
		})
	}
}

// slowOwner follows the log as an owner does that has not come further than a message.
func (l *logs) slowOwner(read uint64) *bus.Bus {
	l.Helper()
	owner, err := bus.Connect(l.Context(), bus.Config{URL: l.server.URL()}, nil)
	if err != nil {
		l.Fatal(err)
	}
	ctx, cancel := context.WithCancel(l.Context())
	came, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		_ = owner.Shard(0).Follow(ctx, read-1, func(m bus.Message) error { // ends with ctx
			close(came)
			<-ctx.Done()
			return ctx.Err()
		}, func() error { return nil })
	}()
	l.Cleanup(func() { cancel(); <-ended; owner.Close() })
	select {
	case <-came:
	case <-ended:
		l.Fatal("the log cannot be followed")
	}
	return owner
}
