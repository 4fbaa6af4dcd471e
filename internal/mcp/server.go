// Package mcp serves the tools of MCP servers on the bus, and the tools of the
// bus to MCP clients.
//
// A [Server] is an external MCP server: the package starts it or connects to
// it, restarts it when it fails, and makes each of its tools a [tool.Tool]. A
// [Gateway] serves Parley's tools to MCP clients.
//
// A server's faults affect only its own calls: garbage on its output, endless
// answers, silence and crashes become errors of the affected calls. A call that
// certainly did not start is sent again when the server is back. The error of a
// call that may have started depends on its effect class: [tool.Retry] if it
// may be retried, else [Unknown].
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
	"github.com/parleybus/parley/internal/mcp/oauth"
	"github.com/parleybus/parley/internal/tool"
)

const (
	// longestRestart bounds the backoff before a restart.
	longestRestart = 30 * time.Second
	// defaultStart is the start timeout of a server without one.
	defaultStart = time.Minute
	// stableAfter is the uptime after which the restart backoff is reset.
	stableAfter = time.Minute
	// maxMessage bounds a message from a server, in bytes.
	maxMessage = 64 << 20
)

// Server is an external MCP server: a command that uses its standard input and
// output, or the URL of a server with streamable HTTP.
type Server struct {
	// Name is the name for people.
	Name string
	// Command is the program and its arguments; no shell interprets them.
	Command []string
	// Env is added to the few variables that a command gets (HOME, PATH and the
	// like): "NAME=value", or "NAME" to pass on the worker's variable.
	Env []string
	// Dir is the command's working directory; empty means the worker's.
	Dir string
	// URL is the address of a server without a Command.
	URL string
	// Header is sent with each request to the URL's host and to no other.
	Header map[string]string
	// Logins is the directory of the logins at servers; empty means none. A URL with
	// an Authorization in Header has none either.
	Logins string
	// OAuth is the client for a login; the zero value registers itself.
	OAuth oauth.Client
	// Learn gets the tokens of logins, which nothing may show; may be nil.
	Learn func(values ...string)
	// Prefix is prepended to the name of each tool.
	Prefix string
	// Timeout bounds a call; 0 means the worker's timeout.
	Timeout time.Duration
	// Startup bounds connecting and listing tools; 60 s if zero. A command's first
	// start may take longer while it works.
	Startup time.Duration
	// WaitTimeout bounds how long a call waits for an unavailable server; 30 s
	// if zero.
	WaitTimeout time.Duration
	// Heartbeat is the interval and the timeout of pings to a server that runs
	// no call; 30 s if zero.
	Heartbeat time.Duration
	// Restart is the backoff before the first restart, doubled with each
	// further one up to 30 s; 500 ms if zero.
	Restart time.Duration
	// Report is called when the server's tools become missing, with the reason, and
	// when they have been listed; may be nil. It must not block.
	Report func(State)
	Log    *slog.Logger

	patient bool // Startup is the default
}

// State describes a server to people.
type State struct {
	// Err is why its tools are missing; nil if they are not.
	Err error
	// Omitted are those that cannot be used.
	Omitted []events.OmittedTool
}

func (s *Server) report(state State) {
	if s.Report != nil {
		s.Report(state)
	}
}

// Unknown is the error of a call that may have taken effect and must not be
// retried automatically.
type Unknown struct{ Err error }

// Error implements error.
func (u *Unknown) Error() string {
	return fmt.Sprintf("%v; it is not known whether the call took effect: find out before you make it again", u.Err)
}

// Unwrap returns the cause.
func (u *Unknown) Unwrap() error { return u.Err }

// Status returns the status of such a call.
func (u *Unknown) Status() events.Status { return events.StatusUnknown }

// Run keeps the server running until ctx ends. It calls set with the server's
// tools when they are first known and whenever they change. The tools remain
// while the server is unavailable, also after Run has ended: their calls wait
// for the server. Run returns an error only if the server can never run.
func (s *Server) Run(ctx context.Context, set func(tools ...tool.Tool) error) error {
	if err := s.valid(); err != nil {
		return err
	}
	own := *s
	own.patient = s.Startup == 0
	own.Startup = cmp.Or(s.Startup, defaultStart)
	own.WaitTimeout = cmp.Or(s.WaitTimeout, 30*time.Second)
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
		if time.Since(began) > stableAfter {
			wait = own.Restart
		}
		own.report(State{Err: err})
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
