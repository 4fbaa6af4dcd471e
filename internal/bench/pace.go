package bench

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parleybus/parley/internal/bench/meter"
	"github.com/parleybus/parley/internal/bus"
)

// rowRun controls one row of the table: all its streams start together, the
// events that arrive between from and to are measured, then the streams end.
type rowRun struct {
	clock time.Time     // times are nanoseconds since clock
	ready chan struct{} // one token per party; begin waits for all
	begin chan struct{} // closed when the streams start
	over  chan struct{} // closed when they end
	start int64         // when begin was closed
	from  atomic.Int64
	to    atomic.Int64

	// For a row whose streams are in another process: began is called when they start,
	// measured at the beginning of the window and at its end. Each may be nil.
	began    func() error
	measured func(beginning bool) error
}

func newRowRun(clock time.Time, parties int) *rowRun {
	r := &rowRun{clock: clock, ready: make(chan struct{}, parties), begin: make(chan struct{}), over: make(chan struct{})}
	r.from.Store(math.MaxInt64)
	r.to.Store(math.MaxInt64)
	return r
}

func (r *rowRun) isOver() bool {
	select {
	case <-r.over:
		return true
	default:
		return false
	}
}

func (r *rowRun) now() int64 { return int64(time.Since(r.clock)) }

// measure waits for the parties, runs the streams for a warm-up and the window,
// and ends them. It returns the usage of the window.
func (r *rowRun) measure(ctx context.Context, parties int, window time.Duration) (meter.Usage, error) {
	defer close(r.over)
	for range parties {
		select {
		case <-r.ready:
		case <-ctx.Done():
			return meter.Usage{}, context.Cause(ctx)
		}
	}
	r.start = r.now()
	close(r.begin)
	if r.began != nil {
		if err := r.began(); err != nil {
			return meter.Usage{}, err
		}
	}
	if !bus.Pause(ctx, min(window/2, 300*time.Millisecond)) {
		return meter.Usage{}, context.Cause(ctx)
	}
	if r.measured != nil {
		if err := r.measured(true); err != nil {
			return meter.Usage{}, err
		}
	}
	began := meter.Start()
	r.from.Store(r.now())
	whole := bus.Pause(ctx, window)
	r.to.Store(r.now())
	used := began.Stop()
	if !whole {
		return used, context.Cause(ctx)
	}
	if r.measured != nil {
		return used, r.measured(false)
	}
	return used, nil
}

// pacer schedules a stream's events: at a fixed rate regardless of delivery, or
// with at most window events in flight to the viewer.
type pacer struct {
	row      *rowRun
	rate     float64 // events per second; 0 for as many as the window allows
	phase    float64 // offset of the stream as a fraction of an event, so that streams do not send in step
	window   int64
	sent     int64
	seen     atomic.Int64
	progress chan struct{} // holds a token when seen has grown
}

func newPacer(row *rowRun, rate, phase float64, window int64) *pacer {
	return &pacer{row: row, rate: rate, phase: phase, window: window, progress: make(chan struct{}, 1)}
}

// take blocks until events are due and returns how many, at most most; 0 at the
// end of the row.
func (p *pacer) take(ctx context.Context, most int64) int64 {
	select {
	case <-p.row.begin:
	case <-p.row.over:
		return 0
	case <-ctx.Done():
		return 0
	}
	for {
		if p.row.isOver() {
			return 0
		}
		if n := min(p.due(), most); n > 0 {
			p.sent += n
			return n
		}
		if !p.wait(ctx) {
			return 0
		}
	}
}

func (p *pacer) due() int64 {
	if p.rate > 0 {
		return int64(float64(p.row.now()-p.row.start)/1e9*p.rate+p.phase) - p.sent
	}
	return p.window - (p.sent - p.seen.Load())
}

func (p *pacer) wait(ctx context.Context) bool {
	var next <-chan time.Time
	if p.rate > 0 {
		at := p.row.start + int64((float64(p.sent+1)-p.phase)/p.rate*1e9)
		t := time.NewTimer(time.Duration(at - p.row.now()))
		defer t.Stop()
		next = t.C
	}
	select {
	case <-next:
	case <-p.progress:
	case <-p.row.over:
		return false
	case <-ctx.Done():
		return false
	}
	return true
}

// saw reports to the pacer that a viewer received events.
func (p *pacer) saw(events int64) {
	p.seen.Add(events)
	select {
	case p.progress <- struct{}{}:
	default:
	}
}

// An event's text starts with the time at which the decoder got it, in
// hexadecimal nanoseconds of the row's clock.
const stampLength = 12

func appendText(dst []byte, now int64) []byte {
	const hex = "0123456789abcdef"
	for shift := (stampLength - 1) * 4; shift >= 0; shift -= 4 {
		dst = append(dst, hex[now>>shift&0xf])
	}
	return append(dst, " quick fox"...)
}

// textTime returns the time at the start of a text.
func textTime(text string) (int64, error) {
	if len(text) < stampLength {
		return 0, fmt.Errorf("the text %q has no time in it", text)
	}
	return strconv.ParseInt(text[:stampLength], 16, 64)
}

// Chunks in OpenAI's format.
const (
	chunkHead = `data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,"model":"bench","service_tier":"default","system_fingerprint":"fp_bench","choices":[{"index":0,"delta":{"content":"`
	chunkTail = `"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"abcdefgh"}` + "\n\n"
	chunkStop = `data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,"model":"bench","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n"
)

func appendChunk(dst []byte, now int64) []byte {
	return append(appendText(append(dst, chunkHead...), now), chunkTail...)
}

// answerBody is the body of a provider's answer: paced chunks, each with the time
// at which it was read.
type answerBody struct {
	ctx   context.Context
	pace  *pacer
	buf   []byte
	rest  []byte
	sent  int64
	ended bool
}

// answerEvents bounds the events of one answer, so that it stays below the length from
// which a worker reads slowly, and below the ceilings of a deployment.
const answerEvents = 100_000

// burst bounds the chunks per read, like a socket that was not read for a while.
const burst = 64

func (b *answerBody) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		if b.ended {
			return 0, io.EOF
		}
		n := int64(0)
		if b.sent < answerEvents {
			n = b.pace.take(b.ctx, burst)
			b.sent += n
		}
		now := b.pace.row.now()
		b.buf = b.buf[:0]
		for range n {
			b.buf = appendChunk(b.buf, now)
		}
		if b.ended = n == 0; b.ended {
			b.buf = append(b.buf, chunkStop...)
		}
		b.rest = b.buf
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// viewerSamples holds the delays that one viewer measured in the window.
type viewerSamples struct {
	mu       sync.Mutex
	delays   []int64 // nanoseconds
	messages int
	events   int64 // also outside of the window

	stalls bool // stands still for the window
}

// memoryOf is how many bytes the delays take.
func memoryOf(all []*viewerSamples) (bytes int64) {
	for _, s := range all {
		s.mu.Lock()
		bytes += int64(cap(s.delays)) * 8
		s.mu.Unlock()
	}
	return bytes
}

// checkStalled compares what the last viewer of a conversation has seen with what the
// first one has, if the last one stood still.
func checkStalled(viewers []*viewerSamples) error {
	first, last := viewers[0], viewers[len(viewers)-1]
	if last.stalls && last.events != first.events {
		return fmt.Errorf("a viewer that stood still has seen %d events, another one %d", last.events, first.events)
	}
	return nil
}

// sortedDelays returns the delays of all viewers in order.
func sortedDelays(all []*viewerSamples) (delays []int64, messages int) {
	for _, s := range all {
		s.mu.Lock()
		delays = append(delays, s.delays...)
		messages += s.messages
		s.mu.Unlock()
	}
	slices.Sort(delays)
	return delays, messages
}

// quantile returns a quantile of sorted delays in milliseconds; 0 for none.
func quantile(sorted []int64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[int(q*float64(len(sorted)-1))]) / 1e6
}
