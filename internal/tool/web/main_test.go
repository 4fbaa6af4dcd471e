package web_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/tool/tooltest"
	"github.com/parleybus/parley/internal/tool/web"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// schema is an input with properties of these names; those with a ! must be
// there.
func schema(names ...string) json.RawMessage {
	properties, required := map[string]any{}, []string{}
	for _, n := range names {
		name, must := strings.CutSuffix(n, "!")
		properties[name] = map[string]any{}
		if must {
			required = append(required, name)
		}
	}
	raw, err := json.Marshal(map[string]any{"type": "object", "properties": properties, "required": required})
	if err != nil {
		return nil
	}
	return raw
}

// serve answers requests with h and allows to reach it.
func serve(t *testing.T, h http.HandlerFunc) (url string, allow []string) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL, []string{strings.TrimPrefix(s.URL, "http://")}
}

// made makes a tool whose description must be right.
func made(t *testing.T, spec events.ToolSpec, c web.Config) tool.Tool {
	t.Helper()
	spec.Name = "it"
	it, err := web.New(spec, c)
	if err != nil {
		t.Fatal(err)
	}
	return it
}

// wantFailure checks that err is one that the model reads, and not to be tried
// again.
func wantFailure(t *testing.T, err error, want string) {
	t.Helper()
	tooltest.Ended(t, err, want, 5000)
	if _, again := tool.RetryAfter(err); again {
		t.Fatalf("would be tried again: %v", err)
	}
}

// names is a resolver that answers every question for an IPv4 address with
// those that next gives.
func names(t *testing.T, next func() [4]byte) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return // closed
			}
			if _, err := conn.WriteTo(answer(buf[:n], next), from); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	var d net.Dialer
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// answer writes a DNS answer. Source: RFC 1035 section 4.1.
func answer(question []byte, next func() [4]byte) []byte {
	end := 12
	for question[end] != 0 {
		end += int(question[end]) + 1
	}
	end += 5
	a := append([]byte{}, question[:end]...)
	a[2], a[3] = 0x81, 0x80               // an answer, recursion available
	a[6], a[7] = 0, 0                     // no answers
	a[8], a[9], a[10], a[11] = 0, 0, 0, 0 // nothing else
	if question[end-3] == 1 {             // type A
		ip := next()
		a[7] = 1
		a = append(a, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
		a = append(a, ip[:]...)
	}
	return a
}
