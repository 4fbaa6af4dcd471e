// Package refusal is a log for a NATS server that keeps what users were refused, for those
// who check that a program stays within its permissions.
package refusal

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Log is a server's log that keeps what users were refused, and discards the
// rest. The zero value is ready.
type Log struct {
	mu  sync.Mutex
	all []string
}

// All returns the publishes and subscriptions that the server refused because a user
// may not do them, in the server's words.
func (r *Log) All() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all)
}

// Errorf implements the server's Logger.
func (r *Log) Errorf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	if !strings.Contains(text, "Publish Violation") && !strings.Contains(text, "Subscription Violation") {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, text)
}

// Noticef implements the server's Logger.
func (*Log) Noticef(string, ...any) {}

// Warnf implements the server's Logger.
func (*Log) Warnf(string, ...any) {}

// Fatalf implements the server's Logger.
func (*Log) Fatalf(string, ...any) {}

// Debugf implements the server's Logger.
func (*Log) Debugf(string, ...any) {}

// Tracef implements the server's Logger.
func (*Log) Tracef(string, ...any) {}
