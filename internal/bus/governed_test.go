package bus_test

import (
	"context"
	"errors"
	"testing"

	"github.com/parleybus/parley/internal/broker/brokertest"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/topology"
)

// governed is a server with accounts, set up by the admin.
type governed struct {
	*testing.T
	brokertest.Accounts
	plan topology.Plan
}

// newGoverned starts a server of two shards with a user for each role. An
// orchestrator answers the requests of the others.
func newGoverned(t *testing.T) *governed {
	t.Helper()
	return govern(t, brokertest.StartAccounts(t, topology.Plan{Shards: 2}, brokertest.RoleUsers([]string{"scripted"}, []string{"clock"})))
}

// govern sets a deployment of two shards up.
func govern(t *testing.T, accounts brokertest.Accounts) *governed {
	t.Helper()
	g := &governed{t, accounts, topology.Plan{Shards: 2}}
	g.connect("admin", &g.plan).Close()
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	serving := g.as("orchestrator")
	go func() { served <- serving.Deployment().ServeUsers(ctx, func() bool { return true }) }()
	t.Cleanup(func() {
		stop()
		if err := take(t, served); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	return g
}

// config is the configuration of a user.
func (g *governed) config(user string) bus.Config {
	cfg := bus.Config{URL: g.URL, NKey: g.Seed(user), InboxPrefix: g.Inbox(user), APIPrefix: g.APIPrefix(user)}
	if cfg.NKey == "" {
		cfg.User, cfg.Password = user, brokertest.Password
	}
	return cfg
}

func (g *governed) connect(user string, setup *topology.Plan) *bus.Bus {
	g.Helper()
	b, err := bus.Connect(g.Context(), g.config(user), setup)
	if err != nil {
		g.Fatalf("%s: %v", user, err)
	}
	if role := g.Users[user].Role; role == topology.LLMWorker || role == topology.ToolWorker {
		b.WithoutConsumers()
	}
	return b
}

// as connects as a user until the end of the test.
func (g *governed) as(user string) *bus.Bus {
	g.Helper()
	b := g.connect(user, nil)
	g.Cleanup(b.Close)
	return b
}
