package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/fault"
	"github.com/parleybus/parley/internal/topology"
)

// A lane blocks its writer when this much waits for the acknowledgement,
// and puts at most frameBytes into one message: fewer lines than
// [events.MaxLines], however short the events.
const (
	laneBuffer = 4 << 20
	frameBytes = 64 << 10
)

var errClosed = errors.New("the lane is closed")

// LaneWriter is the one writer of a literal subject. Events go out at once
// while the lane is idle; while an acknowledgement is out they gather, and the
// next frame carries them all. One publish is in flight at a time: order, no
// loss, no duplicates and fencing follow from each frame naming the sequence it
// follows.
//
// A frame goes out from the goroutine that appends, or that receives the
// acknowledgement before it. Only one that is refused, or has no answer, gets a
// goroutine, which settles it as [Lane.Append] does.
//
// The first failure is final: every later call returns it.
type LaneWriter struct {
	bus      *Bus
	address  topology.Address
	stream   string
	ctx      context.Context
	stop     context.CancelCauseFunc
	settling sync.WaitGroup

	mu     sync.Mutex
	change sync.Cond // buf, busy or err changed
	buf    []byte    // whole lines, each with its newline
	spare  []byte
	msg    nats.Msg // the frame that is out
	busy   bool     // there is one
	waits  bool     // for its acknowledgement
	sent   int64    // in this round of the sweep
	seq    uint64
	wakes  bool // what was appended has something to decide on
	frames int
	err    error
	closed bool
}

// Open opens a lane whose last message has sequence after. It is to be closed.
func (l Lane) Open(ctx context.Context, after uint64) *LaneWriter {
	ctx, stop := context.WithCancelCause(ctx)
	w := &LaneWriter{bus: l.bus, address: l.address, stream: topology.ConvStream(l.address.Shard), ctx: ctx, stop: stop, seq: after}
	w.change.L = &w.mu
	// What each append to the turn lane checks needs a request of its own.
	if l.address.Check() == nil && l.address.Channel != events.ChannelTurn {
		w.msg = nats.Msg{Subject: l.address.Subject(topology.Conv), Reply: l.bus.acks.add(l.bus.nc, w), Header: nats.Header{}}
	}
	context.AfterFunc(ctx, w.release)
	return w
}

// release wakes those who wait for a lane whose context has ended.
func (l *LaneWriter) release() {
	l.bus.acks.remove(l.msg.Reply)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waits = false
	l.change.Broadcast()
}

// Append hands an event to the lane. It blocks only while [laneBuffer] bytes
// are waiting.
func (l *LaneWriter) Append(e events.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.buf) >= laneBuffer && l.err == nil && !l.closed && l.ctx.Err() == nil {
		l.change.Wait()
	}
	if err := l.failure(); err != nil {
		return err
	}
	buf, err := events.Append(l.buf, e)
	if err != nil {
		return err
	}
	l.buf = append(buf, '\n')
	l.wakes = l.wakes || l.address.Channel == events.ChannelGen && events.Decisive(e)
	l.next()
	return nil
}

func (l *LaneWriter) failure() error {
	switch {
	case l.err != nil:
		return l.err
	case l.ctx.Err() != nil && context.Cause(l.ctx) != errClosed:
		return context.Cause(l.ctx)
	case l.closed:
		return fmt.Errorf("append to %s: %w", l.address.Subject(topology.Conv), errClosed)
	}
	return nil
}

// Flush waits until everything appended is stored, and returns the position.
func (l *LaneWriter) Flush() (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for (len(l.buf) > 0 || l.busy) && l.err == nil && l.ctx.Err() == nil {
		l.change.Wait()
	}
	if len(l.buf) == 0 && !l.busy && l.err == nil {
		return l.seq, nil
	}
	return l.seq, l.failure()
}

// Close takes no more events, flushes the lane and ends what it has started. It may
// be called again and returns the same.
func (l *LaneWriter) Close() (uint64, error) {
	l.mu.Lock()
	l.closed = true // first: events that Append accepts after this would not be flushed
	l.change.Broadcast()
	l.mu.Unlock()
	seq, err := l.Flush()
	l.mu.Lock()
	l.stop(errClosed) // under the lock: none starts to settle after it
	l.mu.Unlock()
	l.release()
	l.settling.Wait()
	return seq, err
}

// Frames is the number of messages written so far.
func (l *LaneWriter) Frames() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.frames
}

// next sends the next frame, unless one is out; l.mu is held.
func (l *LaneWriter) next() {
	if l.busy || len(l.buf) == 0 || l.ctx.Err() != nil {
		return
	}
	l.busy, l.msg.Data = true, bytes.TrimSuffix(l.take(), []byte{'\n'})
	if l.waits = l.send(); !l.waits {
		l.settle()
	}
}

// send publishes the frame that is out, and reports whether its acknowledgement will
// tell how that ended; l.mu is held.
func (l *LaneWriter) send() bool {
	if l.msg.Reply == "" || len(l.msg.Data) > l.bus.payload || fits(l.address.Channel, l.msg.Data) != nil {
		return false
	}
	if !fault.Planted(fault.SkipExpected) {
		l.msg.Header[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(l.seq, 10)}
	}
	l.sent = l.bus.acks.round.Load()
	return l.bus.nc.PublishMsg(&l.msg) == nil
}

// acknowledged is called with the sequence at which the frame that is out was stored,
// or 0 when it was not, or may not have been.
func (l *LaneWriter) acknowledged(seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !l.waits || seq > 0 && seq <= l.seq: // or of an earlier frame, which was settled
	case seq == 0:
		l.settle()
	default:
		l.waits = false
		l.bus.writes.wrote(l.stream, nil)
		l.stored(seq, nil)
	}
}

// overdue settles a frame that went out in this round of the sweep or before.
func (l *LaneWriter) overdue(round int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waits && l.sent < round {
		l.settle()
	}
}

// settle finds out whether the frame that is out is stored, and stores it if it is
// not and may be; l.mu is held.
func (l *LaneWriter) settle() {
	if l.waits = false; l.ctx.Err() != nil {
		return
	}
	frame, after := l.msg.Data, l.seq
	l.settling.Go(func() {
		seq, err := l.bus.Lane(l.address).Append(l.ctx, after, frame)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.stored(seq, err)
	})
}

// stored records how the frame that was out ended, and sends the next one; l.mu is
// held.
func (l *LaneWriter) stored(seq uint64, err error) {
	l.busy = false
	if l.err = err; err == nil {
		l.seq, l.frames = seq, l.frames+1
		if l.wakes && len(l.buf) == 0 {
			l.wakes = false
			l.bus.wake(l.address.Shard)
		}
		l.next()
	}
	l.change.Broadcast()
}

// take removes the next frame from the buffer: all of it, or as many whole
// lines as fit.
func (l *LaneWriter) take() []byte {
	most := min(frameBytes, l.bus.payload)
	if len(l.buf) <= most {
		frame := l.buf
		l.buf, l.spare = l.spare[:0], frame
		return frame
	}
	end := bytes.LastIndexByte(l.buf[:most], '\n') + 1
	if end == 0 {
		end = bytes.IndexByte(l.buf, '\n') + 1
	}
	frame := bytes.Clone(l.buf[:end])
	l.buf = append(l.buf[:0], l.buf[end:]...)
	return frame
}
