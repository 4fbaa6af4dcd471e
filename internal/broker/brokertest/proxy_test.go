package brokertest_test

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parleybus/parley/internal/broker/brokertest"
)

// echo is a server that returns what it gets, and reports that it got it.
func echo(t *testing.T) (url string, got <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	received := make(chan string, 100)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer func() { _ = c.Close() }()
				buf := make([]byte, 1024)
				for {
					n, err := c.Read(buf)
					if err != nil {
						return
					}
					received <- string(buf[:n])
					if _, err := c.Write(buf[:n]); err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); serving.Wait() })
	return "nats://user@" + l.Addr().String(), received
}

// proxied is a proxy to an echo server with one connection through it.
func proxied(t *testing.T) (*brokertest.Proxy, net.Conn, <-chan string) {
	t.Helper()
	url, got := echo(t)
	others := goleak.IgnoreCurrent()
	p, err := brokertest.StartProxy(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(); goleak.VerifyNone(t, others) })
	return p, dial(t, p), got
}

func dial(t *testing.T, p *brokertest.Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.URL()[len("nats://user@"):])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return c
}

func say(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, c net.Conn, text string) {
	t.Helper()
	buf := make([]byte, len(text))
	if _, err := io.ReadFull(c, buf); err != nil || !bytes.Equal(buf, []byte(text)) {
		t.Fatalf("answer %q, want %q: %v", buf, text, err)
	}
}

// silent fails the test if an answer arrives in a while.
func silent(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Fatal("an answer came through")
	}
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
}

func closed(t *testing.T, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); err == nil || n > 0 {
		t.Fatal("the connection is still open")
	} else if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
		t.Fatal("the connection was not closed")
	}
}

func TestProxy(t *testing.T) {
	t.Run("carries bytes, also of a client that closes at once", func(t *testing.T) {
		p, c, got := proxied(t)
		say(t, c, "one")
		hear(t, c, "one")
		if n := p.Connections(); n != 1 {
			t.Errorf("%d connections", n)
		}
		<-got
		say(t, c, "two")
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if text := <-got; text != "two" {
			t.Errorf("the server got %q", text)
		}
	})
	t.Run("cuts connections and accepts new ones", func(t *testing.T) {
		p, c, _ := proxied(t)
		say(t, c, "one")
		hear(t, c, "one")
		p.Cut()
		closed(t, c)
		again := dial(t, p)
		say(t, again, "two")
		hear(t, again, "two")
	})
	t.Run("holds back the answers of a half open connection and loses them with a cut", func(t *testing.T) {
		p, c, got := proxied(t)
		p.Hang(brokertest.ToClient)
		say(t, c, "one")
		if text := <-got; text != "one" {
			t.Errorf("the server got %q", text)
		}
		silent(t, c)
		p.Cut()
		closed(t, c)
	})
	t.Run("delivers what it held back when it heals", func(t *testing.T) {
		p, c, got := proxied(t)
		p.Hang(brokertest.BothWays)
		say(t, c, "one")
		silent(t, c)
		if len(got) > 0 {
			t.Error("a request came through")
		}
		p.Heal()
		hear(t, c, "one")
	})
}

func TestProxyDelaysAndRefuses(t *testing.T) {
	t.Run("delays bytes and keeps their order", func(t *testing.T) {
		p, c, _ := proxied(t)
		const delay = 60 * time.Millisecond
		p.Delay(delay)
		began := time.Now()
		for _, word := range []string{"one", "two", "three"} {
			say(t, c, word)
		}
		hear(t, c, "onetwothree")
		if took := time.Since(began); took < 2*delay {
			t.Errorf("an answer after %s, with %s each way", took, delay)
		}
		p.Delay(time.Hour)
		say(t, c, "four")
		silent(t, c)
		p.Heal()
		hear(t, c, "four")
	})
	t.Run("refuses new connections until it heals", func(t *testing.T) {
		p, c, _ := proxied(t)
		say(t, c, "one")
		hear(t, c, "one")
		p.Refuse()
		closed(t, dial(t, p))
		say(t, c, "two")
		hear(t, c, "two")
		p.Heal()
		again := dial(t, p)
		say(t, again, "three")
		hear(t, again, "three")
	})
	t.Run("closes connections to a server that is gone", func(t *testing.T) {
		p, err := brokertest.StartProxy("nats://user@" + brokertest.Addresses(t, 1)[0])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		closed(t, dial(t, p))
	})
	t.Run("needs the URL of a server", func(t *testing.T) {
		for _, bad := range []string{"", "127.0.0.1:4222", "://x"} {
			if p, err := brokertest.StartProxy(bad); err == nil {
				p.Close()
				t.Errorf("%q is taken for a URL", bad)
			}
		}
	})
}
