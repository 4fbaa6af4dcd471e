package wire

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/topology"
)

// Window bounds the unacknowledged messages of [JetStream].
const Window = 4096

// stallWait bounds how long a full window may stand still.
const stallWait = 90 * time.Second

// JetStream publishes asynchronously to the streams of a deployment, one message for each
// event, and watches the republished subject with a plain subscription.
type JetStream struct {
	nc      *nats.Conn
	js      jetstream.JetStream
	refused chan error // holds the first
}

// NewJetStream uses a connection, which stays open.
func NewJetStream(nc *nats.Conn) (*JetStream, error) {
	w := &JetStream{nc: nc, refused: make(chan error, 1)}
	var err error
	w.js, err = jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(Window),
		jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, _ *nats.Msg, err error) {
			select {
			case w.refused <- err:
			default:
			}
		}))
	return w, err
}

// Publish implements [Wire].
func (w *JetStream) Publish(_ context.Context, to topology.Address, events [][]byte) error {
	subject := to.Subject(topology.Conv)
	for _, e := range events {
		if _, err := w.js.PublishMsgAsync(&nats.Msg{Subject: subject, Data: e}, jetstream.WithStallWait(stallWait)); err != nil {
			return fmt.Errorf("publish to %s: %w", subject, err)
		}
	}
	return nil
}

// Flush implements [Wire].
func (w *JetStream) Flush(ctx context.Context) error {
	select {
	case <-w.js.PublishAsyncComplete():
	case <-ctx.Done():
		return fmt.Errorf("messages are not acknowledged: %w", context.Cause(ctx))
	}
	select {
	case err := <-w.refused:
		return fmt.Errorf("a message was refused: %w", err)
	default:
		return nil
	}
}

// Watch implements [Wire].
func (w *JetStream) Watch(ctx context.Context, to topology.Address, each func(event []byte)) (stop func(), err error) {
	subject, ended := to.Subject(topology.Live), make(chan struct{})
	sub, err := w.nc.Subscribe(subject, func(m *nats.Msg) { each(m.Data) })
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	sub.SetClosedHandler(func(string) { close(ended) })
	stop = func() {
		if sub.Unsubscribe() == nil { // fails only when the connection is closed
			<-ended
		}
	}
	if err := w.nc.FlushWithContext(ctx); err != nil {
		stop()
		return nil, fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	return stop, nil
}

// Read implements [Wire]. It uses an ordered consumer.
func (w *JetStream) Read(ctx context.Context, to topology.Address, n int, each func(event []byte)) (err error) {
	cons, err := w.js.OrderedConsumer(ctx, topology.ConvStream(to.Shard), jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{to.Subject(topology.Conv)}})
	if err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	got, all := 0, make(chan struct{})
	consume, err := cons.Consume(func(m jetstream.Msg) {
		if got == n {
			return
		}
		each(m.Data())
		if got++; got == n {
			close(all)
		}
	}, jetstream.PullMaxMessages(2048))
	if err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	select {
	case <-all:
	case <-ctx.Done():
		err = fmt.Errorf("read %d of %d events: %w", got, n, context.Cause(ctx))
	}
	consume.Stop()
	<-consume.Closed()
	return err
}

// Close implements [Wire]. The connection stays open.
func (w *JetStream) Close() error {
	w.js.CleanupPublisher()
	return nil
}

var _ Wire = (*JetStream)(nil)
