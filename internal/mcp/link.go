package mcp

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
)

// link holds the current session for a server's tools.
type link struct {
	server  *Server
	set     func(tools ...tool.Tool) error
	check   tool.Validator       // caches compiled schemas
	legacy  bool                 // use the initialization of 2025-11-25 and before
	specs   []events.ToolSpec    // as last set
	setErr  string               // why they could not be set; "" if they were
	omitted []events.OmittedTool // tools of the last list that cannot be used
	slow    int                  // starts in a row that took too long

	mu      sync.Mutex
	session *session
	why     error         // why there is no session
	changed chan struct{} // closed when that changes
}

func newLink(s *Server, set func(tools ...tool.Tool) error) *link {
	return &link{server: s, set: set, why: errors.New("it has not started yet"), changed: make(chan struct{})}
}

func (l *link) put(s *session, why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.session, l.why = s, why
	close(l.changed)
	l.changed = make(chan struct{})
}

// wait returns the session; if there is none it waits until timeout fires.
func (l *link) wait(ctx context.Context, timeout <-chan time.Time) (*session, error) {
	for {
		l.mu.Lock()
		s, why, changed := l.session, l.why, l.changed
		l.mu.Unlock()
		if s != nil && !s.over() {
			return s, nil
		}
		if r, lasts := errors.AsType[*refusedError](why); lasts && s == nil {
			return nil, tool.Fail("the MCP server %s did not run the call: %v", l.server.Name, r)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-timeout:
			if why == nil {
				why = s.reason()
			}
			return nil, tool.Retry(fmt.Errorf("the MCP server %s is away, the call did not run: %w", l.server.Name, why), 0)
		}
	}
}

// serve connects, sets the tools and follows the server until it is lost or ctx
// ends.
func (l *link) serve(ctx context.Context) error {
	s := newSession(l)
	start, cancel := s.startTimeout(ctx)
	defer cancel()
	if err := s.connect(start); err != nil {
		// A command that does not support the newest initialization may fail on
		// it; over HTTP it refuses, and the SDK falls back itself.
		l.legacy = !l.legacy && s.stdio != nil
		err = fmt.Errorf("it could not be connected to: %w", s.refused(err))
		l.put(nil, err)
		return err
	}
	l.put(s, nil)
	err := s.offer(start)
	cancel()
	if err == nil {
		l.server.Log.Info("an MCP server is connected", "protocol", s.mcp.InitializeResult().ProtocolVersion, "tools", len(l.specs))
		err = s.follow(ctx)
	}
	err = s.refused(err)
	s.end(err)
	l.put(nil, err)
	s.close()
	return err
}

// follow waits for changes and sends heartbeats.
func (s *session) follow(ctx context.Context) error {
	beat := time.NewTicker(s.link.server.Heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return errors.New("it was stopped")
		case <-s.done:
			return s.reason()
		case <-s.changed:
			if err := s.offer(ctx); err != nil && ctx.Err() == nil && !s.over() {
				s.link.server.Log.Warn("an MCP server's tools have changed; they stay as they were", "error", err)
			}
		case <-beat.C:
			// Many servers do one thing at a time: while a call runs, silence
			// is normal, and the call has its own deadline.
			if !s.busy() {
				s.beat(ctx, s.sign)
			}
		}
	}
}

// offer lists the server's tools and sets them if they have changed.
func (s *session) offer(ctx context.Context) error {
	list, err := s.list(ctx)
	if err != nil {
		return fmt.Errorf("its tools could not be listed: %w", s.refused(err))
	}
	l := s.link
	tools := l.tools(list)
	specs := make([]events.ToolSpec, len(tools))
	for i, t := range tools {
		specs[i] = t.Spec()
	}
	defer func() { l.server.report(State{Omitted: l.omitted}) }()
	if l.specs != nil && l.setErr == "" && reflect.DeepEqual(specs, l.specs) {
		return nil
	}
	l.specs = specs
	if err := l.set(tools...); err != nil {
		if err.Error() != l.setErr {
			l.server.Log.Error("the tools of an MCP server cannot be offered; give the server another prefix, or rename the other tool", "error", err)
		}
		l.setErr = err.Error()
		return nil
	}
	l.setErr = ""
	return nil
}
