package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/daemon/toolworker"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/topology"
)

// member is connected with the permissions of a role.
type member struct {
	*parley.Client
	bus *bus.Bus
}

// governed is a server whose users have the permissions of roles.
func governed(t *testing.T, roles ...topology.Role) func(topology.Role) member {
	t.Helper()
	opts := &server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir()}
	for _, r := range roles {
		publish, subscribe := topology.Permissions(r, topology.Plan{})
		opts.Users = append(opts.Users, &server.User{Username: string(r), Password: "p", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: publish}, Subscribe: &server.SubjectPermission{Allow: subscribe}}})
	}
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server is not ready")
	}
	return func(r topology.Role) member {
		t.Helper()
		var plan *topology.Plan
		if r == topology.Admin {
			plan = &topology.Plan{}
		}
		cfg := parley.Config{URL: s.ClientURL(), User: string(r), Password: "p", InboxPrefix: r.Inbox()}
		b, err := bus.Connect(t.Context(), bus.Config(cfg), plan)
		if err != nil {
			t.Fatalf("%s: %v", r, err)
		}
		t.Cleanup(b.Close)
		c, err := parley.Connect(t.Context(), cfg)
		if err != nil {
			t.Fatalf("%s: %v", r, err)
		}
		t.Cleanup(c.Close)
		return member{c, b}
	}
}

// serveTools runs a tool-worker until the test ends.
func serveTools(t *testing.T, s member) {
	t.Helper()
	tools, err := tool.Builtins(tool.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	started, ended := make(chan struct{}), make(chan error, 1)
	role := toolworker.Role(daemon.Config{Name: "worker"}, slog.New(slog.DiscardHandler), tools, nil, nil)
	go func() { ended <- daemon.RunRoles(ctx, s.bus, []daemon.Role{role}, func() { close(started) }) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the worker: %v", err)
		}
	})
	select {
	case <-started:
	case err := <-ended:
		ended <- err
		t.Fatal("the worker did not start")
	}
}

func TestWithThePermissionsOf(t *testing.T) {
	t.Parallel()
	as := governed(t, topology.App, topology.Caller, topology.ToolWorker, topology.Admin)
	as(topology.Admin)
	serveTools(t, as(topology.ToolWorker))

	t.Run("a caller a tool is found and called", func(t *testing.T) {
		s := as(topology.Caller)
		if _, err := s.Queues(t.Context()); err != nil {
			t.Error(err)
		}
		offers, err := offersOf(t.Context(), s.Client, "calculate")
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.CallTool(t.Context(), parley.ToolCall{Spec: parley.SpecOf(offers, "calculate"), Arguments: json.RawMessage(`{"expression":"6*7"}`)})
		if err != nil || r.Status != events.StatusOK || r.Content != "42" {
			t.Fatalf("the call came to %+v, %v", r, err)
		}
	})

	t.Run("top shows an app what it may read, and names what it may not", func(t *testing.T) {
		s := as(topology.App)
		var f parley.Deployment
		for d, err := range s.FollowDeployment(t.Context(), time.Second) {
			if f = d; err != nil {
				t.Fatal(err)
			}
			break
		}
		said := strings.Join(f.Problems, "\n")
		if len(f.Workers) != 1 || len(f.Shards) != 1 || !strings.Contains(said, "queues: no answer") {
			t.Fatalf("the frame is %+v", f)
		}
		if strings.Contains(said, "shard 0: ") || strings.Contains(said, "what waits: ") || strings.Contains(said, "owners of shards: ") {
			t.Fatalf("problems are %q", said)
		}
	})
}
