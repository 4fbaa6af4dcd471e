// Package brokertest runs a cluster of three nats-server processes, for tests
// that stop one of them and start it again.
package brokertest

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startMost bounds the time to start or stop a server.
const startMost = 30 * time.Second

// Config configures a cluster.
type Config struct {
	Binary string // of nats-server; built from the module's own version when empty
	// Catchup bounds the data in flight to a server that catches up, in bytes:
	// a low bound makes it slow. 0 means the server's default, 64 MiB.
	Catchup int
}

// Cluster is three servers, n0 to n2.
type Cluster struct {
	t                        *testing.T
	cfg                      Config
	dir                      string
	token                    string
	clients, routes, monitor []string // host:port
	servers                  [3]*server
}

type server struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended

	mu    sync.Mutex
	lines []string
	ready chan struct{}
}

// Start starts a cluster and stops it at the end of the test.
func Start(t *testing.T, cfg Config) *Cluster {
	t.Helper()
	c := &Cluster{t: t, cfg: cfg, dir: t.TempDir(), token: rand.Text()}
	if c.cfg.Binary == "" {
		c.cfg.Binary = filepath.Join(c.dir, "nats-server")
		build := exec.CommandContext(t.Context(), "go", "build", "-o", c.cfg.Binary, "github.com/nats-io/nats-server/v2")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build nats-server: %v\n%s", err, out)
		}
	}
	ports := Addresses(t, 9)
	c.clients, c.routes, c.monitor = ports[:3], ports[3:6], ports[6:]
	for i := range c.servers {
		c.begin(i)
	}
	for i := range c.servers {
		c.await(i)
	}
	return c
}

// Ports of servers that come back to them lie below those that systems give out by
// themselves (32768 on Linux): another process must not get one while its server is down.
const firstPort, ports = 12_000, 20_000

// Addresses returns n addresses with free ports.
func Addresses(t *testing.T, n int) []string {
	t.Helper()
	var all []string
	for tries := 0; len(all) < n; tries++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", firstPort+mathrand.IntN(ports)))
		if err != nil {
			if tries > 100+n {
				t.Fatal(err)
			}
			continue // in use
		}
		defer func() { _ = l.Close() }() // keep all until all are known
		all = append(all, l.Addr().String())
	}
	return all
}

// URL returns the URLs of all servers.
func (c *Cluster) URL() string { return c.Node(0) + "," + c.Node(1) + "," + c.Node(2) }

// Node returns the URL of one server. It holds the cluster's token, without which
// clients of another test could find a server on a port that was theirs.
func (c *Cluster) Node(i int) string { return URL(c.token, c.clients[i]) }

// URL returns the URL of a server that demands a token.
func URL(token, address string) string { return "nats://" + token + "@" + address }

// Number returns the number of the server with a name, as JetStream reports it.
func (c *Cluster) Number(name string) int {
	c.t.Helper()
	var i int
	if _, err := fmt.Sscanf(name, "n%d", &i); err != nil {
		c.t.Fatalf("server %q: %v", name, err)
	}
	return i
}

const configuration = `
server_name: n%d
listen: %s
http: %s
authorization { token: %q }
jetstream { store_dir: %q, max_outstanding_catchup: %d }
cluster { name: %q, listen: %s, routes: [%s] }
`

func (c *Cluster) begin(i int) {
	c.t.Helper()
	config := filepath.Join(c.dir, fmt.Sprintf("n%d.conf", i))
	text := fmt.Sprintf(configuration, i, c.clients[i], c.monitor[i], c.token, filepath.Join(c.dir, fmt.Sprintf("store%d", i)),
		c.cfg.Catchup, "parley-"+c.token, c.routes[i], "nats://"+strings.Join(c.routes, ", nats://"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	s := &server{cmd: exec.Command(c.cfg.Binary, "-c", config), done: make(chan struct{}), ready: make(chan struct{})}
	out, err := s.cmd.StderrPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		c.t.Fatalf("start nats-server: %v", err)
	}
	go s.collect(out)
	c.servers[i] = s
	c.t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // after a successful test it has already ended
		<-s.done
		if c.t.Failed() {
			c.t.Logf("output of n%d:\n%s", i, s.output())
		}
	})
}

func (s *server) collect(out io.Reader) {
	defer close(s.done)
	ready := sync.OnceFunc(func() { close(s.ready) })
	for lines := bufio.NewScanner(out); lines.Scan(); {
		s.mu.Lock()
		s.lines = append(s.lines, lines.Text())
		s.mu.Unlock()
		if strings.Contains(lines.Text(), "Server is ready") {
			ready()
		}
	}
	_ = s.cmd.Wait() // a server that is killed ends with an error
}

func (s *server) output() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

func (c *Cluster) await(i int) {
	c.t.Helper()
	s := c.servers[i]
	select {
	case <-s.ready:
	case <-s.done:
		c.t.Fatalf("server n%d ended:\n%s", i, s.output())
	case <-time.After(startMost):
		c.t.Fatalf("server n%d does not start:\n%s", i, s.output())
	}
}

// Serve starts a server again, with its store and address, and waits until its
// JetStream answers.
func (c *Cluster) Serve(i int) {
	c.t.Helper()
	c.begin(i)
	c.await(i)
	js, done := c.connect(c.Node(i))
	defer done()
	for until := time.Now().Add(startMost); ; {
		// A request is never answered if the server has not joined the cluster
		// yet.
		try, cancel := context.WithTimeout(c.t.Context(), 200*time.Millisecond)
		_, err := js.AccountInfo(try)
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(until) {
			c.t.Fatalf("server n%d does not join the others: %v", i, err)
		}
	}
}

// Kill ends a server like a crash.
func (c *Cluster) Kill(i int) {
	c.t.Helper()
	if err := c.servers[i].cmd.Process.Kill(); err != nil {
		c.t.Fatalf("kill n%d: %v", i, err)
	}
	<-c.servers[i].done
}

// Stop stops a server normally: it steps down as a leader, so that the others
// elect new leaders at once.
func (c *Cluster) Stop(i int) {
	c.t.Helper()
	s := c.servers[i]
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		c.t.Fatalf("stop n%d: %v", i, err)
	}
	select {
	case <-s.done:
	case <-time.After(startMost):
		c.t.Fatalf("server n%d does not stop:\n%s", i, s.output())
	}
}

// Holds returns the last sequence of a stream in a server's own store,
// independently of the leader.
func (c *Cluster) Holds(i int, stream string) uint64 {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), startMost)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.monitor[i]+"/jsz?streams=true", http.NoBody)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Close = true // a kept connection would outlive the test
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatalf("read the state of n%d: %v", i, err)
	}
	defer func() { _ = res.Body.Close() }() // read to its end
	var answer struct {
		Accounts []struct {
			Streams []struct {
				Name  string `json:"name"`
				State struct {
					Last uint64 `json:"last_seq"`
				} `json:"state"`
			} `json:"stream_detail"`
		} `json:"account_details"`
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		c.t.Fatalf("read the state of n%d: %v", i, err)
	}
	for _, a := range answer.Accounts {
		for _, s := range a.Streams {
			if s.Name == stream {
				return s.State.Last
			}
		}
	}
	return 0
}
