package conformance

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
)

// Proxy is between the program under test and the server. It cuts connections, and loses
// messages as a network or a slow consumer does: it reads the NATS protocol both ways.
type Proxy struct {
	listener net.Listener
	target   url.URL
	running  sync.WaitGroup

	mu      sync.Mutex
	open    map[net.Conn]bool
	closed  bool
	refuses bool
	lose    func(Frame) bool
}

// Frame is one operation of the NATS protocol with a message.
type Frame struct {
	ToServer bool
	Subject  string
	Reply    string // of a publish
	Data     []byte // headers and payload
}

// StartProxy starts a proxy to a server.
func StartProxy(server string) (*Proxy, error) {
	target, err := url.Parse(server)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("proxy to %s: %w", target.Host, err)
	}
	p := &Proxy{listener: l, target: *target, open: map[net.Conn]bool{}}
	p.running.Go(p.accept)
	return p, nil
}

// URL returns the server's URL with the proxy's address.
func (p *Proxy) URL() string {
	u := p.target
	u.Host = p.listener.Addr().String()
	return u.String()
}

// Lose drops the messages that a function reports; nil drops none. Some messages of a
// connection may be on their way at the time.
func (p *Proxy) Lose(lose func(Frame) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lose = lose
}

// Cut closes all connections. While refuse is set, new ones are closed too.
func (p *Proxy) Cut(refuse bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuses = refuse
	for c := range p.open {
		_ = c.Close() // it may be closed already
	}
}

// Accept takes new connections again.
func (p *Proxy) Accept() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuses = false
}

// Close ends the proxy and all connections.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.Cut(true)
	_ = p.listener.Close() // the connections end with it
	p.running.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target.Host)
		if err != nil || !p.keep(client, server) {
			_ = client.Close()
			if server != nil {
				_ = server.Close()
			}
			continue
		}
		p.running.Go(func() { p.pass(client, server, true) })
		p.running.Go(func() { p.pass(server, client, false) })
	}
}

// keep records the connections of a client; it returns false while they are refused.
func (p *Proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.refuses || p.closed {
			return false
		}
		p.open[c] = true
	}
	return true
}

// pass passes on what comes from a connection until one of both ends.
func (p *Proxy) pass(from, to net.Conn, toServer bool) {
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, c := range []net.Conn{from, to} {
			delete(p.open, c)
			_ = c.Close() // the other direction may have closed it
		}
	}()
	in := bufio.NewReaderSize(from, 64<<10)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		f, size, isMessage := operation(string(line), toServer)
		if isMessage {
			f.Data = make([]byte, size+2)
			if _, err := io.ReadFull(in, f.Data); err != nil {
				return
			}
			if p.loses(f) {
				continue
			}
		}
		if _, err := to.Write(append(line, f.Data...)); err != nil {
			return
		}
	}
}

func (p *Proxy) loses(f Frame) bool {
	p.mu.Lock()
	lose := p.lose
	p.mu.Unlock()
	return lose != nil && lose(f)
}

// operation reads the line that begins an operation, and returns the bytes that follow it
// if it has a message.
func operation(line string, toServer bool) (f Frame, size int, ok bool) {
	t := strings.Fields(line)
	if len(t) < 3 {
		return f, 0, false
	}
	sizes, sid := 1, 1 // numbers at the end, and the subscription's id
	switch strings.ToUpper(t[0]) {
	case "PUB", "HPUB":
		sid = 0
	case "MSG", "HMSG":
	default:
		return f, 0, false
	}
	if strings.ToUpper(t[0])[0] == 'H' {
		sizes = 2
	}
	f = Frame{ToServer: toServer, Subject: t[1]}
	if rest := t[2+sid : max(len(t)-sizes, 2+sid)]; len(rest) == 1 {
		f.Reply = rest[0]
	}
	size, err := strconv.Atoi(t[len(t)-1])
	return f, size, err == nil
}
