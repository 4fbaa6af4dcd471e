package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/bench/meter"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm/openai"
	"github.com/parleybus/parley/internal/topology"
)

// Part is the processor time of one part alone, of all threads and the garbage
// collector, in microseconds per event.
type Part struct {
	Name  string  `json:"name"`
	Alone float64 `json:"cpu_us_per_event"`        // one event per frame
	Frame float64 `json:"cpu_us_per_event_framed"` // many events per frame
	How   string  `json:"how"`
	// Within marks a part that another part includes; it is not added to the sum.
	Within bool `json:"within,omitempty"`
}

// laneCount is the number of conversations for parts that need the server.
const laneCount = 32

// partRunner measures parts one after the other, with frames of the same length.
type partRunner struct {
	stage  *stage
	frame  int // events per frame
	budget time.Duration
	lines  []byte // one frame
	events []events.Event
}

// parts measures every part for the given time, with one event per frame and with
// many. The roles must be stopped.
func (s *stage) parts(ctx context.Context, frame int, budget time.Duration) ([]Part, error) {
	parts, err := s.partsOf(ctx, 1, budget)
	if err != nil {
		return nil, err
	}
	framed, err := s.partsOf(ctx, frame, budget)
	for i := range framed {
		parts[i].Frame = framed[i].Alone
	}
	return parts, err
}

func (s *stage) partsOf(ctx context.Context, frame int, budget time.Duration) ([]Part, error) {
	p := &partRunner{stage: s, frame: frame, budget: budget}
	for i := range frame {
		p.events = append(p.events, chunkEvent(i))
	}
	var err error
	if p.lines, err = events.AppendFrame(nil, p.events...); err != nil {
		return nil, err
	}
	begin, _, err := s.raw.Shard(0).End(ctx)
	if err != nil {
		return nil, err
	}
	store, err := p.publish(ctx, 0)
	if err != nil {
		return nil, err
	}
	watched, err := p.publish(ctx, laneCount)
	if err != nil {
		return nil, err
	}
	lane, err := p.lane(ctx)
	if err != nil {
		return nil, err
	}
	follow, err := p.follow(ctx, begin)
	if err != nil {
		return nil, err
	}
	encode := p.encode()
	return []Part{
		{Name: "decode", Alone: p.decode(), How: "openai.Decode over chunks in memory"},
		{Name: "encode", Alone: encode, How: "events.Append"},
		{Name: "lane, publish", Alone: max(0, lane-encode-store), How: "bus.Lane: gather, publish, wait for the acknowledgement (lanes on the server, less encode and store)"},
		{Name: "store, republish", Alone: store, How: "server: the frames published without acknowledgement, nobody subscribed"},
		{Name: "follow", Alone: follow, How: "orchestrator: bus.Follow reads the frames from the log and decodes them"},
		{Name: "fold", Alone: p.fold(), How: "orchestrator: accumulator.Conversation.Apply"},
		{Name: "viewer", Alone: max(0, watched-store), How: "bus.Attach: delivery, splice, decode (store with a viewer each, less store)"},
		{Name: "decode a frame", Alone: p.decodeFrame(), How: "events.DecodeFrame, a part of follow and of viewer", Within: true},
	}, nil
}

// cost runs a part for the given time and returns its cost per event.
func (p *partRunner) cost(run func() int) float64 {
	began := meter.Start()
	n := 0
	for time.Since(began.At) < p.budget {
		n += run()
	}
	return microsPerEvent(began.Stop(), n)
}

func microsPerEvent(c meter.Usage, events int) float64 {
	return float64(c.CPU.Nanoseconds()) / 1e3 / float64(max(events, 1))
}

func (p *partRunner) decode() float64 {
	var body []byte
	for i := range 2000 {
		body = appendChunk(body, int64(i))
	}
	body = append(body, chunkStop...)
	return p.cost(func() int {
		n := 0
		for range openai.Decode(bytes.NewReader(body)) {
			n++
		}
		return n
	})
}

func (p *partRunner) encode() float64 {
	var dst []byte
	return p.cost(func() int {
		dst = dst[:0]
		for _, e := range p.events {
			dst, _ = events.Append(dst, e) // a TextChunk cannot fail
			dst = append(dst, '\n')
		}
		return len(p.events)
	})
}

func (p *partRunner) decodeFrame() float64 {
	return p.cost(func() int {
		lines, err := events.DecodeFrame(p.lines)
		if err != nil {
			return 0
		}
		return len(lines)
	})
}

// fold folds answers of 1,000 frames.
func (p *partRunner) fold() float64 {
	lines := make([]events.Line, len(p.events))
	chunks := make([]events.TextChunk, len(p.events))
	return p.cost(func() int {
		c := accumulator.Conversation{State: events.State{Phase: events.PhaseGenerating, Generation: "g"}}
		c.Apply(accumulator.Message{Channel: events.ChannelGen, Sequence: 1, Lines: []events.Line{{Event: &events.GenerationStarted{Generation: "g"}}}})
		index := 0
		for seq := range 1000 {
			for i, e := range p.events {
				index++
				chunks[i] = *e.(*events.TextChunk)
				chunks[i].Attempt, chunks[i].Index = "", index
				lines[i].Event = &chunks[i]
			}
			c.Apply(accumulator.Message{Channel: events.ChannelGen, Sequence: uint64(seq + 2), Lines: lines})
		}
		return index
	})
}

// lane writes to lanes, one frame per message.
func (p *partRunner) lane(ctx context.Context) (float64, error) {
	g, run := errgroup.WithContext(ctx)
	counts := make([]int, laneCount)
	began := meter.Start()
	for i := range laneCount {
		g.Go(func() error {
			a, err := newLane()
			if err != nil {
				return err
			}
			lane := p.stage.roles.Lane(a).Open(run, 0)
			for time.Since(began.At) < p.budget && err == nil {
				for _, e := range p.events {
					if err = lane.Append(e); err != nil {
						break
					}
					counts[i]++
				}
				if err == nil {
					_, err = lane.Flush()
				}
			}
			_, closeErr := lane.Close()
			return errors.Join(err, closeErr)
		})
	}
	err := g.Wait()
	return microsPerEvent(began.Stop(), sum(counts)), err
}

func sum(counts []int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

func newLane() (topology.Address, error) {
	id, err := uuid.NewV7()
	return topology.At(1, id.String(), events.ChannelGen), err
}

// publish publishes frames round-robin to lanes, acknowledged only for the last
// of a round, while viewers follow that many lanes.
func (p *partRunner) publish(ctx context.Context, viewers int) (float64, error) {
	nc, js := p.stage.raw.Raw()
	var subjects []string
	g, run := errgroup.WithContext(ctx)
	run, done := context.WithCancelCause(run)
	defer done(nil)
	seen := make(chan struct{}, 1<<16)
	for i := range laneCount {
		a, err := newLane()
		if err != nil {
			return 0, err
		}
		subjects = append(subjects, a.Subject(topology.Conv))
		if i < viewers {
			g.Go(func() error { return p.watch(run, a.Conversation, seen) })
		}
	}
	round := func() error {
		for _, subject := range subjects[1:] {
			if err := nc.Publish(subject, p.lines); err != nil {
				return err
			}
		}
		if _, err := js.Publish(ctx, subjects[0], p.lines); err != nil {
			return err
		}
		for range viewers {
			select {
			case <-seen:
			case <-run.Done():
				return context.Cause(run)
			}
		}
		return nil
	}
	err := round() // viewers that received it are attached
	n := 0
	began := meter.Start()
	for err == nil && time.Since(began.At) < p.budget {
		err = round()
		n += len(subjects) * p.frame
	}
	micros := microsPerEvent(began.Stop(), n)
	done(errMeasured)
	return micros, errors.Join(err, g.Wait())
}

// errMeasured ends viewers.
var errMeasured = errors.New("the part is measured")

func (p *partRunner) watch(ctx context.Context, conversation string, seen chan<- struct{}) error {
	for _, err := range p.stage.viewers.Conversation(conversation).Attach(ctx, bus.From{}) {
		if errors.Is(err, errMeasured) {
			return nil
		}
		if err != nil {
			return err
		}
		seen <- struct{}{}
	}
	return errors.New("the viewer's log ended")
}

// follow reads the messages of the other parts after a sequence.
func (p *partRunner) follow(ctx context.Context, after uint64) (float64, error) {
	last, _, err := p.stage.raw.Shard(0).End(ctx)
	if err != nil {
		return 0, err
	}
	n := 0
	var began meter.Meter
	var cost meter.Usage
	err = p.stage.roles.Shard(0).Follow(ctx, after, func(m bus.Message) error {
		if n == 0 { // the cost of the start does not belong to the events
			began = meter.Start()
		}
		n += len(m.Lines)
		if m.Sequence >= last || time.Since(began.At) > p.budget {
			cost = began.Stop()
			return errMeasured
		}
		return m.Bad
	}, func() error { return nil })
	if !errors.Is(err, errMeasured) {
		return 0, fmt.Errorf("follow the log: %w", err)
	}
	return microsPerEvent(cost, n), nil
}
