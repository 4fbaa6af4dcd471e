package bus_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// An INFO line as a NATS server sends it, for listeners that are none.
const plainInfo = `INFO {"server_id":"X","version":"2.15.2","max_payload":1048576,"proto":1,"headers":true}` + "\r\n"

// greet writes a text to a client and then reads until the client goes.
func greet(text string) func(net.Conn) {
	return func(client net.Conn) {
		_, err := fmt.Fprint(client, text)
		for buf := make([]byte, 4096); err == nil; {
			_, err = client.Read(buf)
		}
	}
}

func misbehaviours() map[string]func(net.Conn) {
	return map[string]func(net.Conn){
		"stays silent":            greet(""),
		"closes":                  func(net.Conn) {},
		"resets":                  func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) },
		"sends garbage":           greet("HTTP/1.1 400 Bad Request\r\n\r\n"),
		"sends a bad INFO":        greet("INFO {\"server_id\":\r\n"),
		"greets and stays silent": greet(plainInfo),
		"greets and closes":       func(c net.Conn) { _, _ = fmt.Fprint(c, plainInfo) },
		"has too many clients":    greet(plainInfo + "-ERR 'maximum connections exceeded'\r\n"),
	}
}

// rushed connects through a proxy and waits less long for a silent server.
func rushed(p *proxy) bus.Config {
	return bus.Config{URL: p.url(), Options: []nats.Option{nats.Timeout(300 * time.Millisecond)}}
}

func TestWaitRetriesWhileTheServerMisbehaves(t *testing.T) {
	t.Parallel()
	url := foreign(t, &server.Options{JetStream: true})
	for name, instead := range misbehaviours() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := through(t, url)
			seen := p.answer(instead)
			type result struct {
				b   *bus.Bus
				err error
			}
			connected := make(chan result, 1)
			ctx := within(t, time.Minute)
			go func() {
				b, err := bus.Wait(ctx, rushed(p), &topology.Plan{})
				connected <- result{b, err}
			}()
			for range 2 {
				select {
				case <-seen:
				case r := <-connected:
					t.Fatalf("Wait ended before there was a server: %v", r.err)
				}
			}
			p.answer(nil)
			r := <-connected
			if r.err != nil {
				t.Fatal(r.err)
			}
			r.b.Close()
		})
	}
}

func TestAConnectionOutlivesAServerThatMisbehaves(t *testing.T) {
	t.Parallel()
	url := foreign(t, &server.Options{JetStream: true})
	rude := misbehaviours()
	rude["refuses the credentials"] = greet(plainInfo + "-ERR 'Authorization Violation'\r\n")
	for name, instead := range rude {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := through(t, url)
			b, err := bus.Connect(t.Context(), rushed(p), &topology.Plan{})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			seen := p.answer(instead)
			p.cut()
			ctx := within(t, time.Minute)
			for range 3 {
				select {
				case <-seen:
				case <-ctx.Done():
					t.Fatal("the client has stopped connecting")
				}
			}
			p.answer(nil)
			input := id()
			if _, err := b.Conversation(id()).Publish(ctx, input, &events.UserMessage{ID: input, Text: "hello"}); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestWaitEndsWithWhatCannotPass(t *testing.T) {
	t.Parallel()
	guarded := foreign(t, &server.Options{JetStream: true, Username: "u", Password: "p"})
	cert := httptest.NewTLSServer(nil)
	defer cert.Close()
	sealed := foreign(t, &server.Options{JetStream: true, TLS: true, TLSConfig: &tls.Config{Certificates: cert.TLS.Certificates}})
	deny := &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"$JS.API.>"}}}
	barred := foreign(t, &server.Options{JetStream: true, Users: []*server.User{{Username: "u", Password: "p", Permissions: deny}}})
	occupied := foreign(t, &server.Options{JetStream: true})
	nc, err := nats.Connect(occupied)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: topology.StreamHistory, Subjects: []string{"theirs"}}); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "missing")
	for name, cfg := range map[string]bus.Config{
		"refused credentials":          {URL: guarded, User: "u", Password: "x"},
		"no credentials":               {URL: guarded},
		"a certificate of a stranger":  {URL: sealed},
		"denied permissions":           {URL: barred, User: "u", Password: "p"},
		"streams of somebody else":     {URL: occupied},
		"a missing credentials file":   {URL: guarded, Creds: missing},
		"a missing seed":               {URL: guarded, NKey: missing},
		"a missing authority":          {URL: guarded, CA: missing},
		"a missing client certificate": {URL: guarded, Cert: missing, Key: missing},
		"an address that is none":      {URL: "nats://a b:%%"},
	} {
		for _, plan := range []*topology.Plan{nil, {}} {
			t.Run(fmt.Sprintf("%s, set-up %t", name, plan != nil), func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				b, err := bus.Wait(ctx, cfg, plan)
				if err == nil {
					b.Close()
					t.Fatal("connected")
				}
				if ctx.Err() != nil {
					t.Errorf("Wait tried again what cannot pass: %v", err)
				}
			})
		}
	}
}
