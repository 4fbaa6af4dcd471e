package parley

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
)

const (
	// timerTimeout is how long after a Decision its timer may be set: by then the
	// server lists the conversation among those that wait.
	timerTimeout = 10 * time.Second
	// pausedMost bounds the conversations that a client remembers.
	pausedMost = 1024
)

// paused remembers the conversations that a client has just seen pausing. The server
// lists those with a timer, which the orchestrator sets after its Decision: who has
// seen the Decision must find the conversation at once.
type paused struct {
	mu   sync.Mutex
	seen map[string]time.Time
}

// note records the conversation of a message that pauses it.
func (p *paused) note(m *bus.Message) {
	if len(m.Lines) == 0 {
		return
	}
	d, ok := m.Lines[0].Event.(*events.Decision)
	if !ok || d.State.Phase != events.PhasePaused {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire()
	if p.seen == nil {
		p.seen = map[string]time.Time{}
	}
	if len(p.seen) < pausedMost {
		p.seen[m.Conversation] = time.Now()
	}
}

// with returns the ids and those that are remembered, each once.
func (p *paused) with(ids []string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire()
	if len(p.seen) == 0 {
		return ids
	}
	ids = slices.AppendSeq(ids, maps.Keys(p.seen))
	slices.Sort(ids)
	return slices.Compact(ids)
}

func (p *paused) expire() {
	maps.DeleteFunc(p.seen, func(_ string, at time.Time) bool { return time.Since(at) > timerTimeout })
}
