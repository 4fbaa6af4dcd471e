package bus_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/broker/brokertest"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// tenant returns the configuration of a tenant with a user for each role.
func tenant(name string) topology.ServerConfig {
	return topology.ServerConfig{Plan: topology.Plan{Shards: 2}, Tenant: name, MaxStore: 100 << 20, MaxConnections: 100,
		Users: topology.DefaultUsers([]string{"scripted"}, []string{"clock"})}
}

// TestTwoTenantsWorkBesideEachOther: the same users, streams and conversation on
// one server, at the same time.
func TestTwoTenantsWorkBesideEachOther(t *testing.T) {
	t.Parallel()
	shared := brokertest.StartShared(t)
	conversation := id()
	var all []*governed
	for _, name := range []string{"acme", "3m"} { // not a number
		all = append(all, govern(t, shared.Tenant(tenant(name))))
	}
	t.Run("turns", func(t *testing.T) {
		for _, g := range all {
			t.Run(filepath.Base(string(g.Keys)), func(t *testing.T) {
				t.Parallel()
				own := *g
				own.T = t
				rolesWork(t, &own, conversation)
			})
		}
	})
}

// TestReloadChangesOneTenant: keys are replaced, tools added and users revoked
// while the other tenant stays connected.
func TestReloadChangesOneTenant(t *testing.T) {
	t.Parallel()
	shared := brokertest.StartShared(t)
	acme, globex := govern(t, shared.Tenant(tenant("acme"))), govern(t, shared.Tenant(tenant("globex")))
	other, _ := globex.Connect(t, "viewer")
	lost := make(chan struct{})
	var first, once sync.Once
	other.SetDisconnectErrHandler(func(*nats.Conn, error) { first.Do(func() { close(lost) }) })

	old, _ := acme.Connect(t, "app")
	refused := make(chan struct{})
	old.SetDisconnectErrHandler(func(*nats.Conn, error) { once.Do(func() { close(refused) }) })
	seed, err := os.ReadFile(acme.Seed("app"))
	if err == nil {
		err = os.Remove(acme.Seed("app"))
	}
	if err != nil {
		t.Fatal(err)
	}
	cfg := tenant("acme")
	for i := range cfg.Users {
		if cfg.Users[i].Role == topology.ToolWorker {
			cfg.Users[i].Scope.Names = append(cfg.Users[i].Scope.Names, "charge")
		}
	}
	acme.Accounts = shared.Tenant(cfg)
	take(t, refused)
	if now, err := os.ReadFile(acme.Seed("app")); err != nil || string(now) == string(seed) {
		t.Fatalf("the key is the old one, %v", err)
	}
	send(t, acme.as("app"), id(), "with the new key")
	if err := acme.as("tool-worker").Presence().Announce(t.Context(), []bus.Offer{{Kind: "tool", Name: "charge", Worker: "w", Tool: &events.ToolSpec{Name: "charge"}}}); err != nil {
		t.Error(err)
	}
	send(t, globex.as("app"), id(), "as before")
	select {
	case <-lost:
		t.Error("the reload disconnected the other tenant")
	default:
	}
}

// TestATenantAtItsLimitIsAlone: its writes fail for lack of space, and succeed again
// when its limit is raised; the other tenant does not notice.
func TestATenantAtItsLimitIsAlone(t *testing.T) {
	t.Parallel()
	shared := brokertest.StartShared(t)
	small := tenant("acme")
	small.MaxStore = 300 << 10
	acme, globex := govern(t, shared.Tenant(small)), govern(t, shared.Tenant(tenant("globex")))
	app := acme.as("app")
	text := strings.Repeat("a long text ", 5000)
	var full error
	for range 100 {
		if _, full = publish(t, app, text); full != nil {
			break
		}
	}
	t.Logf("%v", full)
	if full == nil || !strings.Contains(full.Error(), "no space") {
		t.Fatalf("a tenant at its limit gets %v", full)
	}
	if _, err := publish(t, globex.as("app"), text); err != nil {
		t.Errorf("the other tenant: %v", err)
	}
	shared.Tenant(tenant("acme"))
	if _, err := publish(t, app, text); err != nil {
		t.Errorf("with more space: %v", err)
	}
}

// publish publishes a message of a person in a new conversation.
func publish(t *testing.T, b *bus.Bus, text string) (uint64, error) {
	t.Helper()
	input := id()
	return b.Conversation(id()).Publish(within(t, 2*time.Minute), input, &events.UserMessage{ID: input, Text: text})
}
