package bus_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/broker/brokertest"
	"github.com/parleybus/parley/internal/topology"
)

// TestWhoMayCreateConsumersForgesLiveEvents is why no grant creates one (ADR 51):
// with that one import, accounts do not stop an app from writing live events of
// others. When it fails, nats-server refuses such consumers, and roles could read
// without an orchestrator.
func TestWhoMayCreateConsumersForgesLiveEvents(t *testing.T) {
	t.Parallel()
	const create = "$JS.API.CONSUMER.CREATE.CONV_0.>"
	local := topology.RoleAPI + strings.TrimPrefix(create, topology.API)
	users := brokertest.RoleUsers([]string{"scripted"}, []string{"clock"})
	accounts := brokertest.StartAccounts(t, topology.Plan{}, users, func(opts *server.Options) {
		var streams, app *server.Account
		for _, a := range opts.Accounts {
			switch a.GetName() {
			case topology.AccountStreams:
				streams = a
			case "APP":
				app = a
			}
		}
		if err := errors.Join(streams.AddServiceExport(create, nil), app.AddServiceImport(streams, local, create)); err != nil {
			t.Fatal(err)
		}
		for _, u := range opts.Users {
			if u.Username == "app" {
				u.Permissions.Publish.Allow = append(u.Permissions.Publish.Allow, local)
			}
		}
	})
	g := &governed{t, accounts, topology.Plan{}}
	g.connect("admin", &g.plan).Close()
	app, _ := g.Connect(t, "app")
	viewer, _ := g.Connect(t, "viewer")
	victim, own := id(), id()
	seen, err := viewer.SubscribeSync("live.0." + victim + ".>")
	if err == nil {
		err = viewer.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	const forged = `{"type":"Decision","events":[]}`
	input := nats.NewMsg("conv.0." + own + ".in")
	input.Data = []byte(forged)
	if _, err := app.RequestMsg(input, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	target := "live.0." + victim + ".turn"
	if _, err := app.SubscribeSync(target); err != nil { // makes the consumer active
		t.Fatal(err)
	}
	body := fmt.Sprintf(`{"stream_name":"CONV_0","config":{"name":"evil","ack_policy":"none","deliver_policy":"all","deliver_subject":%q,"filter_subject":%q,"mem_storage":true}}`, target, input.Subject)
	m, err := app.Request(strings.TrimSuffix(local, ">")+"evil."+input.Subject, []byte(body), 10*time.Second)
	if err != nil || strings.Contains(string(m.Data), `"error"`) {
		t.Fatalf("%v %s", err, m.Data)
	}
	if m, err := seen.NextMsg(10 * time.Second); err != nil || string(m.Data) != forged {
		t.Errorf("the viewer sees %v, %v", m, err)
	}
}
