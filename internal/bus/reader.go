package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/topology"
)

// errNoReaders reports that no orchestrator creates consumers now.
var errNoReaders = errors.New("no orchestrator answers requests to read")

// readRequest asks an orchestrator to create a consumer that reads a stream, or
// to delete one.
type readRequest struct {
	Filter string `json:"filter,omitempty"` // all subjects when empty
	From   uint64 `json:"from,omitempty"`   // sequence
	Heads  bool   `json:"heads,omitempty"`  // without payloads
	Delete string `json:"delete,omitempty"` // name of a consumer, in place of a new one
}

// readResponse is the answer to a readRequest.
type readResponse struct {
	Consumer string `json:"consumer,omitempty"`
	Pending  uint64 `json:"pending,omitempty"`
	Error    string `json:"error,omitempty"`
}

// imported reports whether the user's account is not the one that holds the
// streams. Then it cannot create consumers itself.
func (b *Bus) imported() bool { return b.api("") != jetstream.DefaultAPIPrefix }

// createReader creates a consumer, through an orchestrator where the user may not.
func (b *Bus) createReader(ctx context.Context, stream string, cfg jetstream.ConsumerConfig) (readResponse, error) {
	if b.imported() {
		return b.askReader(ctx, stream, cfg.FilterSubject, readRequest{Filter: cfg.FilterSubject, From: cfg.OptStartSeq, Heads: cfg.HeadersOnly})
	}
	cons, err := b.js.CreateConsumer(ctx, stream, cfg)
	if err != nil {
		return readResponse{}, err
	}
	info := cons.CachedInfo()
	return readResponse{Consumer: info.Name, Pending: info.NumPending}, nil
}

// deleteReader requests that a consumer be deleted that createReader created.
func (b *Bus) deleteReader(stream, filter, consumer string) error {
	subject := b.api("CONSUMER.DELETE." + stream + "." + consumer)
	var body []byte
	if b.imported() {
		var err error
		if body, err = json.Marshal(readRequest{Filter: filter, Delete: consumer}); err != nil {
			return err
		}
		subject = topology.ReadRequest(stream, topology.ReadScope(filter))
	}
	return b.nc.PublishRequest(subject, b.nc.NewInbox(), body)
}

func (b *Bus) askReader(ctx context.Context, stream, filter string, req readRequest) (readResponse, error) {
	var resp readResponse
	body, err := json.Marshal(req)
	if err != nil {
		return resp, err
	}
	subject := topology.ReadRequest(stream, topology.ReadScope(filter))
	msg, err := b.request(ctx, subject, body)
	if errors.Is(err, nats.ErrNoResponders) {
		return resp, errNoReaders
	}
	if err != nil {
		return resp, err
	}
	if err := json.Unmarshal(msg.Data, &resp); err != nil {
		return resp, fmt.Errorf("answer of an orchestrator to %s: %w", subject, err)
	}
	if resp.Error != "" {
		return resp, fmt.Errorf("read %s: %s", stream, resp.Error)
	}
	return resp, nil
}

// stepThrough passes on what a stream holds under a filter (empty: all) from one
// sequence to another (0: to the end), in order, one request to the leader for
// each message. It needs no consumer, and what it does not find is not there.
func (b *Bus) stepThrough(ctx context.Context, stream, filter string, from, to uint64, fn func(raw) error) error {
	if filter == "" {
		filter = ">"
	}
	for next := max(from, 1); to == 0 || next <= to; {
		r, err := b.fromLeader(ctx, stream, getRequest{Sequence: next, Next: filter})
		if err != nil || r == nil || to > 0 && r.seq > to {
			return err
		}
		if err := fn(*r); err != nil {
			return err
		}
		next = r.seq + 1
	}
	return nil
}
