// Package bus is how Parley's parts reach NATS: lanes (compare-and-append),
// attach (replay, splice, follow), the publishing of jobs, objects, leases and
// presence.
//
// A [Bus] is the connection. What is stored is reached through handles, which are
// made without a request: [Conversation], [Lane], [Shard], [Jobs], [Presence],
// [Timers], [Objects], [Hooks] and [Deployment].
//
// Order: a conversation's messages are read in the order of their stream
// sequence, without doubles or holes, by everyone. Loss: what a call reported
// as appended is stored; an undecided publish is resolved by reading the
// lane's last message. A Bus is safe for concurrent use.
package bus

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/semaphore"

	"github.com/parleybus/parley/internal/identity"
	"github.com/parleybus/parley/internal/secret"
	"github.com/parleybus/parley/internal/topology"
)

// ErrNotSetUp reports that the server has none of Parley's streams.
var ErrNotSetUp = errors.New("this server has no Parley streams")

// Bus is a connection to a deployment.
type Bus struct {
	nc      *nats.Conn
	js      jetstream.JetStream
	log     *slog.Logger
	plan    topology.Plan
	said    *topology.Plan // what this process may set up; nil when it may not
	changes []string       // what setting up changed
	payload int            // largest message that is sent, in bytes
	key     *identity.Key  // signs inputs; nil when there is none
	step    bool           // read message by message
	streams sync.Map       // name to jetstream.Stream
	queues  sync.Map       // queues known to exist
	served  sync.Map       // queues that this process takes jobs from, by pointer: one for each subscription
	writes  writeErrors
	remade  remade
	clock   *clock   // of the server
	gaps    sync.Map // ends of what shards' logs have lost, by shard
	marks   sync.Map // *tail, what followers have read of shards' logs, by shard
	denied  denials
	version string // of the program, which workers announce
	acks    acks
	hubs    hubs
	// toolsDenied is set when this user may not see the known tools.
	toolsDenied atomic.Bool

	fetching *semaphore.Weighted // bytes of the objects that are fetched at once
	link     link
	absences absences
}

// Connect connects to a server and finds out how the deployment is laid out.
// With setup, the streams are made first if they are missing.
func Connect(ctx context.Context, cfg Config, setup *topology.Plan) (*Bus, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	b := &Bus{log: cfg.Log, version: cmp.Or(cfg.Version, moduleVersion()), clock: newClock(), fetching: semaphore.NewWeighted(maxFetching)}
	opts, err := cfg.options(b)
	if err == nil {
		b.key, err = cfg.signKey()
	}
	if err != nil {
		return nil, lastingError{err}
	}
	nc, err := nats.Connect(secret.Escape(cfg.URL), opts...)
	if err != nil {
		return nil, explainConnect(secret.URL(cfg.URL), err)
	}
	b.nc, b.payload = nc, int(nc.MaxPayload())-4096
	b.link.connected()
	if b.js, err = cfg.jetStream(nc); err == nil {
		err = b.open(ctx, setup)
	}
	if err != nil {
		nc.Close()
		return nil, b.explainDenied(err)
	}
	return b, nil
}

func (b *Bus) open(ctx context.Context, setup *topology.Plan) error {
	if setup != nil {
		return b.setUp(ctx, *setup)
	}
	s, err := b.history(ctx)
	if err != nil {
		return err
	}
	if err := checkProtocol(s.CachedInfo()); err != nil {
		return err
	}
	shards, err := shardsOf(s.CachedInfo())
	if err != nil {
		return err
	}
	b.plan = topology.Plan{Shards: shards, Replicas: s.CachedInfo().Config.Replicas}.WithDefaults()
	return nil
}

// Shards is the number of shards of the deployment.
func (b *Bus) Shards() int { return b.plan.Shards }

// URL is the server this is connected to.
func (b *Bus) URL() string { return secret.URL(b.nc.ConnectedUrl()) }

// Connected reports whether the server can be reached now.
func (b *Bus) Connected() bool { return b.nc.IsConnected() }

// Raw is the connection itself, for package jobs and for benchmarks that compare
// with it.
func (b *Bus) Raw() (*nats.Conn, jetstream.JetStream) { return b.nc, b.js }

// WithoutConsumers makes the bus read streams message by message, from their
// leaders. Workers do so: they read little, and need no permission for consumers
// but those of their queues. It is called before the bus is used.
func (b *Bus) WithoutConsumers() *Bus {
	b.step = true
	return b
}

// Close sends what is buffered and closes the connection.
func (b *Bus) Close() {
	if b.nc.IsConnected() {
		// A flush that fails means the connection is gone already.
		_ = b.nc.FlushTimeout(2 * time.Second)
	}
	b.nc.Close()
}

// Ping asks the server for an answer, and JetStream for HISTORY.
func (b *Bus) Ping(ctx context.Context) error {
	_, err := b.info(ctx, topology.StreamHistory)
	return b.explainDenied(err)
}
