package bus_test

import (
	"testing"

	"github.com/parleybus/parley/internal/broker/brokertest"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// BenchmarkAppendFromAnAccount compares appends to a lane through a service import
// with appends in the account that holds the streams, in one run.
func BenchmarkAppendFromAnAccount(b *testing.B) {
	accounts := brokertest.StartAccounts(b, topology.Plan{}, brokertest.RoleUsers([]string{"scripted"}, []string{"clock"}))
	connect := func(b *testing.B, user string, setup *topology.Plan) *bus.Bus {
		c, err := bus.Connect(b.Context(), bus.Config{URL: accounts.URL, User: user, Password: brokertest.Password, InboxPrefix: accounts.Inbox(user), APIPrefix: accounts.APIPrefix(user)}, setup)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(c.Close)
		return c
	}
	connect(b, "admin", &topology.Plan{})
	for _, user := range []string{"admin", "llm-worker"} {
		b.Run(user, func(b *testing.B) {
			lane := connect(b, user, nil).Lane(topology.At(1, id(), events.ChannelGen))
			at := uint64(0)
			for b.Loop() {
				var err error
				if at, err = lane.Append(b.Context(), at, []byte(`{"type":"TextChunk","attempt":"a","index":1,"text":"hello"}`)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
