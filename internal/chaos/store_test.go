package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// store is what a seed does to the store.
type store struct {
	Kind string // none when empty
	At   time.Duration
	For  time.Duration // how long the disk is full
}

// partial reports whether the log does not hold all that was in it: HISTORY counts then,
// and the streamed text is not compared.
func (s store) partial() bool { return s.Kind == "expires" || s.Kind == "restored" }

// shortAge is the MaxAge of the log that expires under open turns: longer than a process
// is suspended, and shorter than the turns that a fault holds up. On three servers it is
// also longer than HISTORY copies nothing after the loss of one (ADR 91).
func shortAge(nodes int) time.Duration {
	if nodes == 3 {
		return 25 * time.Second
	}
	return 8 * time.Second
}

// storeKinds returns what happens to the store: a stream or bucket is deleted, the disk
// is full for a time, the log expires after seconds, or its directory is replaced by an
// earlier copy. The log and HISTORY are not deleted: what was in them would be lost.
func storeKinds() []string {
	return []string{"lost-jobs", "lost-timers", "expires", "lost-leases", "full", "lost-checkpoints", "restored"}
}

// storeOf returns what a seed does to the store: every third one does something. It is
// drawn apart.
func storeOf(seed uint64) store {
	if seed%3 != 2 {
		return store{}
	}
	r, kinds := rand.New(rand.NewPCG(seed, 14)), storeKinds()
	return store{kinds[seed/3%uint64(len(kinds))], time.Duration(800+r.IntN(2500)) * time.Millisecond, time.Duration(500+r.IntN(1500)) * time.Millisecond}
}

// disturbStore does to the store what the plan says.
func (d *deployment) disturbStore(start time.Time) {
	s := d.plan.Store
	if s.Kind == "" || s.Kind == "expires" {
		return
	}
	d.running.Go(func() {
		if !d.sleep(time.Until(start.Add(s.At))) {
			return
		}
		err := d.harm(s)
		if err != nil && d.sleep(0) {
			d.t.Errorf("%s: %v", s.Kind, err)
		}
	})
}

func (d *deployment) harm(s store) error {
	switch s.Kind {
	case "lost-jobs":
		return d.lose(topology.StreamJobs)
	case "lost-timers":
		return d.lose(topology.StreamTimers)
	case "lost-leases":
		return d.lose(topology.BucketStream(topology.BucketLeases))
	case "lost-checkpoints":
		return d.lose(topology.BucketStream(topology.BucketCheckpoints))
	case "full":
		if d.servers.mounted {
			return d.servers.fill(s.For, d.sleep)
		}
		return d.full(s.For)
	case "restored":
		if d.servers.cluster != nil {
			return nil // see wanted: the copy of one node is repaired by the others
		}
		return d.restore()
	}
	return fmt.Errorf("nothing does %q", s.Kind)
}

// directly does something over a connection of its own, until it succeeds.
func (d *deployment) directly(do func(ctx context.Context, js jetstream.JetStream) error) error {
	ctx, cancel := context.WithTimeout(d.t.Context(), 20*time.Second)
	defer cancel()
	return patiently(ctx, func(ctx context.Context) error {
		b, err := bus.Connect(ctx, bus.Config{URL: d.servers.url(0)}, nil)
		if err != nil {
			return err
		}
		defer b.Close()
		_, js := b.Raw()
		return do(ctx, js)
	})
}

func (d *deployment) lose(stream string) error {
	return d.directly(func(ctx context.Context, js jetstream.JetStream) error {
		err := js.DeleteStream(ctx, stream)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			err = nil // the answer to the first request was lost
		}
		return err
	})
}

// full lets the log take no bytes for a time: what a full disk does, where the disk
// cannot be filled.
func (d *deployment) full(long time.Duration) error {
	limit := func(change func(*jetstream.StreamConfig, jetstream.StreamState)) error {
		return d.directly(func(ctx context.Context, js jetstream.JetStream) error {
			s, err := js.Stream(ctx, topology.ConvStream(0))
			if err != nil {
				return err
			}
			cfg := s.CachedInfo().Config
			change(&cfg, s.CachedInfo().State)
			_, err = js.UpdateStream(ctx, cfg)
			return err
		})
	}
	err := limit(func(c *jetstream.StreamConfig, s jetstream.StreamState) {
		c.MaxBytes, c.Discard = int64(max(s.Bytes, 1)), jetstream.DiscardNew
	})
	d.sleep(long)
	return errors.Join(err, limit(func(c *jetstream.StreamConfig, _ jetstream.StreamState) {
		c.MaxBytes, c.Discard = -1, jetstream.DiscardOld
	}))
}

// smallDisk is the size of the disk that is filled.
const smallDisk = "size=96m"

// mount puts the store of one server on a small disk of its own, if the test may.
func (s *servers) mount(t *testing.T) {
	dir := filepath.Join(s.dir, "store")
	err := os.Mkdir(dir, 0o700)
	if err == nil {
		err = syscall.Mount("none", dir, "tmpfs", 0, smallDisk)
	}
	if err != nil {
		t.Logf("the disk is not filled, the log is bounded instead: a small disk needs root: %v", err)
		return
	}
	s.mounted = true
	t.Cleanup(func() {
		s.one.signal(syscall.SIGKILL)
		<-s.one.ended
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
}

// fill fills the disk for a time. A server that is not embedded stores nothing from then
// on until it is started again, as docs/reliability.md says.
func (s *servers) fill(long time.Duration, sleep func(time.Duration) bool) error {
	name := filepath.Join(s.dir, "store", "ballast")
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	block := make([]byte, 1<<16)
	for err == nil {
		_, err = f.Write(block)
		if err != nil && len(block) > 1 {
			block, err = block[:len(block)/2], nil
		}
	}
	_ = f.Close() // there is no space for what is left
	for until := time.Now().Add(long); time.Now().Before(until); {
		if f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0); err == nil { // the server may have freed some
			_, _ = f.Write(make([]byte, 4096))
			_ = f.Close()
		}
		if !sleep(50 * time.Millisecond) {
			break
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	if err := os.Remove(name); err != nil {
		return err
	}
	s.strike(0, 100*time.Millisecond, func() {})
	return nil
}

// lostMessages is how many messages the log loses at least.
const lostMessages = 20

// restore copies the log of a stopped server and replaces the log by the copy when it has
// grown. Roles go on writing: to a log that has lost its end, until an owner notices.
func (d *deployment) restore() error {
	s := d.servers
	log := filepath.Join(s.dir, "store", "jetstream", "$G", "streams", topology.ConvStream(0))
	backup := filepath.Join(s.dir, "backup")
	var err error
	s.strike(0, 0, func() { err = os.CopyFS(backup, os.DirFS(log)) })
	if err != nil {
		return err
	}
	copied, err := d.logEnd()
	for err == nil {
		var now uint64
		if now, err = d.logEnd(); err == nil && now >= copied+lostMessages {
			break
		}
		if !d.sleep(50 * time.Millisecond) {
			return nil // the run is over, and too little was said
		}
	}
	if err != nil {
		return err
	}
	s.strike(0, 0, func() { err = errors.Join(os.RemoveAll(log), os.CopyFS(log, os.DirFS(backup))) })
	d.restored.Store(err == nil)
	return err
}

// logEnd returns the last sequence of the log.
func (d *deployment) logEnd() (end uint64, err error) {
	return end, d.directly(func(ctx context.Context, js jetstream.JetStream) error {
		s, err := js.Stream(ctx, topology.ConvStream(0))
		if err == nil {
			end = s.CachedInfo().State.LastSeq
		}
		return err
	})
}

// facts returns a conversation's facts, also those that the log has let go of.
func (k *talk) facts(ctx context.Context) (all []parley.Event, err error) {
	err = patiently(ctx, func(ctx context.Context) error {
		all = nil
		return k.bus.Conversation(k.id).Facts(ctx, 0, func(m bus.Message) error {
			for _, l := range m.Lines {
				all = append(all, parley.Event{Body: l.Event})
				if d, is := l.Event.(*events.Decision); is {
					for _, l := range d.Events {
						all = append(all, parley.Event{Body: l.Event})
					}
				}
			}
			return nil
		})
	})
	return all, err
}

// endedOf waits for the end of all turns in the facts, and returns the last.
func (k *talk) endedOf(ctx context.Context) (last *parley.TurnEnded, err error) {
	for {
		all, err := k.facts(ctx)
		if err != nil {
			return nil, err
		}
		n := 0
		for _, e := range all {
			if ended, is := e.Body.(*parley.TurnEnded); is {
				n, last = n+1, ended
			}
		}
		if n >= k.turns {
			return last, nil
		}
		if !bus.Pause(ctx, 200*time.Millisecond) {
			return nil, context.Cause(ctx)
		}
	}
}

// outline names a conversation's facts, for a report.
func (k *talk) outline(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var b strings.Builder
	note := func(m bus.Message) error {
		for _, l := range m.Lines {
			fmt.Fprintf(&b, " %d:%s", m.Sequence, l.Event.Type())
			if d, is := l.Event.(*events.Decision); is {
				for _, l := range d.Events {
					fmt.Fprintf(&b, "+%s", l.Event.Type())
				}
			}
		}
		return nil
	}
	err := k.bus.Conversation(k.id).Facts(ctx, 0, note)
	fmt.Fprintf(&b, " (%v), and on its gen lane", err)
	a := topology.At(k.bus.Shards(), k.id, events.ChannelGen)
	err = k.bus.Shard(a.Shard).Read(ctx, 0, a.Subject(topology.Conv), note)
	return fmt.Sprintf("the facts%s (%v)", b.String(), err)
}

// queues describes the jobs that are left, and their queues.
func queues(ctx context.Context, b *bus.Bus) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var all strings.Builder
	_, js := b.Raw()
	jobs, err := js.Stream(ctx, topology.StreamJobs)
	if err != nil {
		return err.Error()
	}
	info, err := jobs.Info(ctx, jetstream.WithSubjectFilter(">"))
	if err != nil {
		return err.Error()
	}
	fmt.Fprintf(&all, "JOBS %d to %d has", info.State.FirstSeq, info.State.LastSeq)
	for subject := range info.State.Subjects {
		fmt.Fprintf(&all, " %s", subject)
	}
	list := jobs.ListConsumers(ctx)
	for c := range list.Info() {
		leader := ""
		if c.Cluster != nil {
			leader = c.Cluster.Leader
		}
		fmt.Fprintf(&all, "; queue %s at %q: delivered %+v, acknowledged %+v, %d pending, %d out, %d redelivered, %d requests", c.Name, leader, c.Delivered, c.AckFloor, c.NumPending, c.NumAckPending, c.NumRedelivered, c.NumWaiting)
	}
	return fmt.Sprintf("%s (%v)", all.String(), list.Err())
}
