// Package mcp brings the tools of MCP servers to the bus, and the bus' tools to
// MCP clients.
//
// A [Server] is a server of somebody else: it is started or connected to, kept
// alive and started again, and each of its tools becomes a [tool.Tool]. A
// [Gateway] is the other way round.
//
// What a server does wrong stays with the server: garbage on its output, answers
// without end, silence and crashes end in errors of the calls they hit. A call
// that certainly did not begin is made again when the server is back. One that
// may have begun is answered by its effect class: [tool.Retry] where it may be
// repeated, [Unknown] where it may not.
package mcp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
)

const (
	// longestRestart is the longest wait before a server is started again.
	longestRestart = 30 * time.Second
	// settled is how long a server must have lived for its next restart to be
	// quick again.
	settled = time.Minute
	// maxMessage is the longest message that is taken from a server, in bytes.
	maxMessage = 64 << 20
)

// Server is an MCP server of somebody else: a command that speaks over its
// standard input and output, or the URL of one that speaks streamable HTTP.
type Server struct {
	// Name is what people call it.
	Name string
	// Command is the program and its arguments; no shell reads them.
	Command []string
	// Env is added to the few variables that a command gets (HOME, PATH and such):
	// "NAME=value", or "NAME" to pass on ours.
	Env []string
	// Dir is the command's working directory; empty means ours.
	Dir string
	// URL is where the server listens, when there is no Command.
	URL string
	// Header is sent with each request to the URL's host and to no other.
	Header map[string]string
	// Prefix goes before the name of each tool.
	Prefix string
	// Timeout bounds a call; 0 leaves it to the worker.
	Timeout time.Duration
	// Startup bounds connecting and listing; 30 s when zero.
	Startup time.Duration
	// Patience is how long a call waits for a server that is away; 30 s when zero.
	Patience time.Duration
	// Heartbeat is how often a server that runs no call must give a sign of life,
	// and how long it has for that; 30 s when zero.
	Heartbeat time.Duration
	// Restart is the wait before the first restart, doubled with each further one
	// up to 30 s; 500 ms when zero.
	Restart time.Duration
	Log     *slog.Logger
}

// Unknown is the error of a call that may or may not have taken effect, and must
// not be made again on its own.
type Unknown struct{ Err error }

// Error implements error.
func (u *Unknown) Error() string {
	return fmt.Sprintf("%v; it is not known whether the call took effect: find out before you make it again", u.Err)
}

// Unwrap gives the cause.
func (u *Unknown) Unwrap() error { return u.Err }

// Status is how such a call ended.
func (u *Unknown) Status() events.Status { return events.StatusUnknown }

// Run keeps the server running until ctx ends, and calls set with its tools
// when they are known first and whenever they change. They stay while the server
// is away, also when Run has ended: calls wait for its return. It returns an
// error only for a server that cannot be run at all.
func (s *Server) Run(ctx context.Context, set func(tools ...tool.Tool) error) error {
	if err := s.valid(); err != nil {
		return err
	}
	own := *s
	own.Startup = cmp.Or(s.Startup, 30*time.Second)
	own.Patience = cmp.Or(s.Patience, 30*time.Second)
	own.Heartbeat = cmp.Or(s.Heartbeat, 30*time.Second)
	own.Restart = cmp.Or(s.Restart, 500*time.Millisecond)
	if own.Log == nil {
		own.Log = slog.New(slog.DiscardHandler)
	}
	own.Log = own.Log.With("server", s.Name)
	l := newLink(&own, set)
	for wait := own.Restart; ; wait = min(2*wait, longestRestart) {
		began := time.Now()
		err := l.serve(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) > settled {
			wait = own.Restart
		}
		pause := wait/2 + rand.N(wait/2+1)
		own.Log.Warn("an MCP server is away and will be started again", "error", err, "after", pause)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

func (s *Server) valid() error {
	switch {
	case len(s.Command) == 0 && s.URL == "":
		return fmt.Errorf("MCP server %q has neither a command nor a URL: give it one", s.Name)
	case len(s.Command) > 0 && s.URL != "":
		return fmt.Errorf("MCP server %q has a command and a URL: leave one out", s.Name)
	case s.URL != "":
		u, err := url.Parse(s.URL)
		if err == nil && (u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
			err = errors.New("it must begin with http:// or https:// and a host")
		}
		if err != nil {
			return fmt.Errorf("MCP server %q: URL %q: %w", s.Name, s.URL, err)
		}
	}
	return nil
}
