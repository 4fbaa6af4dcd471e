package bus

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Room is how many jobs may run at once of workforces that share it.
type Room chan struct{}

// NewRoom makes room for n jobs.
func NewRoom(n int) Room { return make(Room, n) }

// empty waits until there is a place in each room.
func empty(ctx context.Context, rooms []Room) error {
	for _, r := range rooms {
		select {
		case r <- struct{}{}:
			<-r
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// enter takes a place in each room for a job, which stays ours while it waits.
func (s *jobSubscriber) enter(ctx context.Context, msg jetstream.Msg, ackWait time.Duration) (leave func(), err error) {
	entered, rooms := 0, s.rooms
	leave = func() {
		for _, r := range rooms[:entered] {
			<-r
		}
	}
	beat := time.NewTicker(ackWait / 3)
	defer beat.Stop()
	again := s.bus.Reconnected()
	for entered < len(rooms) {
		select {
		case rooms[entered] <- struct{}{}:
			entered++
		case <-beat.C:
			s.progress(msg)
		case <-again:
			again = s.bus.Reconnected()
			s.progress(msg)
		case <-ctx.Done():
			leave()
			return nil, context.Cause(ctx)
		}
	}
	return leave, nil
}
