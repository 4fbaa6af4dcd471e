package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/topology"
)

// errNotHeld reports that the replica that answered a direct get does not hold
// what was asked for: it lags, or there is none.
var errNotHeld = errors.New("not held by this replica")

// mostSteps is how many messages of a lane are stepped back over, one request each.
const mostSteps = 16

// lastUpTo reads the last message of a lane of CONV at or before a sequence; nil
// when there is none. last is that of the lane, and behind the sequence.
//
// Mostly only a few messages are behind it, and each names the one before it. The
// server's batched direct get (ADR-31) takes a bound, too, but looks at every subject of
// a block of the stream (nats-server 2.15.3, multiLastSeqsLocked), which are those of all
// conversations. Any replica may answer it. A replica that is behind the bound finds
// nothing at all (nats-server 2.15.2), so what it finds is right; where it finds nothing,
// the lane is read. No role with an account of its own may send one.
func (b *Bus) lastUpTo(ctx context.Context, a topology.Address, last raw, upTo uint64) (*raw, error) {
	stream, subject := topology.ConvStream(a.Shard), a.Subject(topology.Conv)
	if r, found, err := b.stepBack(ctx, stream, last, upTo); found || err != nil {
		return r, err
	}
	if !b.imported() {
		r, err := b.directUpTo(ctx, stream, subject, upTo)
		if err == nil || ctx.Err() != nil {
			return r, err
		}
	}
	var found *raw
	err := ended(b.read(ctx, stream, subject, 1, true, func(r raw) error {
		if r.seq > upTo {
			return errEnd
		}
		found = &r
		return nil
	}))
	return found, err
}

// stepBack follows which message each one of a lane came after, which the server has
// checked when it stored it, to one at or before a sequence; nil if there is none. It is
// not found where a message does not say so, is not there any more, or is too far back.
func (b *Bus) stepBack(ctx context.Context, stream string, from raw, upTo uint64) (r *raw, found bool, err error) {
	r = &from
	for range mostSteps {
		before, err := strconv.ParseUint(r.header.Get(jetstream.ExpectedLastSubjSeqHeader), 10, 64)
		switch {
		case err != nil || before >= r.seq || r.header.Get(jetstream.ExpectedLastSubjSeqSubjHeader) != "":
			return nil, false, nil
		case before == 0:
			return nil, true, nil
		}
		r, err = b.fromLeader(ctx, stream, getRequest{Sequence: before})
		if err != nil || r == nil || r.subject != from.subject {
			return nil, false, err
		}
		if r.seq <= upTo {
			return r, true, nil
		}
	}
	return nil, false, nil
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
