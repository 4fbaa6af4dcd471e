package bus_test

import (
	"context"
	"errors"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/jobs"
	"github.com/parleybus/parley/internal/topology"
)

// process is a nats-server in a process of its own, as people run it.
type process struct {
	t            *testing.T
	binary, data string
	port         int
	cmd          *exec.Cmd
}

func (p *process) url() string { return "nats://127.0.0.1:" + strconv.Itoa(p.port) }

func (p *process) start() {
	p.t.Helper()
	p.cmd = exec.Command(p.binary, "-js", "-a", "127.0.0.1", "-p", strconv.Itoa(p.port), "-sd", p.data)
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	eventually(p.t, func() bool {
		nc, err := nats.Connect(p.url())
		if err != nil {
			return false
		}
		defer nc.Close()
		return nc.IsConnected()
	}, "nats-server does not answer")
}

// kill ends the server as a crash does.
func (p *process) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait() // returns that it was killed
	}
}

// ownServer builds nats-server and starts it in a process of its own.
func ownServer(t *testing.T) *process {
	t.Helper()
	dir := t.TempDir()
	p := &process{t: t, binary: filepath.Join(dir, "nats-server"), data: filepath.Join(dir, "data")}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", p.binary, "github.com/nats-io/nats-server/v2")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build nats-server: %v\n%s", err, out)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.port = free.Addr().(*net.TCPAddr).Port
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	p.start()
	t.Cleanup(p.kill)
	return p
}

// The same over TCP with a separate server process, which dies in the middle and
// comes back: what was acknowledged is stored once and in order.
func TestServerInItsOwnProcess(t *testing.T) {
	t.Parallel()
	p := ownServer(t)
	writer, reader := join(t, p.url()), join(t, p.url())

	const each = 4000
	conversation := id()
	followed := followShard(t, reader, 0)
	take(t, followed.caught)
	watched := make(chan error, 1)
	ctx := within(t, 50*time.Second)
	go func() {
		got, err := follow(ctx, reader, conversation, bus.From{}, each)
		if err == nil {
			err = numbered(got, "", each)
		}
		watched <- err
	}()
	lane := writer.Lane(gen(writer, conversation)).Open(ctx, 0)
	for i := range each {
		if err := lane.Append(chunk("", i)); err != nil {
			t.Fatal(err)
		}
		if i%8 == 0 && i%1600 < 1400 {
			if _, err := lane.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if i%1600 == 1500 { // with a publish on its way
			p.kill()
			p.start()
		}
	}
	end, err := lane.Close()
	if err != nil {
		t.Fatal(err)
	}
	if err := take(t, watched); err != nil {
		t.Errorf("the viewer: %v", err)
	}
	if err := numbered(texts(t, writer, conversation, bus.From{}), "", each); err != nil {
		t.Errorf("the log: %v", err)
	}
	var all []string
	for last := uint64(0); last < end; {
		m := take(t, followed.got)
		if m.Sequence <= last {
			t.Fatalf("%d after %d", m.Sequence, last)
		}
		last = m.Sequence
		all = append(all, lines(m)...)
	}
	if err := numbered(all, "", each); err != nil {
		t.Errorf("the follower: %v", err)
	}
	followed.end(t)
	if _, err := writer.Lane(topology.At(1, conversation, gen(writer, conversation).Channel)).Append(ctx, 0, []byte(`{"type":"X"}`)); !errors.Is(err, bus.ErrFenced) {
		t.Errorf("a late first append: %v", err)
	}

	p.jobs(writer)
	saw := decide(t, writer, id(), 0, "o")
	if d, seq, err := reader.Conversation(id()).LastDecision(ctx, saw); d != nil || seq != 0 || err != nil {
		t.Errorf("%v at %d, %v", d, seq, err)
	}
}

// jobs runs jobs while the server dies and comes back.
func (p *process) jobs(b *bus.Bus) {
	t := p.t
	t.Helper()
	const tool = "clock"
	q, err := topology.ToolQueue(tool)
	if err != nil {
		t.Fatal(err)
	}
	put := func() {
		call := id()
		subject, err := topology.ToolJob(tool, call)
		if err == nil {
			err = b.Jobs().Publish(t.Context(), id(), subject, call, &events.ToolJob{Call: call, Tool: tool})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put()
	ran, ended := make(chan string, 9), make(chan error, 1)
	working, stop := context.WithCancel(t.Context())
	pool := jobs.WorkerPool{Bus: b, Queues: map[topology.Queue]jobs.Work{q: {Slots: 2, Handle: func(_ context.Context, j jobs.Job) error { ran <- j.Subject; return nil }}}}
	go func() { ended <- pool.Run(working) }()
	p.kill()
	p.start()
	put()
	for range 2 {
		take(t, ran)
	}
	_, js := b.Raw()
	eventually(t, func() bool { return stored(t.Context(), js, topology.StreamJobs) == 0 }, "the jobs are not acknowledged")
	stop()
	if err := take(t, ended); err != nil {
		t.Error(err)
	}
}
