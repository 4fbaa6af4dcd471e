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
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// grace is how long a process may take to end when its input is closed, and
// again when it is told to.
const grace = 2 * time.Second

// process is a server of its own process, a transport of the SDK and its
// connection. It stands in for the SDK's CommandTransport, which breaks at the
// first line that is no message, takes no more than 16 MB, can hang on a server
// that does not read, and leaves the children of a server behind.
type process struct {
	server *Server
	cmd    *exec.Cmd
	in     *os.File
	out    *os.File
	err    *os.File
	lines  *lines
	words  *words
	turn   chan struct{} // held by who writes
	exited chan struct{}
	status error // how it ended, once exited is closed
	pipes  sync.WaitGroup
	closed sync.Once
	ended  chan struct{} // closed when we end it
}

// Connect implements [sdk.Transport].
func (p *process) Connect(context.Context) (sdk.Connection, error) {
	p.turn, p.exited, p.ended = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
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
	child[0], ours[0] = ours[0], child[0] // it reads the first, and writes the others
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
	p.pipes.Go(func() { p.words.copy(p.err) })
	p.pipes.Go(p.watch)
	return p, nil
}

// watch waits for the end of the process. What it left running in its group ends
// with it, and what it wrote last may still be read for a moment.
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
			return nil, p.broke(err)
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
		p.words.say("it printed what is no MCP message", string(line))
		if p.lines.garbage == maxGarbage {
			return nil, fmt.Errorf("%w: it printed %d lines that are no MCP messages: does %q start an MCP server?", errGone, maxGarbage, p.server.Command)
		}
	}
}

// broke says why nothing can be read.
func (p *process) broke(err error) error {
	select {
	case <-p.ended:
		return io.EOF
	case <-p.exited:
	case <-time.After(grace):
		return fmt.Errorf("%w: it closed its output: %w", errGone, err)
	}
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
		return os.ErrProcessDone
	}
	// A server that does not read must not hold its callers.
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
	case n > 0: // half a line: what comes after it could not be read
		p.kill()
	}
	return err
}

// kill ends the process and its group at once.
func (p *process) kill() {
	killGroup(p.cmd.Process)
}

// Close implements [sdk.Connection]. It ends the process: kindly, firmly, at last
// by force.
func (p *process) Close() error {
	if p.cmd == nil {
		return nil
	}
	var err error
	p.closed.Do(func() {
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

// environment is what a command gets: a few of our variables, not our keys.
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
