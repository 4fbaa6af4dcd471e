package brokertest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// refusals is a server's log that keeps what users were refused, and discards the
// rest.
type refusals struct {
	mu  sync.Mutex
	all []string
}

// Refused returns the publishes and subscriptions that the server refused because
// a user may not do them, in the server's words.
func (a Accounts) Refused() []string {
	a.refused.mu.Lock()
	defer a.refused.mu.Unlock()
	return slices.Clone(a.refused.all)
}

// Errorf implements the server's Logger.
func (r *refusals) Errorf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	if !strings.Contains(text, "Publish Violation") && !strings.Contains(text, "Subscription Violation") {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, text)
}

// Noticef implements the server's Logger.
func (*refusals) Noticef(string, ...any) {}

// Warnf implements the server's Logger.
func (*refusals) Warnf(string, ...any) {}

// Fatalf implements the server's Logger.
func (*refusals) Fatalf(string, ...any) {}

// Debugf implements the server's Logger.
func (*refusals) Debugf(string, ...any) {}

// Tracef implements the server's Logger.
func (*refusals) Tracef(string, ...any) {}
