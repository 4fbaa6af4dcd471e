package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/topology"
)

// ErrOtherLog reports that the log of a shard is not the one that this process has
// read: it lost its end, or was replaced by an older copy.
var ErrOtherLog = errors.New("the log is another one than the one that was read before: its end was lost, or an older copy of the volume is used")

// mark is a message of a shard's log. A log that has another message in its place has
// lost its end and has grown past it.
type mark struct {
	seq  uint64
	at   time.Time // when it was stored
	made time.Time // when the stream was made: a later one has sequences of its own
}

// String is the form in which a checkpoint carries a mark.
func (m mark) String() string {
	return fmt.Sprintf("%d %d %d", m.seq, m.at.UnixNano(), m.made.UnixNano())
}

// parseMark reads what String wrote; the zero mark for anything else, and for the
// checkpoint of a version that wrote none.
func parseMark(s string) (m mark) {
	f := strings.Fields(s)
	if len(f) != 3 {
		return mark{}
	}
	seq, err := strconv.ParseUint(f[0], 10, 64)
	at, err2 := strconv.ParseInt(f[1], 10, 64)
	made, err3 := strconv.ParseInt(f[2], 10, 64)
	if errors.Join(err, err2, err3) != nil {
		return mark{}
	}
	return mark{seq, time.Unix(0, at), time.Unix(0, made)}
}

// fate is what became of a marked message.
type fate int

const (
	unknown  fate = iota // it has expired, was deleted, or is of a stream that was made again
	kept                 // the log has it, and so everything before it
	replaced             // the log has lost it
)

// fateOf looks for a mark in a shard's log: one request when the log has it.
func (b *Bus) fateOf(ctx context.Context, shard int, m mark) (fate, error) {
	if m.seq == 0 {
		return unknown, nil
	}
	get := func() (*raw, error) {
		return b.fromLeader(ctx, topology.ConvStream(shard), getRequest{Sequence: m.seq})
	}
	r, err := get()
	if err != nil || r != nil && r.at.Equal(m.at) {
		return m.fate(r, nil), err
	}
	info, err := b.infoOf(ctx, topology.ConvStream(shard))
	if err != nil {
		return unknown, err
	}
	if r == nil && m.seq <= info.State.LastSeq {
		// A log that had not come so far yet, and grew since, is no log that has let go of it.
		if r, err = get(); err != nil {
			return unknown, err
		}
	}
	return m.fate(r, info), nil
}

// fate says what became of a mark by the message in its place (nil: none) and the log's
// info, which was asked for before the message if the log had come so far by then.
func (m mark) fate(r *raw, info *jetstream.StreamInfo) fate {
	switch {
	case r != nil && r.at.Equal(m.at):
		return kept
	case info == nil || !info.Created.Equal(m.made) || r == nil && m.seq <= info.State.LastSeq:
		return unknown
	}
	return replaced
}

// tail is the last message that this process's follower of a shard has read. A log is
// replaced only while its server is down, so that it is compared once after each
// reconnect, before anything is decided, and each time a reader starts again.
type tail struct {
	mu      sync.Mutex
	last    mark
	connect uint64 // reconnects of the connection when the log was compared last
}

func (t *tail) read(r raw) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r.seq > t.last.seq { // the end that the log had at the start says more than what is read until there
		t.last.seq, t.last.at = r.seq, r.at
	}
}

func (t *tail) mark() mark {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}

// tailOf is what this process has read of a shard's log; nil when it does not follow it.
func (b *Bus) tailOf(shard int) *tail {
	if t, ok := b.marks.Load(shard); ok {
		return t.(*tail)
	}
	return nil
}

// markOf is the last message that this process has read of a shard's log.
func (b *Bus) markOf(shard int) mark {
	if t := b.tailOf(shard); t != nil {
		return t.mark()
	}
	return mark{}
}

// begin marks the end of a log, for a follower that begins to read it.
func (b *Bus) begin(shard int, info *jetstream.StreamInfo) *tail {
	t := &tail{last: mark{info.State.LastSeq, info.State.LastTime, info.Created}, connect: b.nc.Stats().Reconnects}
	b.marks.Store(shard, t)
	return t
}

// sameLog returns [ErrOtherLog] when the log of a shard that this process follows is
// not the one that it has read, or has lost a fact that HISTORY has: a slow connection has
// not brought all of the log that was replaced. It queries the server once after each
// reconnect, or with always.
func (b *Bus) sameLog(ctx context.Context, shard int, always bool) error {
	t := b.tailOf(shard)
	if t == nil {
		return nil
	}
	connect := b.nc.Stats().Reconnects
	t.mu.Lock()
	done := t.connect == connect
	t.mu.Unlock()
	if done && !always {
		return nil
	}
	whole, err := b.Shard(shard).whole(ctx)
	if err != nil {
		return err
	}
	if !whole {
		return fmt.Errorf("shard %d: %w", shard, ErrOtherLog)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.connect = connect
	return nil
}
