package bus_test

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// proxy stands between a client and a server and cuts their connections when
// told.
type proxy struct {
	listener net.Listener
	target   string
	running  sync.WaitGroup

	mu     sync.Mutex
	open   map[net.Conn]bool
	silent bool // swallow what the server says
	down   bool // refuse new connections
	ended  bool
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

// mute lets what the client says through and swallows the server's answers
// until the next cut: what is published stands, and its writer cannot know.
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
