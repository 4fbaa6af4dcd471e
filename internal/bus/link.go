package bus

import (
	"sync"
	"time"
)

// link is what a Bus knows of its connection. The zero value is ready.
type link struct {
	mu        sync.Mutex
	since     time.Time     // the server has answered without a break since then
	reconnect chan struct{} // closed at the next reconnect
}

// broken records that the server could not be used until now.
func (l *link) broken() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.since = time.Now()
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
// no connection.
func (b *Bus) steady() time.Duration {
	if !b.nc.IsConnected() {
		return 0
	}
	b.link.mu.Lock()
	defer b.link.mu.Unlock()
	return time.Since(b.link.since)
}

// Reconnected returns a channel that is closed when the connection to the server
// is made anew.
func (b *Bus) Reconnected() <-chan struct{} { return b.link.reconnected() }
