package toolworker

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/mcp"
	"github.com/parleybus/parley/internal/tool"
)

const (
	// source names the tools of all MCP servers in the registry.
	source = "mcp"
	// maxReason bounds the reason why tools are missing, in bytes, mostOmitted the
	// tools of a server that are named, mostServers the servers: they go into one record of presence.
	maxReason   = 500
	mostOmitted = 10
	mostServers = 15
)

// servers runs MCP servers and puts their tools into the registry, each under a
// name of its own.
type servers struct {
	bus     *bus.Bus
	tools   *tool.Registry
	all     []*mcp.Server
	log     *slog.Logger
	started time.Time

	mu      sync.Mutex
	listed  map[string][]tool.Tool
	states  map[string]bus.ServerState
	known   map[string]string // servers of the tools known before, by name
	tried   map[string]bool   // has listed its tools, or failed to
	settled chan struct{}     // gets one for each server that was tried
}

func newServers(b *bus.Bus, tools *tool.Registry, all []*mcp.Server, log *slog.Logger) *servers {
	s := &servers{bus: b, tools: tools, all: all, log: log, started: time.Now(), listed: map[string][]tool.Tool{},
		states: map[string]bus.ServerState{}, known: map[string]string{}, tried: map[string]bool{}, settled: make(chan struct{}, len(all))}
	for _, one := range all {
		s.states[one.Name] = bus.ServerState{Name: one.Name}
	}
	return s
}

// serve runs the servers until ctx ends. It blocks until each has listed its tools
// or failed to, or until wait has passed; tools that are listed later are added
// then. The function that it returns blocks until the servers have ended.
func (s *servers) serve(ctx context.Context, wait time.Duration) func() error {
	g, ctx := errgroup.WithContext(ctx)
	for _, one := range s.all {
		own := *one
		own.Report = func(state mcp.State) { s.report(own.Name, state) }
		g.Go(func() error {
			return own.Run(ctx, func(t ...tool.Tool) error { return s.list(ctx, own.Name, t) })
		})
	}
	enough := time.NewTimer(wait)
	defer enough.Stop()
	for range s.all {
		select {
		case <-s.settled:
		case <-enough.C:
			return g.Wait
		case <-ctx.Done():
			return g.Wait
		}
	}
	return g.Wait
}

// list takes over what a server lists.
func (s *servers) list(ctx context.Context, server string, tools []tool.Tool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, had := s.listed[server]
	s.listed[server] = tools
	if len(s.all) > 1 {
		s.learn(ctx, server, tools)
	}
	if err := s.set(); err != nil {
		if had {
			s.listed[server] = before
		} else {
			delete(s.listed, server)
		}
		return err
	}
	return nil
}

// learn reads which of a server's tools had its name before them. When that cannot
// be read, a tool is named by the servers that are there now.
func (s *servers) learn(ctx context.Context, server string, tools []tool.Tool) {
	for _, t := range tools {
		name := mcp.LongName(server, t.Spec().Name)
		if _, read := s.known[name]; read {
			continue
		}
		known, err := s.bus.Presence().KnownTool(ctx, name)
		if err != nil {
			s.log.Debug("a known tool could not be read", "tool", name, "error", err)
			continue
		}
		s.known[name] = ""
		if known != nil {
			s.known[name] = known.Tool.Server
		}
	}
}

// set puts the tools of all servers into the registry; s.mu is held.
func (s *servers) set() error {
	var all []mcp.Listed
	for _, one := range s.all {
		all = append(all, mcp.Listed{Server: one.Name, Tools: s.listed[one.Name]})
	}
	own := map[string]bool{}
	for _, spec := range s.tools.Specs() {
		if spec.Server == "" {
			own[spec.Name] = true
		}
	}
	return s.tools.Set(source, mcp.Unique(all, func(name string) bool { return own[name] },
		func(name, server string) bool { return s.known[name] == server })...)
}

// report takes over the state of a server, and has it announced.
func (s *servers) report(server string, state mcp.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := bus.ServerState{Name: server, Omitted: state.Omitted[:min(len(state.Omitted), mostOmitted)]}
	if state.Err != nil {
		text := strings.Join(strings.Fields(state.Err.Error()), " ")
		if len(text) > maxReason {
			text = strings.ToValidUTF8(text[:maxReason], "") + "…"
		}
		now.Missing = text
	}
	again := !s.tried[server]
	if again {
		s.tried[server] = true
		s.settled <- struct{}{} // it has room for all
	}
	if reflect.DeepEqual(s.states[server], now) && !again {
		return
	}
	s.states[server] = now
	if err := s.set(); err != nil { // announces again
		s.log.Error("the tools of MCP servers cannot be served", "error", err)
	}
}

// missing returns the servers of which tools are missing, in the order of the file.
func (s *servers) missing() []bus.ServerState {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []bus.ServerState
	for _, one := range s.all {
		state := s.states[one.Name]
		if _, listed := s.listed[one.Name]; listed && state.Missing != "" {
			state.Missing = "its calls wait or fail: " + state.Missing
		} else if !listed && !s.tried[one.Name] {
			state.Missing = fmt.Sprintf("it has been starting for %s", time.Since(s.started).Round(time.Second))
		}
		if (state.Missing != "" || len(state.Omitted) > 0) && len(all) < mostServers {
			all = append(all, state)
		}
	}
	return slices.Clip(all)
}
