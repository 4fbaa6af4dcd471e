package conformance

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"
)

// answer is a server's answer to every request.
type answer struct {
	status      int // 0 is 200
	header      map[string]string
	contentType string
	body        string
	then        ending
}

// ending says what follows the body.
type ending int

const (
	inOrder ending = iota
	stall          // nothing more until the client disconnects
	reset          // the connection breaks
	again          // the same body, repeated until the client disconnects
)

// server sends the same answer to every request and records the requests.
type server struct {
	*httptest.Server
	gone chan struct{} // a waiting client has disconnected

	mu     sync.Mutex
	bodies [][]byte
	urls   []*url.URL
}

func serve(t *testing.T, a answer) *server {
	t.Helper()
	s := &server{gone: make(chan struct{}, 1)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("the request cannot be read: %v", err)
		}
		s.mu.Lock()
		s.bodies, s.urls = append(s.bodies, body), append(s.urls, r.URL)
		s.mu.Unlock()
		s.respond(t, w, r, a)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) respond(t *testing.T, w http.ResponseWriter, r *http.Request, a answer) {
	w.Header().Set("Content-Type", a.contentType)
	for key, v := range a.header {
		w.Header().Set(key, v)
	}
	if a.status != 0 {
		w.WriteHeader(a.status)
	}
	_, _ = io.WriteString(w, a.body) // the client may have disconnected
	if a.then == inOrder {
		return
	}
	control := http.NewResponseController(w)
	_ = control.Flush() // the same
	if a.then == stall {
		<-r.Context().Done()
		s.gone <- struct{}{}
		return
	}
	if a.then == again {
		for err := error(nil); err == nil; {
			_, err = io.WriteString(w, a.body)
		}
		s.gone <- struct{}{}
		return
	}
	conn, _, err := control.Hijack()
	if err != nil {
		t.Errorf("the connection cannot be broken: %v", err)
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a reset instead of a normal end
	}
	_ = conn.Close()
}

// disconnected waits until the waiting client has disconnected. Without a
// server, the test for leaked goroutines covers this.
func (s *server) disconnected(t *testing.T) {
	t.Helper()
	if s == nil {
		return
	}
	select {
	case <-s.gone:
	case <-time.After(testTimeout):
		t.Fatal("the connection stays open")
	}
}

func (s *server) requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.bodies)
}

// raw returns the latest request's body.
func (s *server) raw(t *testing.T) []byte {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.bodies) == 0 {
		t.Fatal("the server was not asked")
	}
	return s.bodies[len(s.bodies)-1]
}

// asked returns the model of the latest request, and whether it asks for a stream.
func (s *server) asked(t *testing.T, c Case) (model any, stream bool) {
	t.Helper()
	if body := s.last(t); c.Wire.Target == nil {
		return body["model"], body["stream"] == true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.Wire.Target(s.urls[len(s.urls)-1])
}

// last returns the latest request.
func (s *server) last(t *testing.T) map[string]any {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal(s.raw(t), &fields); err != nil {
		t.Fatalf("the request is no JSON object: %v: %s", err, s.raw(t))
	}
	return fields
}
