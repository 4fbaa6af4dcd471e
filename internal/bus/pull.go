package bus

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/topology"
)

const (
	// pullBatch is how many messages one request asks for, pullBytes how many
	// bytes unless one message may be larger.
	pullBatch = 1024
	pullBytes = 16 << 20
	// pullExpires is how long the server holds a request of a follower.
	pullExpires = 30 * time.Second
	// readerIdle is when the server deletes the consumer of a reader that ended
	// without deleting it.
	readerIdle = 30 * time.Second
	// readerHeartbeat is how often the server confirms a request of a follower. A
	// consumer whose node died, while the connection is to another, is missed
	// after two: nats.go's own 15 s would leave a shard undecided for half a minute.
	readerHeartbeat = 2 * time.Second
)

// puller reads a stream through a short-lived consumer without acknowledgements,
// in order. It makes its requests itself, because nats.go's consumers take a
// stored message with an empty body and a Status header, which any publisher can
// write, for a message of the server, and never get past it. Here a message of the
// stream is one whose reply subject is that of an acknowledgement: only the
// server sets that.
type puller struct {
	bus      *Bus
	stream   string
	filter   string
	consumer string
	next     uint64 // sequence to continue from
	behind   uint64 // where it was when the leader had more, at the last heartbeat
	pending  uint64 // messages that follow, as of the last one
	read     uint64 // messages so far, as the consumer counts them
	asked    int    // messages of a request that was made ahead, which the next batch waits for
	in       chan *nats.Msg
	sub      *nats.Subscription
	status   chan nats.Status // a request is lost with the connection
	idle     func() error     // called at each heartbeat, after the check for lag; may be nil
}

// newPuller makes a consumer for what a stream holds under a filter (empty: all)
// from a sequence on.
func (b *Bus) newPuller(ctx context.Context, stream, filter string, from uint64) (*puller, error) {
	return b.openPuller(ctx, stream, from, jetstream.ConsumerConfig{FilterSubject: filter})
}

// newHeadPuller is a puller whose messages come without their payloads.
func (b *Bus) newHeadPuller(ctx context.Context, stream string, from uint64) (*puller, error) {
	return b.openPuller(ctx, stream, from, jetstream.ConsumerConfig{HeadersOnly: true})
}

func (b *Bus) openPuller(ctx context.Context, stream string, from uint64, cfg jetstream.ConsumerConfig) (*puller, error) {
	cfg = readerConfig(cfg, from)
	// One that is made twice has no reader, and the server deletes it.
	made, err := ask(ctx, func(ctx context.Context) (readResponse, error) { return b.createReader(ctx, stream, cfg) })
	if err != nil {
		return nil, err
	}
	p := &puller{bus: b, stream: stream, filter: cmp.Or(cfg.FilterSubject, ">"), next: max(from, 1), consumer: made.Consumer, pending: made.Pending, in: make(chan *nats.Msg, 2*pullBatch+64)}
	if p.sub, err = b.nc.ChanSubscribe(b.nc.NewInbox(), p.in); err != nil {
		p.drop()
		return nil, err
	}
	p.status = b.nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	return p, nil
}

// readerConfig completes the configuration of a short-lived consumer that reads
// from a sequence on.
func readerConfig(cfg jetstream.ConsumerConfig, from uint64) jetstream.ConsumerConfig {
	cfg.AckPolicy, cfg.DeliverPolicy = jetstream.AckNonePolicy, jetstream.DeliverAllPolicy
	cfg.MemoryStorage, cfg.Replicas, cfg.InactiveThreshold = true, 1, readerIdle
	if from > 1 {
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, from
	}
	return cfg
}

// close ends the subscription and deletes the consumer. It does not wait for the answer,
// which a cluster that elects a leader does not give: if there is still a consumer, the
// server deletes it after [readerIdle].
func (p *puller) close() {
	p.bus.nc.RemoveStatusListener(p.status)
	_ = p.sub.Unsubscribe() // fails only when the connection is closed
	p.drop()
}

func (p *puller) drop() {
	if p.bus.nc.IsConnected() { // else it would be sent to another server, later
		_ = p.bus.deleteReader(p.stream, p.filter, p.consumer)
	}
}

// errReaderLost reports that the consumer does not answer any more.
var errReaderLost = errors.New("the reader's consumer does not answer")

// pull is a request for messages.
type pull struct {
	most      int           // messages
	expires   time.Duration // how long the server holds it
	heartbeat time.Duration // how often the server confirms it; 0: never
	gathered  bool          // it ends with what there is, once that is at least one
	ahead     bool          // the next messages are requested when half of these have come
}

// batch makes a request and passes each message to fn, until they have come or the request
// has ended. With a heartbeat it waits as long as the server confirms the request;
// without, expires is also how long it waits.
func (p *puller) batch(ctx context.Context, want pull, fn func(raw) error) error {
	if p.asked > 0 {
		want.most, p.asked = p.asked, 0
	} else if err := p.request(want); err != nil {
		return err
	}
	expires, heartbeat := want.expires, want.heartbeat
	silence := expires + time.Second
	if heartbeat > 0 {
		silence = 2*heartbeat + heartbeat/2
	}
	lost := time.NewTimer(silence)
	defer lost.Stop()
	for got := 0; got < want.most; {
		msg, err := p.receive(ctx, lost, silence)
		if err != nil {
			return err
		}
		if !isStored(msg) {
			if ended, err := control(msg); ended || err != nil {
				return err
			}
			if heartbeat > 0 && msg.Header.Get("Status") == "100" {
				if err := p.heartbeat(ctx); err != nil {
					return err
				}
			}
			continue
		}
		r, pending, err := p.message(msg)
		if err != nil {
			return err
		}
		got, p.read, p.pending, p.next = got+1, p.read+1, pending, r.seq+1
		if left := want.most - got; want.ahead && got == want.most/2 && int(pending) > left {
			next := want
			next.most = min(int(pending)-left, pullBatch)
			if err := p.request(next); err != nil {
				return err
			}
			p.asked = next.most
		}
		if err := fn(r); err != nil {
			return &stopError{err}
		}
	}
	return nil
}

// receive returns what the server sends next, or an error if it is silent for too long.
func (p *puller) receive(ctx context.Context, lost *time.Timer, silence time.Duration) (*nats.Msg, error) {
	select {
	case msg := <-p.in: // mostly it is here already, and there is nothing to wait for
		return msg, context.Cause(ctx)
	default:
	}
	lost.Reset(silence)
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-lost.C:
		return nil, cmp.Or(p.bus.denial(p.requests()), errReaderLost)
	case <-p.status:
		if p.bus.nc.IsClosed() {
			return nil, nats.ErrConnectionClosed
		}
		return nil, errReaderLost
	case msg := <-p.in:
		return msg, nil
	}
}

func (p *puller) request(want pull) error {
	body, err := json.Marshal(struct {
		Batch     int           `json:"batch"`
		MaxBytes  int           `json:"max_bytes"`
		Expires   time.Duration `json:"expires"`
		Heartbeat time.Duration `json:"idle_heartbeat,omitempty"`
		NoWait    bool          `json:"no_wait,omitempty"`
	}{want.most, max(pullBytes, 2*int(p.bus.nc.MaxPayload())), want.expires, want.heartbeat, want.gathered})
	if err != nil {
		return err
	}
	return p.bus.nc.PublishRequest(p.requests(), p.sub.Subject, body)
}

// requests is the subject on which the consumer takes requests.
func (p *puller) requests() string {
	return p.bus.api("CONSUMER.MSG.NEXT." + p.stream + "." + p.consumer)
}

// more is what the leader has after what was read; nil when that is all.
func (p *puller) more(ctx context.Context) (*raw, error) {
	return p.bus.fromLeader(ctx, p.stream, getRequest{Sequence: p.next, Next: p.filter})
}

// heartbeat checks that a consumer that has nothing to send has not fallen
// behind: one on a replica that lags is silent too. When the leader has more at
// two heartbeats in a row, the consumer is given up.
func (p *puller) heartbeat(ctx context.Context) error {
	r, err := p.more(ctx)
	switch {
	case err != nil:
		return err
	case r != nil && p.behind == p.next:
		return fmt.Errorf("%w: the reader is before %d, the leader has %d", ErrShortRead, p.next, r.seq)
	case r != nil:
		p.behind = p.next // likely on its way
		return nil
	case p.idle != nil:
		return p.idle()
	}
	return nil
}

// message reads a stored message. Its position comes from the reply subject, which
// the server makes, never from headers, which a publisher may set.
func (p *puller) message(msg *nats.Msg) (raw, uint64, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return raw{}, 0, err
	}
	if meta.Sequence.Consumer != p.read+1 {
		return raw{}, 0, fmt.Errorf("message %d of the reader is missing", p.read+1)
	}
	return raw{subject: msg.Subject, header: msg.Header, seq: meta.Sequence.Stream, at: meta.Timestamp, data: msg.Data}, meta.NumPending, nil
}

// isStored reports whether a message comes from the stream. The others are the
// server's answers to a request.
func isStored(msg *nats.Msg) bool { return strings.HasPrefix(msg.Reply, topology.Acks) }

// control reads an answer to a request: whether it ends the request, and an
// error when the consumer cannot continue.
func control(msg *nats.Msg) (ended bool, err error) {
	status, what := msg.Header.Get("Status"), msg.Header.Get("Description")
	switch {
	case status == "100": // a heartbeat
		return false, nil
	case status == "409" && what == "Batch Completed": // of a request whose messages have all come
		return false, nil
	case status == "404", status == "408", status == "409" && what == "Message Size Exceeds MaxBytes":
		return true, nil
	case status == "503":
		return true, nats.ErrNoResponders
	}
	return true, fmt.Errorf("the reader's consumer ended: %s %s", status, what)
}

// stopError carries an error of the reader's own out of the retry loop.
type stopError struct{ err error }

func (e *stopError) Error() string { return e.err.Error() }
