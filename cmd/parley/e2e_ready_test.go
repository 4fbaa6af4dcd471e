package main

import (
	"crypto/rand"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/broker/brokertest"
	"github.com/parleybus/parley/internal/topology"
)

// becomes waits until a service's readiness has a status and a text.
func (r *process) becomes(status int, says string) {
	r.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for late := time.Now().Add(20 * time.Second); ; <-tick.C {
		got, body := r.get("/readyz")
		if got == status && strings.Contains(body, says) {
			return
		}
		if time.Now().After(late) {
			r.t.Fatalf("%s: /readyz is %d, %q; want %d and %q", r.name, got, body, status, says)
		}
	}
}

// TestE2EServicesWaitForAServer: a server accepts connections and sends nothing. The
// services live, are not ready, end cleanly when they are stopped, and work as soon as
// there is a server.
func TestE2EServicesWaitForAServer(t *testing.T) {
	t.Parallel()
	s := &separate{processes: build(t)}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan net.Conn, 100)
	go func() {
		for {
			c, err := silent.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- c
		}
	}()
	port := strings.TrimPrefix(silent.Addr().String(), "127.0.0.1:")
	s.token = rand.Text()
	s.url = brokertest.URL(s.token, silent.Addr().String())
	orchestrator := s.start("orchestrator", "--http", "127.0.0.1:0")
	worker := s.start("llm-worker", "--http", "127.0.0.1:0")
	for range 4 {
		<-accepted
	}
	for _, service := range []*process{orchestrator, worker} {
		service.becomes(http.StatusServiceUnavailable, "waiting for NATS")
		if status, _ := service.get("/healthz"); status != http.StatusOK {
			t.Errorf("%s: /healthz is %d", service.name, status)
		}
	}
	s.start("tool-worker", "--http", "127.0.0.1:0").stopWaiting()
	if err := silent.Close(); err != nil {
		t.Fatal(err)
	}
	for c := range accepted {
		_ = c.Close()
	}
	s.startNATS(port)
	orchestrator.becomes(http.StatusOK, "")
	worker.becomes(http.StatusOK, "")
	orchestrator.stop()
	worker.stop()
	s.nats.stop()
}

// stopWaiting stops a service that has not found its server yet.
func (r *process) stopWaiting() {
	r.t.Helper()
	r.await(1, "waiting for NATS")
	r.stop()
}

// TestE2EReadinessNamesWhatIsMissing: a worker names the stream that is gone, and
// is ready again when an orchestrator has made it again.
func TestE2EReadinessNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	s := &separate{processes: build(t)}
	s.startNATS("-1")
	s.restart("orchestrator")
	worker := s.start("llm-worker", "--http", "127.0.0.1:0")
	worker.becomes(http.StatusOK, "")
	nc, err := nats.Connect(s.url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	remove := func(stream string) {
		if err := js.DeleteStream(t.Context(), stream); err != nil {
			t.Fatal(err)
		}
	}
	s.orch.stop()
	remove(topology.StreamJobs)
	remove(topology.ConvStream(0))
	worker.becomes(http.StatusServiceUnavailable, topology.StreamJobs)
	worker.becomes(http.StatusServiceUnavailable, topology.ConvStream(0))
	s.restart("orchestrator")
	worker.becomes(http.StatusOK, "")
	s.orch.becomes(http.StatusOK, "")
	remove(topology.StreamTimers)
	remove("KV_" + topology.BucketPresence)
	s.orch.await(1, "stream=TIMERS")
	s.orch.becomes(http.StatusOK, "")
	if code, said := s.command("ask", "-q", "hello").ends(); code != exitOK {
		t.Errorf("exit code %d: %s", code, said)
	}
	s.orch.stop()
	worker.stop()
	s.nats.stop()
}
