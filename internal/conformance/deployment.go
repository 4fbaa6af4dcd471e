package conformance

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/daemon/llmworker"
	"github.com/parleybus/parley/internal/daemon/orchestrator"
	"github.com/parleybus/parley/internal/daemon/toolworker"
	"github.com/parleybus/parley/internal/llm/catalog"
	"github.com/parleybus/parley/internal/tool"
)

// Deployment is the real roles of a deployment that a rule runs, with a model that plays
// a script.
type Deployment struct {
	Script string // YAML; see internal/llm/scripted
	Rules  string // YAML: the deployment's rules file
	Tools  []tool.Tool
}

// Deploy runs the roles until stop is called, or the rule ends. It returns when they have
// started.
func (s *Stage) Deploy(d Deployment) (stop func()) {
	dir := s.TempDir()
	file := func(name, text string) string {
		if text == "" {
			return ""
		}
		path := filepath.Join(dir, name)
		s.Must(os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	said := new(lockedBuffer)
	log := slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelWarn}))
	roles := []daemon.Role{orchestrator.Role(daemon.Config{Name: "orchestrator", Rules: file("rules.yaml", d.Rules)}, log, nil, nil)}
	if d.Script != "" {
		models, err := catalog.Open(s.Context(), catalog.Options{Getenv: func(string) string { return "" }, Script: file("script.yaml", d.Script), Idle: time.Minute})
		s.Must(err)
		roles = append(roles, llmworker.Role(daemon.Config{Name: "models", Slots: 4}, log, models, nil))
	}
	if len(d.Tools) > 0 {
		tools, err := tool.New(d.Tools...)
		s.Must(err)
		roles = append(roles, toolworker.Role(daemon.Config{Name: "tools", Slots: 4}, log, tools, nil, nil))
	}
	ctx, cancel := context.WithCancel(context.Background())
	done, started := make(chan error, 1), make(chan struct{})
	go func() { done <- daemon.RunRoles(ctx, s.Bus, roles, func() { close(started) }) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			s.Errorf("the rule's deployment: %v", err)
		}
	})
	s.Cleanup(stop)
	select {
	case <-started:
	case <-time.After(2 * Soon):
		s.Fatalf("the rule's deployment does not start: %s", said)
	}
	if len(d.Tools) > 0 {
		s.Eventually(2*Soon, "the rule's tools are announced", func() bool {
			offers, err := s.Presence().Offers(s.Context())
			s.Must(err)
			n := 0
			for _, t := range d.Tools {
				if contains(offers, "tool", t.Spec().Name) {
					n++
				}
			}
			return n == len(d.Tools)
		})
	}
	return stop
}

// contains reports whether something is offered.
func contains(offers []bus.Offer, kind, name string) bool {
	for _, o := range offers {
		if o.Kind == kind && o.Name == name {
			return true
		}
	}
	return false
}

// lockedBuffer is what the roles log.
type lockedBuffer struct {
	mu  sync.Mutex
	all bytes.Buffer
}

// Write implements [io.Writer].
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}
