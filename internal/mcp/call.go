package mcp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
)

// maxProgress bounds a progress message, in bytes.
const maxProgress = 64 << 10

var (
	// errGone is wrapped by errors of calls whose server was lost during the
	// call.
	errGone = errors.New("the connection to the MCP server broke")
	// errUnsent is wrapped by errors of calls that certainly did not reach the
	// server.
	errUnsent = errors.New("the call did not reach the MCP server")
	// errTooLong ends a call whose answer is too long.
	errTooLong = fmt.Errorf("the answer is longer than %d MB", maxMessage>>20)
)

// remote is one tool of a server.
type remote struct {
	link *link
	name string // the server's name for it
	spec events.ToolSpec
}

// Spec implements [tool.Tool].
func (r *remote) Spec() events.ToolSpec { return r.spec }

// Run implements [tool.Tool].
func (r *remote) Run(ctx context.Context, in tool.Input) (tool.Result, error) {
	timeout := time.NewTimer(r.link.server.WaitTimeout)
	defer timeout.Stop()
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		s, err := r.link.wait(ctx, timeout.C)
		if err != nil {
			return tool.Result{}, err
		}
		result, err := s.call(ctx, r, in)
		if !errors.Is(err, errUnsent) {
			return result, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return tool.Result{}, ctx.Err()
		case <-timeout.C:
			return tool.Result{}, tool.Retry(err, 0)
		}
	}
}

// call is one call in progress, and the receiver of its output.
type call struct {
	exchange
	token  string
	in     tool.Input
	ctx    context.Context // the call's context, which also ends with the session
	cancel context.CancelCauseFunc

	mu      sync.Mutex
	stopped bool
}

func (c *call) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
}

// print outputs a piece while the call runs, never after its end.
func (c *call) print(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stopped {
		c.in.Print("%s\n", text)
	}
}

// progress outputs a progress notification of a call.
func (s *session) progress(p *sdk.ProgressNotificationParams) {
	token, _ := p.ProgressToken.(string)
	s.mu.Lock()
	c := s.calls[token]
	s.mu.Unlock()
	if c == nil {
		return
	}
	text := fmt.Sprintf("%g", p.Progress)
	if p.Total > 0 {
		text = fmt.Sprintf("%g/%g", p.Progress, p.Total)
	}
	if p.Message != "" {
		text += " " + clip(p.Message, maxProgress)
	}
	c.print(text)
}

type callKey struct{}

// call calls the tool and returns its result.
func (s *session) call(ctx context.Context, r *remote, in tool.Input) (tool.Result, error) {
	c, err := s.begin(ctx, in)
	if err != nil {
		return tool.Result{}, err
	}
	defer s.finish(c)
	params := &sdk.CallToolParams{Name: r.name, Arguments: events.Arguments(string(in.Arguments))}
	params.SetProgressToken(c.token)
	run := withExchange(context.WithValue(c.ctx, callKey{}, c), &c.exchange)
	answer, err := s.mcp.CallTool(run, params)
	for range maxAgree {
		refused, answered := wireError(err)
		if !answered || refused.Code != sdk.CodeURLElicitationRequired || !s.agree(c, refused) {
			break
		}
		answer, err = s.mcp.CallTool(run, params)
	}
	if err != nil {
		return tool.Result{}, s.failure(ctx, c, r, err)
	}
	return s.result(c.ctx, answer)
}

// failure converts an error to the call's error.
func (s *session) failure(ctx context.Context, c *call, r *remote, err error) error {
	cause := context.Cause(c.ctx)
	status := int(c.status.Load())
	wire, answered := wireError(err)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return tool.Fail("%s: the MCP server %s did not run the call: %v", r.spec.Name, s.link.server.Name, s.refused(err))
	case errors.Is(cause, errTooLong) || errors.Is(err, errTooLong):
		return tool.Fail("%s: %v: request less at a time", r.spec.Name, errTooLong)
	case !c.sent.Load():
		return fmt.Errorf("%w: %w", errUnsent, err)
	case (status == http.StatusNotFound || status == http.StatusBadRequest) && s.lost(ctx):
		return fmt.Errorf("%w: %w", errUnsent, err)
	case answered && final(wire.Code):
		return tool.Fail("%s: %s", r.spec.Name, clip(wire.Message, maxProblem))
	case answered || refused(status):
		return tool.Retry(fmt.Errorf("the MCP server %s refused the call: %w", s.link.server.Name, err), 0)
	case s.stdio != nil && !errors.Is(err, errGone) && !errors.Is(cause, errGone):
		return tool.Fail("%s: the MCP server %s answered with an invalid result: %v", r.spec.Name, s.link.server.Name, err)
	}
	if errors.Is(err, errGone) {
		s.end(err)
	}
	if errors.Is(cause, errGone) {
		err = cause
	}
	err = fmt.Errorf("the MCP server %s went away while it ran the call: %w", s.link.server.Name, err)
	if r.spec.Effect == events.EffectOnce {
		return &Unknown{Err: err}
	}
	return tool.Retry(err, 0)
}

// lost reports whether an HTTP server no longer knows the session, for example
// after a restart.
func (s *session) lost(ctx context.Context) bool {
	if s.http != nil && s.mcp.ID() != "" {
		s.beat(ctx, func(ctx context.Context) error {
			_, err := s.list(ctx)
			return err
		})
	}
	return s.over()
}

// wireError returns the error of a server's answer. The SDK uses the same type
// for a refused HTTP request.
func wireError(err error) (*jsonrpc.Error, bool) {
	wire, ok := errors.AsType[*jsonrpc.Error](err)
	if !ok || wire.Code == -32005 && wire.Message == "rejected by transport" {
		return nil, false
	}
	return wire, true
}

// final reports whether a protocol error means that the same call will never
// run.
func final(code int64) bool {
	switch code {
	case jsonrpc.CodeInvalidParams, jsonrpc.CodeMethodNotFound, jsonrpc.CodeInvalidRequest, sdk.CodeURLElicitationRequired:
		return true
	}
	return false
}

// refused reports whether an HTTP status means that the call did not start.
func refused(status int) bool {
	return status >= 400 && status < 500 || status == http.StatusServiceUnavailable
}

// clip returns text as valid UTF-8 of at most n bytes.
func clip(text string, n int) string {
	if len(text) > n {
		text = text[:n] + "…"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
