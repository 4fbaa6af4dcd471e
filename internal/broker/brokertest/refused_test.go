package brokertest_test

import (
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/broker/brokertest"
	"github.com/parleybus/parley/internal/topology"
)

func TestDeniedRequestsAreReported(t *testing.T) {
	a := brokertest.StartAccounts(t, topology.Plan{}, brokertest.RoleUsers(nil, []string{"clock"}))
	nc, _ := a.Connect(t, string(topology.ToolWorker))
	publish := func(subject string) {
		t.Helper()
		if err := nc.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil { // the server has processed it then
			t.Fatal(err)
		}
	}
	publish(topology.EntrySubject(topology.BucketPresence, topology.PresenceKey("tool", "clock", "one")))
	if all := a.Refused(); len(all) != 0 {
		t.Errorf("refused without a reason: %q", all)
	}
	denied := topology.EntrySubject(topology.BucketPresence, topology.PresenceKey("tool", "other", "one"))
	publish(denied)
	if all := a.Refused(); len(all) != 1 || !strings.Contains(all[0], denied) {
		t.Errorf("after a publish to %s the server reports %q", denied, all)
	}
}
