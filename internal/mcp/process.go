package mcp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// grace is the time that a process has to exit after its input is closed, and
// again after SIGTERM.
const grace = 2 * time.Second

// process is a server in a child process, and implements the SDK's transport
// and connection. It replaces the SDK's CommandTransport, which fails on the
// first line that is not a message, accepts at most 16 MB, can hang on a server
// that does not read, and leaves a server's children running.
type process struct {
	server *Server
	cmd    *exec.Cmd
	in     *os.File
	out    *os.File
	err    *os.File
	lines  *lines
	words  *words
	turn   chan struct{} // held by the writer
	exited chan struct{}
	said   chan struct{} // closed when all that it wrote to stderr has been read
	pid    atomic.Int64  // 0 before the start
	status error         // exit status, set when exited is closed
	pipes  sync.WaitGroup
	closed sync.Once
	ended  chan struct{} // closed when Close ends it
	alone  atomic.Bool   // it had exited before that
}

// Connect implements [sdk.Transport].
func (p *process) Connect(context.Context) (sdk.Connection, error) {
	p.turn, p.exited, p.said, p.ended = make(chan struct{}, 1), make(chan struct{}), make(chan struct{}), make(chan struct{})
	p.cmd = exec.Command(p.server.Command[0], p.server.Command[1:]...)
	p.cmd.Dir, p.cmd.Env = p.server.Dir, environment(p.server.Env)
	p.cmd.SysProcAttr = ownGroup()
	var child, ours []*os.File
	for range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(append(child, ours...))
			return nil, err
		}
		child, ours = append(child, w), append(ours, r)
	}
	child[0], ours[0] = ours[0], child[0] // the child reads the first and writes the others
	p.in, p.out, p.err = ours[0], ours[1], ours[2]
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = child[0], child[1], child[2]
	err := p.cmd.Start()
	closeAll(child)
	if err != nil {
		closeAll(ours)
		p.cmd = nil
		return nil, err
	}
	p.lines = &lines{r: bufio.NewReaderSize(p.out, 64<<10)}
	p.words = &words{log: p.server.Log}
	p.pid.Store(int64(p.cmd.Process.Pid))
	p.pipes.Go(func() {
		defer close(p.said)
		p.words.copy(p.err)
	})
	p.pipes.Go(p.watch)
	return p, nil
}

// watch waits for the exit of the process. It kills the rest of its process
// group; its last output can still be read for a moment.
func (p *process) watch() {
	p.status = p.cmd.Wait()
	killGroup(p.cmd.Process)
	close(p.exited)
	until := time.Now().Add(grace)
	for _, f := range []*os.File{p.out, p.err} {
		if err := f.SetReadDeadline(until); err != nil && !errors.Is(err, os.ErrClosed) {
			p.server.Log.Debug("an MCP server's pipe has no deadline", "error", err)
		}
	}
}

// SessionID implements [sdk.Connection].
func (p *process) SessionID() string { return "" }

// Read implements [sdk.Connection].
func (p *process) Read(context.Context) (jsonrpc.Message, error) {
	for {
		line, err := p.lines.next()
		if long, ok := errors.AsType[*longLine](err); ok {
			if long.answers.IsValid() {
				return &jsonrpc.Response{ID: long.answers, Error: errTooLong}, nil
			}
			p.server.Log.Warn("an MCP server wrote a message that is too long and answers no call", "bytes", long.bytes)
			continue
		}
		if err != nil {
			return nil, p.broke("output", err)
		}
		if len(line) == 0 {
			continue
		}
		m, err := jsonrpc.DecodeMessage(line)
		if err == nil {
			p.lines.garbage = 0
			return m, nil
		}
		if id := answered(line[:min(edge, len(line))], line[max(0, len(line)-edge):]); id.IsValid() {
			return &jsonrpc.Response{ID: id, Error: fmt.Errorf("the answer cannot be read: %v", err)}, nil
		}
		p.lines.garbage++
		p.words.write("it printed a line that is not an MCP message", string(line))
		if p.lines.garbage == maxGarbage {
			return nil, fmt.Errorf("%w: it printed %d lines that are not MCP messages: does %q start an MCP server?", errGone, maxGarbage, p.server.Command)
		}
	}
}

// broke returns why its output cannot be read, or its input written: how it ended, and
// the last line that it wrote to stderr.
func (p *process) broke(pipe string, err error) error {
	select {
	case <-p.ended:
		// The SDK closes after a write that failed, and reports what its reader says then.
		if !p.alone.Load() {
			return io.EOF
		}
	case <-p.exited:
	case <-time.After(grace):
		return fmt.Errorf("%w: it closed its %s: %w", errGone, pipe, err)
	}
	<-p.said // watch gives the pipe a deadline
	how := "it exited"
	if p.status != nil {
		how = p.status.Error()
	}
	if last := p.words.last(); last != "" {
		how += ": " + last
	}
	return fmt.Errorf("%w: its process ended: %s", errGone, how)
}

// Write implements [sdk.Connection].
func (p *process) Write(ctx context.Context, m jsonrpc.Message) error {
	data, err := jsonrpc.EncodeMessage(m)
	if err != nil {
		return err
	}
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return ctx.Err()
	case <-p.exited:
		return p.broke("input", os.ErrProcessDone)
	}
	// A server that does not read must not block its callers.
	late := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(late)
		if err := p.in.SetWriteDeadline(time.Unix(1, 0)); err != nil {
			p.kill()
		}
	})
	n, err := p.in.Write(append(data, '\n'))
	if !stop() {
		<-late
		err = errors.Join(err, p.in.SetWriteDeadline(time.Time{}))
	}
	switch {
	case err == nil || n > len(data):
		if e, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
			e.sent.Store(true)
		}
		return nil
	case errors.Is(err, syscall.EPIPE):
		return p.broke("input", err)
	case n > 0: // an incomplete line: the server could not parse a following one
		p.kill()
	}
	return err
}

// kill ends the process and its group at once.
func (p *process) kill() {
	killGroup(p.cmd.Process)
}

// Close implements [sdk.Connection]. It ends the process: it closes its input,
// then sends SIGTERM, then SIGKILL.
func (p *process) Close() error {
	if p.cmd == nil {
		return nil
	}
	var err error
	p.closed.Do(func() {
		select {
		case <-p.exited:
			p.alone.Store(true)
		default:
		}
		close(p.ended)
		err = p.in.Close()
		for _, next := range []func(*os.Process){endGroup, killGroup} {
			select {
			case <-p.exited:
			case <-time.After(grace):
				next(p.cmd.Process)
			}
		}
		<-p.exited
		closeAll([]*os.File{p.out, p.err})
		p.pipes.Wait()
	})
	return err
}

// environment returns the variables of a command: a few of the worker's,
// without its keys.
func environment(extra []string) []string {
	var env []string
	for _, name := range append([]string{"HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "USER"}, extra...) {
		if strings.Contains(name, "=") {
			env = append(env, name)
		} else if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

func closeAll(files []*os.File) {
	for _, f := range files {
		if err := f.Close(); err != nil {
			slog.Debug("a pipe was not closed", "error", err)
		}
	}
}
