package main

import (
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/events"
)

// cluster is three NATS servers that replicate every stream.
type cluster struct {
	*separate
	clients, routes [3]string // host:port
	servers         [3]*process
}

// freePorts are ports that the system picked and nobody has yet.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	var all []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }() // all are held until all are known
		all = append(all, l.Addr().String())
	}
	return all
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{separate: prepare(t)}
	ports := freePorts(t, 6)
	copy(c.clients[:], ports[:3])
	copy(c.routes[:], ports[3:])
	c.url = "nats://" + strings.Join(c.clients[:], ",nats://")
	for i := range c.servers {
		c.serve(i)
	}
	for _, s := range c.servers {
		s.await(1, "Server is ready")
	}
	c.orch = c.start("orchestrator", "--stream-replicas", "3")
	c.orch.await(1, "owns a shard")
	c.restart("llm-worker")
	c.restart("tool-worker")
	return c
}

func (c *cluster) serve(i int) {
	c.t.Helper()
	_, port, _ := strings.Cut(c.clients[i], ":")
	c.servers[i] = c.start("nats-server", "-js", "-sd", filepath.Join(c.dir, fmt.Sprintf("store%d", i)), "--name", fmt.Sprintf("n%d", i),
		"-a", "127.0.0.1", "-p", port, "--cluster_name", "parley", "--cluster", "nats://"+c.routes[i], "--routes", "nats://"+strings.Join(c.routes[:], ",nats://"))
}

// leader is the server that leads the conversation's stream.
func (c *cluster) leader() int {
	c.t.Helper()
	nc, err := nats.Connect(c.url)
	if err != nil {
		c.t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		c.t.Fatal(err)
	}
	s, err := js.Stream(c.t.Context(), "CONV_0")
	if err != nil {
		c.t.Fatal(err)
	}
	if n := s.CachedInfo().Config.Replicas; n != 3 {
		c.t.Fatalf("the stream has %d replicas", n)
	}
	var i int
	if _, err := fmt.Sscanf(s.CachedInfo().Cluster.Leader, "n%d", &i); err != nil {
		c.t.Fatalf("leader %q: %v", s.CachedInfo().Cluster.Leader, err)
	}
	return i
}

// textOf is the text of the one answer that a viewer saw, folded: an attempt
// that was superseded does not count.
func textOf(t *testing.T, output string) string {
	t.Helper()
	var answer accumulator.Generation
	for line := range strings.Lines(output) {
		var e entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		l, err := events.DecodeLine(e.Event)
		if err != nil {
			t.Fatalf("event %s: %v", e.Event, err)
		}
		answer.Apply(l.Event)
	}
	return answer.Text()
}

// TestE2EClusterLosesItsLeaderInTheMiddleOfAnAnswer kills the server that leads
// a conversation's stream while an answer is written to it.
func TestE2EClusterLosesItsLeaderInTheMiddleOfAnAnswer(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	leader := c.leader()
	a := c.ask("take your time")
	c.streaming(a)
	tail := c.command("tail", "--json", c.conversation)
	tail.await(1, `"type":"TextChunk"`)
	c.servers[leader].kill()
	saw := a.finish()
	if n := strings.Count(saw, "TurnEnded"); n != 1 {
		t.Errorf("the turn ended %d times:\n%s", n, saw)
	}
	if got := textOf(t, saw); got != slowAnswer() {
		t.Errorf("the answer is %q, want %q", got, slowAnswer())
	}
	tail.await(1, `"type":"TurnEnded"`)
	tail.stop()
	c.same("tail", tail.output(), saw)
	c.serve(leader)
	c.servers[leader].await(1, "Server is ready")
	c.same("replay with the server back", c.command("replay", "--json", c.conversation).finish(), saw)
}
