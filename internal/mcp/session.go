package mcp

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/parleybus/parley/internal/tool"
)

const (
	maxPages = 200  // pages of one list of tools
	maxTools = 1000 // tools of one server
	// legacy is the last protocol version whose sessions begin with initialize.
	legacyProtocol = "2025-11-25"
)

// session is one connection to a server, from its initialization to its end.
type session struct {
	link    *link
	mcp     *sdk.ClientSession
	stdio   *process                // nil over HTTP
	work    atomic.Pointer[process] // the same, for other goroutines
	http    *client                 // nil over stdio
	changed chan struct{}
	done    chan struct{}
	waiting sync.WaitGroup

	mu    sync.Mutex
	why   error
	last  int
	calls map[string]*call // by progress token
}

func newSession(l *link) *session {
	return &session{link: l, changed: make(chan struct{}, 1), done: make(chan struct{}), calls: map[string]*call{}}
}

// connect starts or connects to the server and initializes the session.
func (s *session) connect(ctx context.Context) error {
	server := s.link.server
	c := sdk.NewClient(&sdk.Implementation{Name: "parley", Version: "1"}, &sdk.ClientOptions{
		Logger: server.Log,
		Capabilities: &sdk.ClientCapabilities{Elicitation: &sdk.ElicitationCapabilities{
			Form: &sdk.FormElicitationCapabilities{}, URL: &sdk.URLElicitationCapabilities{},
		}},
		ToolListChangedHandler: func(context.Context, *sdk.ToolListChangedRequest) {
			select {
			case s.changed <- struct{}{}:
			default:
			}
		},
		ProgressNotificationHandler: func(_ context.Context, r *sdk.ProgressNotificationClientRequest) { s.progress(r.Params) },
		ElicitationHandler:          s.elicit,
	})
	var transport sdk.Transport
	if len(server.Command) > 0 {
		s.stdio = &process{server: server}
		s.work.Store(s.stdio)
		transport = s.stdio
	} else {
		s.http = newClient(server)
		transport = s.http.transport(server)
	}
	options := &sdk.ClientSessionOptions{}
	if s.link.legacy {
		options.ProtocolVersion = legacyProtocol
	}
	m, err := c.Connect(withExchange(ctx, &exchange{}), transport, options)
	if err != nil {
		s.release()
		if slow, is := errors.AsType[*slowError](context.Cause(ctx)); is {
			return fmt.Errorf("%w: %w", slow, err)
		}
		return err
	}
	s.mcp = m
	s.waiting.Go(func() {
		err := m.Wait()
		if err == nil {
			err = errors.New("it closed the connection")
		}
		s.end(err)
	})
	return nil
}

// list requests all tools, page by page.
func (s *session) list(ctx context.Context) ([]*sdk.Tool, error) {
	ctx, cancel := context.WithTimeout(ctx, s.link.server.Startup)
	defer cancel()
	var all []*sdk.Tool
	seen := map[string]bool{}
	for cursor := ""; ; {
		page, err := s.mcp.ListTools(withExchange(ctx, &exchange{}), &sdk.ListToolsParams{Cursor: cursor})
		if err != nil {
			return nil, err
		}
		all = append(all, page.Tools...)
		switch {
		case page.NextCursor == "":
			return all, nil
		case seen[page.NextCursor] || len(seen) == maxPages || len(all) > maxTools:
			s.link.server.Log.Warn("an MCP server's list of tools has no end and is cut", "tools", len(all), "pages", len(seen)+1)
			return all, nil
		}
		cursor = page.NextCursor
		seen[cursor] = true
	}
}

// beat ends the session if the server does not answer a heartbeat.
func (s *session) beat(ctx context.Context, sign func(context.Context) error) {
	after := s.link.server.Heartbeat
	limited, cancel := context.WithTimeout(ctx, after)
	defer cancel()
	err := sign(limited)
	switch {
	case err == nil || ctx.Err() != nil:
	case limited.Err() != nil:
		s.end(fmt.Errorf("it hangs: no sign of life within %s", after))
	default:
		s.end(err)
	}
}

// sign sends a heartbeat. Over HTTP it requests the list of tools: the newest
// protocol has no ping, and without a stream the server does not announce
// changes. It also retries setting tools that could not be set.
func (s *session) sign(ctx context.Context) error {
	if s.http != nil || s.link.setErr != "" {
		return s.offer(ctx)
	}
	err := s.mcp.Ping(ctx, nil)
	if _, answered := wireError(err); answered {
		return nil
	}
	return err
}

// end ends the session and its calls with a reason. Only the first reason
// counts.
func (s *session) end(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.why != nil {
		return
	}
	s.why = why
	close(s.done)
	for _, c := range s.calls {
		if !errors.Is(why, errGone) {
			why = fmt.Errorf("%w: %w", errGone, why)
		}
		c.cancel(why)
	}
}

func (s *session) over() bool { return s.reason() != nil }

func (s *session) reason() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.why
}

func (s *session) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls) > 0
}

// close closes the session, and kills a server that does not exit.
func (s *session) close() {
	if s.stdio != nil {
		force := time.AfterFunc(2*grace, s.stdio.kill)
		defer force.Stop()
	}
	if err := s.mcp.Close(); err != nil {
		s.link.server.Log.Debug("an MCP server did not end cleanly", "error", err)
	}
	s.release()
	s.waiting.Wait()
}

func (s *session) release() {
	if s.stdio != nil {
		if err := s.stdio.Close(); err != nil {
			s.link.server.Log.Debug("an MCP server's process did not end cleanly", "error", err)
		}
	} else {
		s.http.idle()
	}
}

// begin registers a call.
func (s *session) begin(ctx context.Context, in tool.Input) (*call, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.why != nil {
		return nil, fmt.Errorf("%w: %w", errUnsent, s.why)
	}
	s.last++
	c := &call{token: strconv.Itoa(s.last), in: in}
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	c.over = c.cancel
	s.calls[c.token] = c
	return c, nil
}

// finish removes a call: later progress is dropped.
func (s *session) finish(c *call) {
	s.mu.Lock()
	delete(s.calls, c.token)
	s.mu.Unlock()
	c.stop()
	c.cancel(nil)
}
