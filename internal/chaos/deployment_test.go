package chaos_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/broker/brokertest"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/fault"
	"github.com/parleybus/parley/internal/topology"
)

// servers are one nats-server, or a cluster of three.
type servers struct {
	t       *testing.T
	one     *process
	cluster *brokertest.Cluster
	bin     string
	dir     string
	address string
	token   string     // of the one server: roles of another run may know its port
	mounted bool       // the store is on a small disk
	mu      sync.Mutex // one server is away at a time
}

func startServers(t *testing.T, bin, dir string, p plan, nodes int) *servers {
	t.Helper()
	s := &servers{t: t, bin: bin, dir: dir, token: rand.Text()}
	if nodes == 3 {
		s.cluster = brokertest.Start(t, brokertest.Config{Binary: filepath.Join(bin, "nats-server")})
		return s
	}
	s.address = brokertest.Addresses(t, 1)[0]
	if p.Store.Kind == "full" {
		s.mount(t)
	}
	s.start()
	return s
}

func (s *servers) start() {
	_, port, _ := strings.Cut(s.address, ":")
	s.one = begin(s.t, s.dir, "nats-server", nil, filepath.Join(s.bin, "nats-server"), "-js", "-sd", filepath.Join(s.dir, "store"), "-a", "127.0.0.1", "-p", port, "--auth", s.token)
}

// urls returns the server of the n-th client first.
func (s *servers) url(n int) string {
	if s.cluster != nil {
		return s.cluster.Node(n % 3)
	}
	return brokertest.URL(s.token, s.address)
}

// strike kills a server, calls struck, and starts the server again later.
func (s *servers) strike(n int, later time.Duration, struck func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cluster != nil {
		s.cluster.Kill(n % 3)
		struck()
		<-time.After(later) // a fault lasts for a time, nothing is awaited
		s.cluster.Serve(n % 3)
		return
	}
	s.one.signal(syscall.SIGKILL)
	<-s.one.ended
	struck()
	<-time.After(later)
	s.start()
}

// process is a running program; its log is in a file.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

func begin(t *testing.T, dir, name string, env []string, path string, args ...string) *process {
	log, err := os.OpenFile(filepath.Join(dir, name+".log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Errorf("start %s: %v", name, err)
		return &process{ended: closed()}
	}
	p := &process{cmd: exec.Command(path, args...), ended: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, log, log
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "OLLAMA_HOST=http://127.0.0.1:1", "PARLEY_PLANTED=" + os.Getenv("PARLEY_PLANTED")}, env...)
	err = p.cmd.Start()
	_ = log.Close() // the process has its own
	if err != nil {
		t.Errorf("start %s: %v", name, err)
		p.cmd = nil
		close(p.ended)
		return p
	}
	go func() {
		_ = p.cmd.Wait() // killed, as a rule
		close(p.ended)
	}()
	return p
}

func closed() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

func (p *process) signal(s syscall.Signal) {
	if p.cmd != nil {
		_ = p.cmd.Process.Signal(s) // it may have ended
	}
}

// deployment is the processes of one seed. A role that ends is started again.
type deployment struct {
	t       *testing.T
	dir     string
	bin     string
	plan    plan
	servers *servers
	fake    *provider
	proxies []*brokertest.Proxy
	running sync.WaitGroup
	over    chan struct{}
	ids     []string // of the conversations, in the order of scenarios

	restored atomic.Bool // the log is an earlier copy

	mu    sync.Mutex
	roles []*process
	done  bool
}

func deploy(t *testing.T, bin, dir string, p plan, nodes int) *deployment {
	t.Helper()
	d := &deployment{t: t, dir: dir, bin: bin, plan: p, over: make(chan struct{})}
	for range scenarios() {
		d.ids = append(d.ids, parley.NewID())
	}
	d.servers = startServers(t, bin, dir, p, nodes)
	t.Cleanup(func() {
		if d.servers.one != nil {
			d.servers.one.signal(syscall.SIGKILL)
			<-d.servers.one.ended
		}
	})
	d.roles = make([]*process, len(roles()))
	for n := range roles() {
		proxy, err := brokertest.StartProxy(d.servers.url(n))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(proxy.Close)
		d.proxies = append(d.proxies, proxy)
	}
	d.fake = startProvider(t, p.Seed) // after the proxies: its port may be free for a while
	t.Cleanup(d.fake.close)
	for n := range roles() {
		d.setClock(n, 0)
		d.running.Go(func() { d.keep(n, nodes) })
	}
	return d
}

// keep runs a role until the deployment ends, the first time with the moment at which
// it is struck.
func (d *deployment) keep(n, nodes int) {
	role := roles()[n]
	env := []string{"NATS_URL=" + d.proxies[n].URL(), "PARLEY_FAULT_LOG=" + d.struck(n), "PARLEY_WRONG_CLOCK=" + d.clock(n)}
	always := len(env)
	if d.plan.strikes(n) {
		env = append(env, fmt.Sprintf("PARLEY_FAULT=%s#%d=%s", d.plan.Point, d.plan.Times, d.plan.Strike))
	}
	args := []string{"--name", fmt.Sprintf("%s-%d", role, n), "--drain-timeout", "2s", "--http", "127.0.0.1:0"}
	switch role {
	case "orchestrator":
		args = append(args, "--rules", filepath.Join(d.dir, "rules.yaml"), "--stream-replicas", fmt.Sprint(nodes))
		if d.plan.Store.Kind == "expires" {
			args = append(args, "--max-age", shortAge(nodes).String())
		}
	case "llm-worker":
		args = append(args, "--script", filepath.Join(d.dir, "script.yaml"), "--provider", "fake="+d.fake.url(), "--idle-timeout", "3s")
	case "tool-worker":
		args = append(args, "--tools-file", filepath.Join(d.dir, "tools.yaml"))
	case "viewer":
		args = []string{d.ids[viewed(n)], d.seen(n)}
	}
	for {
		d.mu.Lock()
		if d.done {
			d.mu.Unlock()
			return
		}
		p := begin(d.t, d.dir, fmt.Sprintf("%s-%d", role, n), env, filepath.Join(d.bin, role), args...)
		d.roles[n] = p
		d.mu.Unlock()
		<-p.ended
		env = env[:always]
		select {
		case <-d.over:
		case <-time.After(100 * time.Millisecond): // as whoever supervises processes does
		}
	}
}

func (d *deployment) role(n int) *process {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.roles[n]
}

// disturb carries out the plan's events, and wakes what a moment has suspended.
func (d *deployment) disturb(start time.Time) {
	for _, e := range d.plan.Events {
		d.running.Go(func() {
			if d.sleep(time.Until(start.Add(e.At))) {
				d.do(e)
			}
		})
	}
	d.disturbStore(start)
	for n := range roles() {
		if !d.plan.strikes(n) || d.plan.Strike == fault.Kill || d.plan.Strike == fault.Stop {
			continue // the process does it itself
		}
		d.running.Go(func() {
			for d.sleep(2 * time.Millisecond) {
				if _, err := os.Stat(d.struck(n)); err == nil {
					d.strike(n)
					return
				}
			}
		})
	}
}

// struck is the file that says that a process has reached the moment.
func (d *deployment) struck(n int) string { return filepath.Join(d.dir, fmt.Sprintf("struck-%d", n)) }

// seen is the file of a viewer's process.
func (d *deployment) seen(n int) string { return filepath.Join(d.dir, fmt.Sprintf("seen-%d", n)) }

// strike does what a process waits for at the moment, and lets it go on.
func (d *deployment) strike(n int) {
	goOn := func() {
		if err := os.WriteFile(d.struck(n)+".done", nil, 0o600); err != nil {
			d.t.Errorf("let process %d go on: %v", n, err)
		}
	}
	switch d.plan.Strike {
	case fault.Suspend:
		p := d.role(n)
		p.signal(syscall.SIGSTOP)
		goOn()
		d.sleep(longerThanALease)
		p.signal(syscall.SIGCONT)
	case fault.Cut:
		d.proxies[n].Cut()
		goOn()
	case fault.Server:
		d.servers.strike(d.servers.leader(n), serverAway, goOn)
	}
}

// serverAway is how long a server is away that is killed at a moment.
const serverAway = 700 * time.Millisecond

// leader returns the number of the server that leads the log, or any if there is none.
func (s *servers) leader(any int) int {
	if s.cluster == nil {
		return 0
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Second)
	defer cancel()
	b, err := bus.Connect(ctx, bus.Config{URL: s.url(any)}, nil)
	if err != nil {
		return any
	}
	defer b.Close()
	_, js := b.Raw()
	log, err := js.Stream(ctx, topology.ConvStream(0))
	if err != nil || log.CachedInfo().Cluster == nil || log.CachedInfo().Cluster.Leader == "" {
		return any
	}
	return s.cluster.Number(log.CachedInfo().Cluster.Leader)
}

// sleep reports whether the deployment still runs after a time.
func (d *deployment) sleep(t time.Duration) bool {
	select {
	case <-d.over:
		return false
	case <-time.After(t):
		return true
	}
}

func (d *deployment) do(e event) {
	switch e.Kind {
	case "kill":
		d.role(e.Role).signal(syscall.SIGKILL)
	case "stop":
		d.role(e.Role).signal(syscall.SIGTERM)
	case "suspend":
		p := d.role(e.Role)
		p.signal(syscall.SIGSTOP)
		d.sleep(longerThanALease)
		p.signal(syscall.SIGCONT)
	case "cut":
		d.proxies[e.Role].Cut()
	case "delay":
		d.proxies[e.Role].Delay(e.For / 10)
		d.sleep(e.For)
		d.proxies[e.Role].Heal()
	case "hang":
		d.proxies[e.Role].Hang(brokertest.ToClient)
		d.sleep(e.For)
		d.proxies[e.Role].Heal()
	case "clock":
		d.setClock(e.Role, e.For)
	case "server":
		d.servers.strike(e.Role, e.For, func() {})
	}
}

// end stops all roles.
func (d *deployment) end() {
	d.mu.Lock()
	d.done = true
	all := append([]*process(nil), d.roles...)
	d.mu.Unlock()
	close(d.over)
	for _, p := range all {
		p.signal(syscall.SIGKILL)
	}
	d.running.Wait()
}
