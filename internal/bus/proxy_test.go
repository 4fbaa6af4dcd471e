package bus_test

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// proxy connects a client and a server, and cuts their connections when a test calls
// cut.
type proxy struct {
	listener net.Listener
	target   string
	running  sync.WaitGroup

	mu      sync.Mutex
	open    map[net.Conn]bool
	silent  bool // drop what the server sends
	down    bool // refuse new connections
	ended   bool
	instead func(client net.Conn) // answers new connections in the server's place
	seen    chan struct{}         // receives once for each of them
}

// through starts a proxy to a server and returns it.
func through(t *testing.T, server string) *proxy {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: u.Host, open: map[net.Conn]bool{}}
	p.running.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		p.ended = true
		p.mu.Unlock()
		p.cut()
		p.running.Wait()
	})
	return p
}

func (p *proxy) url() string { return "nats://" + p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		if p.misbehave(client) {
			continue
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		if p.ended || p.down {
			p.mu.Unlock()
			_, _ = client.Close(), server.Close()
			continue
		}
		p.open[client], p.open[server] = true, true
		p.running.Go(func() { p.pipe(server, client, false) })
		p.running.Go(func() { p.pipe(client, server, true) })
		p.mu.Unlock()
	}
}

func (p *proxy) pipe(dst, src net.Conn, answers bool) {
	buf := make([]byte, 16<<10)
	for {
		n, err := src.Read(buf)
		p.mu.Lock()
		drop := answers && p.silent
		p.mu.Unlock()
		if n > 0 && !drop {
			if _, err := dst.Write(buf[:n]); err != nil {
				break
			}
		}
		if err != nil {
			if err != io.EOF {
				break
			}
			break
		}
	}
	_, _ = src.Close(), dst.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, src)
	delete(p.open, dst)
}

// cut breaks all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		_ = c.Close()
	}
	p.silent = false
}

// mute passes on what the client sends and drops the server's answers until the next
// cut: what is published is stored, and its writer cannot know.
func (p *proxy) mute() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = true
}

// refuse turns new connections away, or no longer.
func (p *proxy) refuse(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

// answer has new connections answered by instead, or again by the server when it
// is nil. The channel receives for each such connection.
func (p *proxy) answer(instead func(client net.Conn)) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.instead = instead
	if instead != nil {
		p.seen = make(chan struct{}, 1000)
	}
	return p.seen
}

// misbehave answers a connection in the server's place; it reports false when
// the server is to.
func (p *proxy) misbehave(client net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.instead == nil || p.ended {
		return false
	}
	instead, seen := p.instead, p.seen
	p.open[client] = true
	seen <- struct{}{}
	p.running.Go(func() {
		instead(client)
		_ = client.Close()
		p.mu.Lock()
		delete(p.open, client)
		p.mu.Unlock()
	})
	return true
}
