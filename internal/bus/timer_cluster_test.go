package bus_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/topology"
)

// cluster starts three servers that replicate every stream, and connects.
func cluster(t *testing.T) (map[string]*server.Server, *bus.Bus) {
	t.Helper()
	var routes []string
	var ports []int
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }() // a second time, should the test end here
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
		routes = append(routes, "nats://"+l.Addr().String())
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	servers := map[string]*server.Server{}
	var urls []string
	for i, port := range ports {
		opts := &server.Options{
			ServerName: fmt.Sprintf("n%d", i), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true,
			JetStream: true, StoreDir: t.TempDir(), Routes: server.RoutesFromStr(strings.Join(routes, ",")),
			Cluster: server.ClusterOpts{Name: "parley", Host: "127.0.0.1", Port: port},
		}
		s, err := server.NewServer(opts)
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		servers[opts.ServerName] = s
	}
	for _, s := range servers {
		if !s.ReadyForConnections(10 * time.Second) {
			t.Fatal("a server does not get ready")
		}
		urls = append(urls, s.ClientURL())
	}
	// Without a deadline: a request that no leader hears waits as long as that.
	b, err := bus.Wait(t.Context(), bus.Config{URL: strings.Join(urls, ",")}, &topology.Plan{Replicas: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return servers, b
}

// TestTimersSurviveTheirLeader ends the server that leads TIMERS between the
// time a timer is set and the time it fires.
func TestTimersSurviveTheirLeader(t *testing.T) {
	t.Parallel()
	servers, b := cluster(t)
	due, _ := followDue(t, b)
	first, second, stopped := id(), id(), id()
	set(t, b, first, time.Now())
	if d := take(t, due); d.Conversation != first {
		t.Errorf("%+v", d)
	}
	set(t, b, first, time.Now().Add(time.Second))
	set(t, b, stopped, time.Now().Add(time.Hour))
	_, js := b.Raw()
	s, err := js.Stream(t.Context(), topology.StreamTimers)
	if err != nil || s.CachedInfo().Config.Replicas != 3 {
		t.Fatal(err)
	}
	leader := servers[s.CachedInfo().Cluster.Leader]
	leader.Shutdown()
	leader.WaitForShutdown()
	if err := b.Timers().Stop(within(t, 30*time.Second), stopped); err != nil {
		t.Fatal(err)
	}
	if err := b.Timers().Set(within(t, 30*time.Second), second, time.Now().Add(500*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	fired := map[string]int{}
	for len(fired) < 2 {
		// The cluster may have to elect twice, of itself and of the stream, within
		// 9 s each, before there is a reader again.
		d := takeIn(t, due, 30*time.Second)
		fired[d.Conversation]++
		if err := b.Timers().DropDue(within(t, 30*time.Second), d); err != nil {
			t.Fatal(err)
		}
	}
	if fired[first] != 1 || fired[second] != 1 {
		t.Errorf("fired: %v", fired)
	}
	if got := waiting(t, b); len(got) > 0 {
		t.Errorf("%v wait", got)
	}
}

// TestANewLeaderMayHaveLostDecisions: what the former one stored and did not republish.
func TestANewLeaderMayHaveLostDecisions(t *testing.T) {
	t.Parallel()
	_, b := cluster(t)
	d := followDecisions(t, b, nothing)
	for range 3 { // at the start, a second and two lifetimes of a lease later
		takeIn(t, d.resync, time.Minute)
	}
	nc, _ := b.Raw()
	if _, err := nc.RequestWithContext(within(t, time.Minute), "$JS.API.STREAM.LEADER.STEPDOWN."+topology.ConvStream(0), nil); err != nil {
		t.Fatal(err)
	}
	takeIn(t, d.resync, time.Minute)
}
