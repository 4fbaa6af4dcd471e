package jobs_test

import (
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"

	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/jobs"
)

// TestPubSub is Watermill's own suite for a Publisher and a Subscriber.
func TestPubSub(t *testing.T) {
	b := inProcess(t)
	features := tests.Features{
		// A work queue delivers each message to one subscriber: there are no consumer
		// groups, and later subscribers do not get earlier messages.
		ConsumerGroups:                   false,
		NewSubscriberReceivesOldMessages: false,
		// A worker that dies has its jobs delivered again.
		ExactlyOnceDelivery: false,
		// Several messages are out at once.
		GuaranteedOrder: false,
		Persistent:      true,
		// The suite's reconnect test reads a list of published messages while it still
		// appends to it, so it fails at random. TestReconnect is that test without the
		// race.
		RestartServiceCommand: nil,
		GenerateTopicFunc:     func(tctx tests.TestContext) string { return "tool_" + tctx.TestID.String() },
	}
	tests.TestPubSub(t, features, func(*testing.T) (message.Publisher, message.Subscriber) {
		return jobs.NewPublisher(b), jobs.NewSubscriber(b, jobs.SubscriberConfig{Slots: 16, Release: 100 * time.Millisecond})
	}, nil)
}

// TestReconnect restarts the server twice while messages are published and
// acknowledged: none is lost.
func TestReconnect(t *testing.T) {
	const messages, publishers = 6000, 50
	s := newRestartable(t)
	b := connect(t, bus.Config{URL: s.url})
	pub, sub := jobs.NewPublisher(b), jobs.NewSubscriber(b, jobs.SubscriberConfig{Slots: 16})
	given, err := sub.Subscribe(t.Context(), "tool_x")
	if err != nil {
		t.Fatal(err)
	}
	todo := make(chan string)
	var working sync.WaitGroup
	for range publishers {
		working.Go(func() {
			for id := range todo {
				for pub.Publish("tool_x", message.NewMessage(id, []byte("x"))) != nil {
					<-time.After(50 * time.Millisecond)
				}
			}
		})
	}
	missing := map[string]bool{}
	for range messages {
		missing[id()] = true
	}
	all := make([]string, 0, messages)
	for id := range missing {
		all = append(all, id)
	}
	working.Go(func() {
		defer close(todo)
		for i, id := range all {
			if i == messages/3 || i == messages/2 {
				working.Go(s.restart)
			}
			todo <- id
		}
	})
	for enough := time.After(time.Minute); len(missing) > 0; {
		select {
		case m := <-given:
			delete(missing, m.UUID)
			m.Ack()
		case <-enough:
			t.Fatalf("%d of %d messages were not delivered", len(missing), messages)
		}
	}
	working.Wait()
	if err := sub.Close(); err != nil {
		t.Error(err)
	}
}

// restartable is a server that comes back on its port with its data.
type restartable struct {
	t   *testing.T
	dir string
	url string

	mu     sync.Mutex
	server *broker.Broker
}

func newRestartable(t *testing.T) *restartable {
	t.Helper()
	s := &restartable{t: t, dir: t.TempDir()}
	var err error
	if s.server, err = broker.Start(broker.Config{Dir: s.dir}); err != nil {
		t.Fatal(err)
	}
	s.url = s.server.URL()
	t.Cleanup(func() {
		if err := s.server.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *restartable) restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, err := url.Parse(s.url)
	if err != nil {
		s.t.Error(err)
		return
	}
	port, err := strconv.Atoi(u.Port())
	if err == nil {
		err = s.server.Stop()
	}
	if err != nil {
		s.t.Error(err)
		return
	}
	again, err := broker.Start(broker.Config{Dir: s.dir, Port: port})
	if err != nil {
		s.t.Error(err)
		return
	}
	s.server = again
}
