package brokertest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"
)

// Direction is a direction of a [Proxy]'s connections.
type Direction int

// The directions.
const (
	ToServer Direction = 1 << iota
	ToClient
	BothWays = ToServer | ToClient
)

// Proxy is a TCP proxy between clients and a server that fails like a network. Its
// faults apply to all connections, to those that exist and to new ones, until
// [Proxy.Heal]. Bytes are never lost, doubled or reordered within a connection. It
// is safe for concurrent use.
type Proxy struct {
	listener net.Listener
	target   url.URL
	running  sync.WaitGroup

	mu      sync.Mutex
	open    map[*pair]bool
	closed  bool
	refuses bool
	delay   time.Duration
	hung    Direction
	changed chan struct{} // closed and replaced when delay or hung changes
}

// StartProxy starts a proxy to a server, a URL such as nats://127.0.0.1:4222, on a
// loopback port that the system chooses.
func StartProxy(server string) (*Proxy, error) {
	target, err := url.Parse(server)
	if err == nil && target.Host == "" {
		err = errors.New("no host: write nats://host:port")
	}
	if err != nil {
		return nil, fmt.Errorf("proxy to %q: %w", server, err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("proxy to %s: %w", target.Host, err)
	}
	p := &Proxy{listener: l, target: *target, open: map[*pair]bool{}, changed: make(chan struct{})}
	p.running.Go(p.accept)
	return p, nil
}

// URL returns the server's URL with the proxy's address in place of the server's.
func (p *Proxy) URL() string {
	u := p.target
	u.Host = p.listener.Addr().String()
	return u.String()
}

// Cut closes all connections; bytes on their way are lost. New connections are
// accepted.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut()
}

func (p *Proxy) cut() {
	for c := range p.open {
		c.close()
	}
}

// Refuse closes each new connection at once.
func (p *Proxy) Refuse() { p.set(func() { p.refuses = true }) }

// Delay delivers bytes this long after they were sent, in both directions. The
// throughput is unchanged.
func (p *Proxy) Delay(d time.Duration) { p.set(func() { p.delay = d }) }

// Hang makes connections half open: they stay open and bytes in these directions
// are held back. Heal delivers them, Cut loses them. With [ToClient] requests still
// reach the server, and only their answers are held back.
func (p *Proxy) Hang(d Direction) { p.set(func() { p.hung = d }) }

// Heal ends all faults and delivers what was held back.
func (p *Proxy) Heal() { p.set(func() { p.refuses, p.delay, p.hung = false, 0, 0 }) }

func (p *Proxy) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	close(p.changed)
	p.changed = make(chan struct{})
}

// Connections returns the number of open connections.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.open)
}

// Close cuts all connections, accepts no new ones, and waits for the proxy's
// goroutines.
func (p *Proxy) Close() {
	_ = p.listener.Close() // fails only if it is closed already
	p.mu.Lock()
	p.closed = true
	p.cut()
	p.mu.Unlock()
	p.running.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // a client that is gone already, or no file descriptors for now
		}
		p.running.Go(func() { p.connect(client) })
	}
}

// connect connects a client to the server and carries bytes until either closes.
func (p *Proxy) connect(client net.Conn) {
	server, err := net.DialTimeout("tcp", p.target.Host, startMost)
	if err != nil {
		_ = client.Close() // the client sees a closed connection, as from a dead server
		return
	}
	c := &pair{client: client, server: server, ended: make(chan struct{})}
	p.mu.Lock()
	if p.closed || p.refuses {
		p.mu.Unlock()
		c.close()
		return
	}
	p.open[c] = true
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.carry(c, server, client, ToServer) })
	both.Go(func() { p.carry(c, client, server, ToClient) })
	both.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, c)
}

// pair is one connection through the proxy.
type pair struct {
	client, server net.Conn
	once           sync.Once
	ended          chan struct{}
}

// close closes both sides.
func (c *pair) close() {
	c.once.Do(func() {
		close(c.ended)
		for _, side := range []net.Conn{c.client, c.server} {
			_ = side.Close() // the connection is given up either way
		}
	})
}

// inFlight bounds the chunks on their way in one direction.
const inFlight = 1024

type chunk struct {
	data []byte
	sent time.Time
}

// carry carries bytes in one direction. It returns when the connection ends.
func (p *Proxy) carry(c *pair, dst, src net.Conn, d Direction) {
	chunks := make(chan chunk, inFlight)
	var writing sync.WaitGroup
	writing.Go(func() {
		defer c.close()
		for next := range chunks {
			if !p.due(c, next.sent, d) {
				return
			}
			if _, err := dst.Write(next.data); err != nil {
				return
			}
		}
	})
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			select {
			case chunks <- chunk{bytes.Clone(buf[:n]), time.Now()}:
			case <-c.ended:
			}
		}
		if err != nil { // the end: what was sent before it is still delivered
			break
		}
	}
	close(chunks)
	writing.Wait()
}

// due blocks until a chunk may be delivered. It returns false when the connection
// has ended.
func (p *Proxy) due(c *pair, sent time.Time, d Direction) bool {
	for {
		p.mu.Lock()
		hung, delay, changed := p.hung&d != 0, p.delay, p.changed
		p.mu.Unlock()
		wait := time.Until(sent.Add(delay))
		if !hung && wait <= 0 {
			select {
			case <-c.ended:
				return false
			default:
				return true
			}
		}
		var timer <-chan time.Time
		if !hung {
			timer = time.After(wait)
		}
		select {
		case <-c.ended:
			return false
		case <-changed:
		case <-timer:
		}
	}
}
