package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/topology"
)

// errNotHeld reports that the replica that answered a direct get does not hold
// what was asked for: it lags, or there is none.
var errNotHeld = errors.New("not held by this replica")

// lastUpTo reads the last message of a lane of CONV at or before a sequence; nil
// when there is none.
//
// Only the server's batched direct get (ADR-31) takes a bound, and any replica may
// answer it. A replica that is behind the bound finds nothing at all (nats-server
// 2.15.2), so what it finds is right; where it finds nothing, the lane is read. No
// role with an account of its own may send one.
func (b *Bus) lastUpTo(ctx context.Context, a topology.Address, upTo uint64) (*raw, error) {
	stream, subject := topology.ConvStream(a.Shard), a.Subject(topology.Conv)
	if !b.imported() {
		r, err := b.directUpTo(ctx, stream, subject, upTo)
		if err == nil || ctx.Err() != nil {
			return r, err
		}
	}
	var last *raw
	err := ended(b.read(ctx, stream, subject, 1, true, func(r raw) error {
		if r.seq > upTo {
			return errEnd
		}
		last = &r
		return nil
	}))
	return last, err
}

func (b *Bus) directUpTo(ctx context.Context, stream, subject string, upTo uint64) (*raw, error) {
	req, err := json.Marshal(struct {
		Multi []string `json:"multi_last"`
		UpTo  uint64   `json:"up_to_seq"`
		Batch int      `json:"batch"`
	}{[]string{subject}, upTo, 1})
	if err != nil {
		return nil, err
	}
	msg, err := ask(ctx, func(ctx context.Context) (*nats.Msg, error) { return b.request(ctx, b.api("DIRECT.GET."+stream), req) })
	if err != nil {
		return nil, fmt.Errorf("read the last message of %s: %w", subject, explainJetStream(err))
	}
	seq, at, err := storedAt(msg.Header)
	if err != nil {
		return nil, errNotHeld // an answer without a message has no position
	}
	return &raw{subject: subject, header: msg.Header, seq: seq, at: at, data: msg.Data}, nil
}
