package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/parleybus/parley/internal/topology"
)

const (
	// serviceGroup is the queue group in which the orchestrators share requests.
	serviceGroup = "orchestrators"
	// servedAtOnce bounds the requests that one orchestrator answers at a time.
	servedAtOnce = 16
)

// ServeUsers answers the requests of users who may not create consumers, until
// ctx ends: consumers to read with, and queues that are missing. All
// orchestrators share these requests. Before it creates a consumer, which the
// server keeps for 30 s when it is not deleted, it asks allow.
func (d Deployment) ServeUsers(ctx context.Context, allow func() bool) error {
	s := userService{bus: d.bus, allow: allow}
	requests := make(chan *nats.Msg, 1024)
	for _, subject := range []string{topology.AllReads, topology.AllQueues} {
		sub, err := d.bus.nc.ChanQueueSubscribe(subject, serviceGroup, requests)
		if err != nil {
			return fmt.Errorf("answer %s: %w", subject, err)
		}
		defer func() { _ = sub.Unsubscribe() }() // fails only when the connection is closed
	}
	var running sync.WaitGroup
	defer running.Wait()
	for range servedAtOnce {
		running.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case m := <-requests:
					s.answer(ctx, m)
				}
			}
		})
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// userService answers requests of users.
type userService struct {
	bus   *Bus
	allow func() bool
}

func (s *userService) answer(ctx context.Context, m *nats.Msg) {
	if m.Reply == "" {
		return
	}
	ctx, cancel := answer(ctx)
	defer cancel()
	resp, err := s.do(ctx, m)
	if err != nil {
		resp.Error = Preview(oneLine(err.Error()), 512)
	}
	body, err := json.Marshal(resp)
	if err == nil {
		err = s.bus.nc.Publish(m.Reply, body)
	}
	if err != nil {
		s.bus.log.Debug("a request was not answered", "subject", m.Subject, "error", err)
	}
}

func (s *userService) do(ctx context.Context, m *nats.Msg) (readResponse, error) {
	if consumer, ok := strings.CutPrefix(m.Subject, topology.QueueRequest("")); ok {
		return readResponse{}, s.queue(ctx, consumer)
	}
	var req readRequest
	if err := json.Unmarshal(m.Data, &req); err != nil {
		return readResponse{}, fmt.Errorf("the request cannot be read: %w", err)
	}
	stream, err := s.bus.plan.CheckRead(m.Subject, req.Filter)
	if err != nil {
		return readResponse{}, err
	}
	if req.Delete != "" {
		return readResponse{}, s.drop(ctx, stream, req.Delete)
	}
	if !s.allow() {
		return readResponse{}, errors.New("too many reads at once: try again later")
	}
	cfg := readerConfig(jetstream.ConsumerConfig{Name: topology.ReaderPrefix + nuid.Next(), FilterSubject: req.Filter, HeadersOnly: req.Heads}, req.From)
	cons, err := s.bus.js.CreateConsumer(ctx, stream, cfg)
	if err != nil {
		return readResponse{}, explainJetStream(err)
	}
	info := cons.CachedInfo()
	return readResponse{Consumer: info.Name, Pending: info.NumPending}, nil
}

// drop deletes a consumer that an orchestrator created for a user; names cannot
// be guessed.
func (s *userService) drop(ctx context.Context, stream, consumer string) error {
	id, ok := strings.CutPrefix(consumer, topology.ReaderPrefix)
	if !ok || topology.CheckToken("consumer", id) != nil {
		return fmt.Errorf("consumer %q was not created for a user", Preview(oneLine(consumer), 60))
	}
	err := s.bus.js.DeleteConsumer(ctx, stream, consumer)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil
	}
	return err
}

// queue creates a queue that is missing.
func (s *userService) queue(ctx context.Context, consumer string) error {
	q, err := topology.QueueNamed(consumer)
	if err != nil {
		return err
	}
	s.bus.queues.Delete(q) // the one who asks found it missing
	return s.bus.Jobs().EnsureQueue(ctx, q)
}
