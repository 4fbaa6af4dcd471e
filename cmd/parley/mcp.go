package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/mcp"
)

// mcpServer is the flags of mcp.
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
or with --http over streamable HTTP at ` + mcp.Path + `. Clients are notified when tools come
and go, interim output is progress, and a client that cancels cancels the call. A
tool's effect is in its annotations: pure is readOnlyHint, idempotent is
idempotentHint. All effects are served, as MCP hosts ask their user before a
call; --allow-effects pure,idempotent leaves the others out.

Over HTTP clients are not authenticated. Only this machine may reach it, unless
--allow-remote is given: put a proxy in front that authenticates them.

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
	f.BoolVar(&m.allowRemote, "allow-remote", false, "let --http listen where other machines reach it; clients are not authenticated")
	f.StringSliceVar(&m.patterns, "tools", nil, "names or patterns of the tools served; all when empty")
	f.StringSliceVar(&m.effects, "allow-effects", nil, "effects of the tools served: pure, idempotent, once; all when empty")
	a.cfg.Calling(f)
	cmd.AddCommand(a.mcpAddCommand(), a.mcpLoginCommand(), a.mcpLogoutCommand(), a.mcpListCommand())
	return cmd
}

func (m *mcpServer) check() error {
	for _, p := range m.patterns {
		if _, err := path.Match(p, ""); err != nil {
			return usagef("--tools %q is no pattern: %w", p, err)
		}
	}
	for _, e := range m.effects {
		if !parley.Effect(e).Known() {
			return usagef("--allow-effects %q is none of pure, idempotent, once", e)
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
		return usagef("--http %q is no address such as 127.0.0.1:8931: %w", address, err)
	}
	if ip, err := netip.ParseAddr(host); host == "localhost" || err == nil && ip.Unmap().IsLoopback() {
		return nil
	}
	return usagef("--http %s can be reached from other machines, and clients are not authenticated: listen on 127.0.0.1, or give --allow-remote", address)
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
	tools := &mcp.Toolset{Names: m.patterns}
	for _, e := range m.effects {
		tools.Effects = append(tools.Effects, parley.Effect(e))
	}
	gateway := &mcp.Gateway{Tools: tools, Fetch: s.Fetch, Log: log,
		Call: func(ctx context.Context, spec parley.ToolSpec, arguments json.RawMessage, progress func(string)) (*parley.ToolResult, error) {
			return s.CallTool(ctx, parley.ToolCall{Spec: &spec, Arguments: arguments, Output: progress})
		}}
	g, run := errgroup.WithContext(ctx)
	run, done := context.WithCancel(run)
	defer done()
	known := make(chan struct{})
	g.Go(func() error {
		follow(run, s.Client, log, tools, sync.OnceFunc(func() { close(known) }))
		return nil
	})
	g.Go(func() error {
		defer done() // the client has left
		select {
		case <-known:
		case <-run.Done():
			return nil
		}
		if m.address == "" {
			return gateway.ServeStdio(run, os.Stdin, protocolOutput())
		}
		return gateway.ListenAndServe(run, m.address, func(at net.Addr) { fmt.Fprintf(stderr(), "MCP at http://%s%s\n", at, mcp.Path) })
	})
	return ended(run, g.Wait())
}

// follow keeps the tools those that workers serve, until ctx ends. known is called
// after each list.
func follow(ctx context.Context, c *parley.Client, log *slog.Logger, tools *mcp.Toolset, known func()) {
	for offers, err := range c.FollowOffers(ctx) {
		if err != nil {
			log.Warn("cannot see who serves tools, trying again", "error", err)
			continue
		}
		var specs []parley.ToolSpec
		for _, t := range parley.ToolsIn(offers) {
			specs = append(specs, t.ToolSpec)
		}
		tools.Set(specs)
		known()
	}
}

// ended returns nil for an end that was requested.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
