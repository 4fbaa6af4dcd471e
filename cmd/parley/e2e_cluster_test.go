package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/broker/brokertest"
	"github.com/parleybus/parley/internal/events"
)

// cluster is Parley beside three NATS servers that replicate every stream.
type cluster struct {
	*separate
	servers *brokertest.Cluster
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{separate: prepare(t)}
	c.servers = brokertest.Start(t, brokertest.Config{Binary: filepath.Join(c.bin, "nats-server")})
	c.url = c.servers.URL()
	c.orch = c.start("orchestrator", "--stream-replicas", "3")
	c.orch.await(1, "owns a shard")
	c.restart("llm-worker")
	c.restart("tool-worker")
	return c
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
	return c.servers.Number(s.CachedInfo().Cluster.Leader)
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
	c.servers.Kill(leader)
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
	c.servers.Serve(leader)
	c.same("replay with the server back", c.command("replay", "--json", c.conversation).finish(), saw)
}
