package bus

import (
	"sync"
	"time"

	"github.com/parleybus/parley/internal/topology"
)

// link is what a Bus knows of its connection. The zero value is ready.
type link struct {
	mu        sync.Mutex
	since     time.Time           // the server has answered without a break since then
	reconnect chan struct{}       // closed at the next reconnect
	announces map[*time.Time]bool // when those announcements were sent that have no answer
}

// announcing records that this process announces itself, and returns how to record
// whether it could. While it cannot, others cannot either: see UntilGone.
func (l *link) announcing() (ended func(ok bool)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.announces == nil {
		l.announces = map[*time.Time]bool{}
	}
	sent := time.Now()
	l.announces[&sent] = true
	return func(ok bool) {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.announces, &sent)
		if now := time.Now(); !ok || now.Sub(sent) > topology.WorkerBeat {
			l.since = now
		}
	}
}

// connected records that there is a connection, and wakes goroutines that wait for
// one.
func (l *link) connected() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.since = time.Now()
	if l.reconnect != nil {
		close(l.reconnect)
		l.reconnect = nil
	}
}

// reconnected returns a channel that is closed at the next reconnect.
func (l *link) reconnected() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reconnect == nil {
		l.reconnect = make(chan struct{})
	}
	return l.reconnect
}

// steady is how long the server has answered without a break; 0 while there is
// no connection, or while an announcement waits for longer than a beat.
func (b *Bus) steady() time.Duration {
	if !b.nc.IsConnected() {
		return 0
	}
	return b.link.steady()
}

func (l *link) steady() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	for sent := range l.announces {
		if time.Since(*sent) > topology.WorkerBeat {
			return 0
		}
	}
	return time.Since(l.since)
}

// Reconnected returns a channel that is closed when the connection to the server
// is made anew.
func (b *Bus) Reconnected() <-chan struct{} { return b.link.reconnected() }
