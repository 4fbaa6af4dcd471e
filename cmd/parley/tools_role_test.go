package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/broker/brokertest"
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

// governed is a server whose users have the permissions of roles. An orchestrator
// answers their requests.
func governed(t *testing.T, tools ...string) func(topology.Role) member {
	t.Helper()
	accounts := brokertest.StartAccounts(t, topology.Plan{}, brokertest.RoleUsers([]string{"scripted"}, tools))
	connect := func(r topology.Role, plan *topology.Plan) member {
		t.Helper()
		cfg := parley.Config{URL: accounts.URL, User: string(r), Password: brokertest.Password, InboxPrefix: accounts.Inbox(string(r)), APIPrefix: accounts.APIPrefix(string(r))}
		b, err := bus.Connect(t.Context(), bus.Config(cfg), plan)
		if err != nil {
			t.Fatalf("%s: %v", r, err)
		}
		t.Cleanup(b.Close)
		if r == topology.ToolWorker {
			b.WithoutConsumers()
		}
		c, err := parley.Connect(t.Context(), cfg)
		if err != nil {
			t.Fatalf("%s: %v", r, err)
		}
		t.Cleanup(c.Close)
		return member{c, b}
	}
	connect(topology.Admin, &topology.Plan{})
	serving := connect(topology.Orchestrator, nil).bus
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serving.Deployment().ServeUsers(ctx, func() bool { return true }) }()
	t.Cleanup(func() { stop(); <-ended })
	return func(r topology.Role) member { return connect(r, nil) }
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
	as := governed(t, "calculate", "now", "read_result")
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

	t.Run("an app top shows everything", func(t *testing.T) {
		s := as(topology.App)
		var f parley.Deployment
		for d, err := range s.FollowDeployment(t.Context(), time.Second) {
			if f = d; err != nil {
				t.Fatal(err)
			}
			break
		}
		said := strings.Join(f.Problems, "\n")
		if len(f.Workers) != 1 || len(f.Shards) != 1 || len(f.Queues) == 0 {
			t.Fatalf("the frame is %+v", f)
		}
		if strings.Contains(said, "shard 0: ") || strings.Contains(said, "what waits: ") || strings.Contains(said, "owners of shards: ") || strings.Contains(said, "queues: ") {
			t.Fatalf("problems are %q", said)
		}
	})
}
