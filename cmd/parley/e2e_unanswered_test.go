package main

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/topology"
)

// ends waits for a command to end and returns its exit code and what it complained
// about.
func (r *process) ends() (code int, complaint string) {
	r.t.Helper()
	select {
	case <-r.done:
	case <-time.After(60 * time.Second):
		r.t.Fatalf("%v does not end", r.cmd.Args)
	}
	return exitCode(r.err), r.errs.String()
}

// TestE2EAskSaysWhyThereIsNoAnswer: no server, no orchestrator, and an
// orchestrator that cannot write are distinguished, and one SIGTERM always ends it. A stream without acknowledgements
// looks like one whose disk is full.
func TestE2EAskSaysWhyThereIsNoAnswer(t *testing.T) {
	t.Parallel()
	s := &separate{processes: build(t)}
	s.startNATS("-1")
	want := func(what string, code int, words string, asked *process) {
		t.Helper()
		if got, said := asked.ends(); got != code || !strings.Contains(said, words) {
			t.Errorf("%s: exit code %d, %q; want %d and %q", what, got, said, code, words)
		}
	}
	workers := s.command("up", "--only", "llm-worker,orchestrator", "--data", filepath.Join(s.dir, "d"))
	workers.await(1, "Next, in another terminal")
	want("all is well", exitOK, "", s.command("ask", "-q", "hello"))

	nc, err := nats.Connect(s.url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	conv, err := js.Stream(t.Context(), topology.ConvStream(0))
	if err != nil {
		t.Fatal(err)
	}
	workers.stop()
	// Only a worker: no process here may correct the streams.
	llm := s.start("llm-worker", "--http", "127.0.0.1:0")
	llm.await(1, "msg=ready")
	want("no orchestrator", exitUnowned, "no orchestrator took the message", s.command("ask", "-q", "hello"))
	ended := s.command("ask", "--json", "hello")
	ended.await(1, "hello")
	if err := ended.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	want("SIGTERM, and nobody cancels the turn", exitCancelled, "left", ended)
	cfg := conv.CachedInfo().Config
	cfg.NoAck = true
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	want("nothing is stored", exitNotStored, "does not store messages", s.command("ask", "-q", "hello"))
	want("doctor", exitFailed, "", s.command("doctor"))
	llm.stop()
	s.nats.stop()
	want("no server", exitNobody, "no NATS server answers", s.command("ask", "-q", "hello"))
}
