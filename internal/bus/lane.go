package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/parleybus/parley/internal/events"
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
// The first failure is final: every later call returns it.
type LaneWriter struct {
	bus     *Bus
	address topology.Address
	ctx     context.Context
	stop    context.CancelCauseFunc
	done    chan struct{}

	mu     sync.Mutex
	change sync.Cond // buf, busy or err changed
	buf    []byte    // whole lines, each with its newline
	spare  []byte
	busy   bool
	seq    uint64
	frames int
	err    error
	closed bool
}

// Open opens a lane whose last message has sequence after. Its goroutine ends with
// Close.
func (l Lane) Open(ctx context.Context, after uint64) *LaneWriter {
	ctx, stop := context.WithCancelCause(ctx)
	w := &LaneWriter{bus: l.bus, address: l.address, ctx: ctx, stop: stop, done: make(chan struct{}), seq: after}
	w.change.L = &w.mu
	context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.change.Broadcast()
	})
	go w.run()
	return w
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
	if !l.busy {
		l.change.Broadcast()
	}
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

// Close takes no more events, flushes the lane and ends its goroutine. It may
// be called again and returns the same.
func (l *LaneWriter) Close() (uint64, error) {
	l.mu.Lock()
	l.closed = true // first: events that Append accepts after this would not be flushed
	l.change.Broadcast()
	l.mu.Unlock()
	seq, err := l.Flush()
	l.stop(errClosed)
	<-l.done
	return seq, err
}

// Frames is the number of messages written so far.
func (l *LaneWriter) Frames() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.frames
}

func (l *LaneWriter) run() {
	defer close(l.done)
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		for len(l.buf) == 0 && l.ctx.Err() == nil {
			l.change.Wait()
		}
		if l.ctx.Err() != nil {
			return
		}
		frame := l.take()
		after := l.seq
		l.busy = true
		l.mu.Unlock()
		seq, err := l.bus.Lane(l.address).Append(l.ctx, after, bytes.TrimSuffix(frame, []byte{'\n'}))
		l.mu.Lock()
		l.busy = false
		if err != nil {
			l.err = err
			l.change.Broadcast()
			return
		}
		l.seq, l.frames = seq, l.frames+1
		l.change.Broadcast()
	}
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
