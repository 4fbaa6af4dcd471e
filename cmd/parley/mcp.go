package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/host"
	"github.com/parleybus/parley/internal/mcp"
)

// mcpPath is where MCP is served over HTTP.
const mcpPath = "/mcp"

// mcpServer is what "mcp" is told.
type mcpServer struct {
	app         *app
	address     string
	allowRemote bool
	patterns    []string
	effects     []string
}

func (a *app) mcpCommand() *cobra.Command {
	m := &mcpServer{app: a}
	cmd := &cobra.Command{
		Use:   "mcp",
		Short: "Serve the workers' tools as an MCP server",
		Long: `Serve the tools of all workers as one MCP server, over standard input and output,
or with --http over streamable HTTP at ` + mcpPath + `. Tools that come and go are told to the
clients, output on its way is progress, and a client that cancels cancels the
call. A tool's effect is in its annotations: pure is readOnlyHint, idempotent is
idempotentHint. All effects are served, as MCP hosts ask their user before a
call; --allow-effects pure,idempotent leaves the others out.

Over HTTP nobody is asked who they are. Only this machine may reach it, unless
--allow-remote is given: put something in front that checks who asks.

Where nothing runs, everything runs in this process. For several hosts run
` + "`parley up`" + `: what runs in one of these ends with it.

` + callerHelp,
		Example: `  parley mcp
  parley mcp --tools 'get_*,calculate' --allow-effects pure
  parley mcp --http 127.0.0.1:8931

  {"mcpServers": {"parley": {"command": "parley", "args": ["mcp"]}}}`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return m.run(cmd.Context()) },
	}
	f := cmd.Flags()
	f.StringVar(&m.address, "http", "", "serve over HTTP at this address, such as 127.0.0.1:8931, in place of standard input and output")
	f.BoolVar(&m.allowRemote, "allow-remote", false, "let --http listen where other machines reach it; nobody is asked who they are")
	f.StringSliceVar(&m.patterns, "tools", nil, "names or patterns of the tools served; all when empty")
	f.StringSliceVar(&m.effects, "allow-effects", nil, "effects of the tools served: pure, idempotent, once; all when empty")
	a.cfg.Calling(f)
	return cmd
}

func (m *mcpServer) check() error {
	for _, p := range m.patterns {
		if _, err := path.Match(p, ""); err != nil {
			return &exitError{exitUsage, fmt.Errorf("--tools %q is no pattern: %w", p, err)}
		}
	}
	for _, e := range m.effects {
		if !parley.Effect(e).Known() {
			return &exitError{exitUsage, fmt.Errorf("--allow-effects %q is none of pure, idempotent, once", e)}
		}
	}
	if m.address == "" || m.allowRemote {
		return nil
	}
	return onlyHere(m.address)
}

// onlyHere refuses an address that other machines reach.
func onlyHere(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return &exitError{exitUsage, fmt.Errorf("--http %q is no address such as 127.0.0.1:8931: %w", address, err)}
	}
	if ip, err := netip.ParseAddr(host); host == "localhost" || err == nil && ip.Unmap().IsLoopback() {
		return nil
	}
	return &exitError{exitUsage, fmt.Errorf("--http %s can be reached from other machines, and nobody is asked who they are: listen on 127.0.0.1, or give --allow-remote", address)}
}

func (m *mcpServer) run(ctx context.Context) (err error) {
	if err := m.check(); err != nil {
		return err
	}
	ctx, stop := daemon.Signals(ctx)
	defer stop()
	log, err := m.app.logger()
	if err != nil {
		return err
	}
	s, err := m.app.everything(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	show := &showcase{s: s, m: m, changed: make(chan struct{})}
	g, run := errgroup.WithContext(ctx)
	run, done := context.WithCancel(run)
	defer done()
	known := make(chan struct{})
	g.Go(func() error { show.follow(run, log, sync.OnceFunc(func() { close(known) })); return nil })
	select {
	case <-known:
	case <-run.Done():
		return ended(run, g.Wait())
	}
	gateway := &mcp.Gateway{Tools: show.tools, Changed: show.change, Call: show.call, Fetch: s.Fetch, Log: log}
	g.Go(func() error {
		defer done() // the client has left
		if m.address == "" {
			return gateway.ServeStdio(run, os.Stdin, os.Stdout)
		}
		return m.serveHTTP(run, gateway)
	})
	return ended(run, g.Wait())
}

// ended leaves out the end that was asked for.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// serveHTTP serves until ctx ends, and then ends what its clients have open.
func (m *mcpServer) serveHTTP(ctx context.Context, gateway *mcp.Gateway) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", m.address)
	if err != nil {
		return fmt.Errorf("listen for MCP clients: %w", err)
	}
	fmt.Fprintf(os.Stderr, "MCP at http://%s%s\n", listener.Addr(), mcpPath)
	routes := http.NewServeMux()
	routes.Handle(mcpPath, gateway.Handler())
	server := &http.Server{Handler: routes, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	g := new(errgroup.Group)
	g.Go(func() error { return gateway.Run(ctx) })
	g.Go(func() error {
		<-ctx.Done()
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if err := server.Shutdown(closing); err != nil {
			return server.Close() // a client holds on to its stream
		}
		return nil
	})
	g.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve MCP clients: %w", err)
		}
		return nil
	})
	return g.Wait()
}

// showcase is what of the workers' tools is served.
type showcase struct {
	s *host.Session
	m *mcpServer

	mu      sync.Mutex
	specs   []parley.ToolSpec
	changed chan struct{} // closed at the next change
}

// follow takes in what workers serve until ctx ends. known is called after each list.
func (c *showcase) follow(ctx context.Context, log *slog.Logger, known func()) {
	for offers, err := range c.s.FollowOffers(ctx) {
		if err != nil {
			log.Warn("cannot see who serves tools, trying again", "error", err)
			continue
		}
		c.take(offers)
		known()
	}
}

// take takes in a list of offers.
func (c *showcase) take(offers []parley.Offer) {
	var specs []parley.ToolSpec
	for _, t := range parley.ToolsIn(offers) {
		if c.m.serves(t.ToolSpec) {
			specs = append(specs, t.ToolSpec)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if reflect.DeepEqual(specs, c.specs) {
		return
	}
	c.specs = specs
	close(c.changed)
	c.changed = make(chan struct{})
}

// serves reports whether a tool is among those that were asked for.
func (m *mcpServer) serves(spec parley.ToolSpec) bool {
	named := func(pattern string) bool {
		ok, err := path.Match(pattern, spec.Name)
		return ok && err == nil
	}
	return (len(m.patterns) == 0 || slices.ContainsFunc(m.patterns, named)) &&
		(len(m.effects) == 0 || slices.Contains(m.effects, string(cmp.Or(spec.Effect, parley.EffectOnce))))
}

func (c *showcase) tools() []parley.ToolSpec {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.specs
}

func (c *showcase) change() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// call runs a call of a tool that is served now.
func (c *showcase) call(ctx context.Context, name string, arguments json.RawMessage, progress func(string)) (*parley.ToolResult, error) {
	specs := c.tools()
	i := slices.IndexFunc(specs, func(s parley.ToolSpec) bool { return s.Name == name })
	if i < 0 {
		return &parley.ToolResult{Tool: name, Status: parley.StatusUnknownTool,
			Content: fmt.Sprintf("nobody serves a tool %q any more: ask for the list of tools again", strings.ToValidUTF8(name, "\uFFFD"))}, nil
	}
	return c.s.CallTool(ctx, parley.ToolCall{Spec: &specs[i], Arguments: arguments, Output: progress})
}
