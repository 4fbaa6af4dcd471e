package toolworker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
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
	// tools of a server that are named, mostRenamed those under another name, mostServers
	// the servers: they go into one record of presence.
	maxReason   = 500
	mostOmitted = 10
	mostRenamed = 11
	mostServers = 15
)

// servers runs MCP servers and puts their tools into the registry, each under a
// name of its own.
type servers struct {
	bus   *bus.Bus
	tools *tool.Registry
	log   *slog.Logger
	// follow reads the file again when it changes, until ctx ends; may be nil.
	follow func(ctx context.Context, g *errgroup.Group)

	mu       sync.Mutex
	all      []*mcp.Server       // in the order of the file
	running  map[string]*running // by name
	file     map[string]bool     // names of the file's own tools
	listed   map[string][]tool.Tool
	states   map[string]bus.ServerState
	renamed  map[string][]bus.RenamedTool
	known    map[string]string // servers of the tools known before, by name
	tried    map[string]bool   // has listed its tools, or failed to
	reported chan struct{}     // gets one for each server that was tried
}

// running is a server that runs.
type running struct {
	server  mcp.Server // as configured
	started time.Time
	stop    context.CancelFunc
	ended   chan struct{}
}

func newServers(b *bus.Bus, tools *tool.Registry, all []*mcp.Server, log *slog.Logger) *servers {
	return &servers{bus: b, tools: tools, all: all, log: log, running: map[string]*running{}, listed: map[string][]tool.Tool{},
		states: map[string]bus.ServerState{}, known: map[string]string{}, tried: map[string]bool{}, reported: make(chan struct{}, len(all))}
}

// serve runs the servers until ctx ends. It blocks until each has listed its tools
// or failed to, or until wait has passed; tools that are listed later are added
// then. The function that it returns blocks until the servers have ended.
func (s *servers) serve(ctx context.Context, wait time.Duration) func() error {
	g, ctx := errgroup.WithContext(ctx)
	if s.follow != nil {
		g.Go(func() error {
			s.follow(ctx, g)
			return nil
		})
	}
	s.mu.Lock()
	for _, one := range s.all {
		s.start(ctx, g, one)
	}
	waits := len(s.all)
	s.mu.Unlock()
	enough := time.NewTimer(wait)
	defer enough.Stop()
	for range waits {
		select {
		case <-s.reported:
		case <-enough.C:
			return g.Wait
		case <-ctx.Done():
			return g.Wait
		}
	}
	return g.Wait
}

// start runs a server; s.mu is held.
func (s *servers) start(ctx context.Context, g *errgroup.Group, one *mcp.Server) {
	r := &running{server: *one, started: time.Now(), ended: make(chan struct{})}
	ctx, r.stop = context.WithCancel(ctx)
	s.running[one.Name] = r
	s.states[one.Name] = bus.ServerState{Name: one.Name}
	own := *one
	own.Report = func(state mcp.State) { s.report(own.Name, state) }
	g.Go(func() error {
		defer close(r.ended)
		defer r.stop()
		return own.Run(ctx, func(t ...tool.Tool) error { return s.list(ctx, own.Name, t) })
	})
}

// replace runs the servers of a file that was read again, with the file's own
// tools: servers that are configured as before keep running. It changes nothing if
// the tools cannot be served.
func (s *servers) replace(ctx context.Context, g *errgroup.Group, own []tool.Tool, next []*mcp.Server) error {
	s.mu.Lock()
	before := s.file
	s.file = map[string]bool{}
	for _, t := range own {
		s.file[t.Spec().Name] = true
	}
	err := s.set() // a server's tool may have a name that is now the file's
	if err == nil {
		err = s.tools.Set("file", own...)
	}
	if err != nil {
		s.file = before
		err = errors.Join(err, s.set())
	}
	were := maps.Clone(s.running)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	keep := map[string]bool{}
	for _, one := range next {
		r := were[one.Name]
		keep[one.Name] = r != nil && same(r.server, *one)
	}
	for name, r := range were {
		if keep[name] {
			continue
		}
		r.stop()
		<-r.ended
		s.mu.Lock()
		delete(s.running, name)
		delete(s.listed, name)
		delete(s.states, name)
		delete(s.tried, name)
		s.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = next
	for _, one := range next {
		if !keep[one.Name] {
			s.start(ctx, g, one)
		}
	}
	return s.set()
}

// same reports whether two servers are configured alike.
func same(a, b mcp.Server) bool {
	a.Log, b.Log, a.Report, b.Report, a.Learn, b.Learn = nil, nil, nil, nil, nil, nil
	return reflect.DeepEqual(a, b)
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
	unique := mcp.Unique(all, func(name string) bool { return own[name] || s.file[name] },
		func(name, server string) bool { return s.known[name] == server })
	s.renamed = map[string][]bus.RenamedTool{}
	for _, t := range unique {
		if spec, listed := t.Spec(), mcp.Renamed(t); listed != "" && len(s.renamed[spec.Server]) < mostRenamed {
			s.renamed[spec.Server] = append(s.renamed[spec.Server], bus.RenamedTool{Tool: listed, As: spec.Name})
		}
	}
	return s.tools.Set(source, unique...)
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
		select {
		case s.reported <- struct{}{}:
		default: // nobody waits for servers that were added later
		}
	}
	if reflect.DeepEqual(s.states[server], now) && !again {
		return
	}
	s.states[server] = now
	if err := s.set(); err != nil { // announces again
		s.log.Error("the tools of MCP servers cannot be served", "error", err)
	}
}

// missing returns the servers of which tools are missing, then those of which tools are
// only renamed, each in the order of the file.
func (s *servers) missing() []bus.ServerState {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all, renamed []bus.ServerState
	for _, one := range s.all {
		state := s.states[one.Name]
		state.Renamed = s.renamed[one.Name]
		if _, listed := s.listed[one.Name]; listed && state.Missing != "" {
			state.Missing = "its calls wait or fail: " + state.Missing
		} else if !listed && !s.tried[one.Name] && s.running[one.Name] != nil {
			state.Missing = fmt.Sprintf("it has been starting for %s", time.Since(s.running[one.Name].started).Round(time.Second))
		}
		switch {
		case state.Missing != "" || len(state.Omitted) > 0:
			all = append(all, state)
		case len(state.Renamed) > 0:
			renamed = append(renamed, state)
		}
	}
	all = append(all, renamed...)
	return slices.Clip(all[:min(len(all), mostServers)])
}
