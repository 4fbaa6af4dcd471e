package conformance

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/parleybus/parley/internal/refusal"
	"github.com/parleybus/parley/internal/topology"
)

// Server is a NATS server in this process, on the loopback interface. It keeps its port
// and its data when it is started again.
type Server struct {
	options func() (*natsserver.Options, error)
	refused refusal.Log

	running *natsserver.Server
}

// startMost bounds the start of a server.
const startMost = 20 * time.Second

// address returns a free address of the loopback interface, below the ports that systems
// give out by themselves: another process must not get it while the server is down.
func address() (host string, port int, err error) {
	for range 100 {
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 12_000+rand.IntN(20_000))); err == nil {
			port = l.Addr().(*net.TCPAddr).Port
			return "127.0.0.1", port, l.Close()
		}
	}
	return "", 0, err
}

// withAccounts prepares a server on which each role has an account of its own.
func withAccounts(dir string, plan topology.Plan, users []topology.User) (*Server, error) {
	host, port, err := address()
	if err != nil {
		return nil, err
	}
	cfg := topology.ServerConfig{Plan: plan, Users: users, Listen: fmt.Sprintf("%s:%d", host, port), Store: filepath.Join(dir, "store")}
	var text strings.Builder
	if err := cfg.Write(&text); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "nats.conf")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		return nil, err
	}
	return &Server{options: func() (*natsserver.Options, error) { return natsserver.ProcessConfigFile(path) }}, nil
}

// withoutAccounts prepares a server with a token or a user with a password.
func withoutAccounts(dir string, login *url.Userinfo) (*Server, error) {
	host, port, err := address()
	if err != nil {
		return nil, err
	}
	return &Server{options: func() (*natsserver.Options, error) {
		o := &natsserver.Options{ServerName: "stage", Host: host, Port: port, JetStream: true, StoreDir: filepath.Join(dir, "store")}
		if password, ok := login.Password(); ok {
			o.Username, o.Password = login.Username(), password
		} else {
			o.Authorization = login.Username()
		}
		return o, nil
	}}, nil
}

// Start starts the server and blocks until it is ready.
func (s *Server) Start() error {
	o, err := s.options()
	if err != nil {
		return err
	}
	o.NoLog, o.NoSigs = true, true
	// A busy machine may take more than the default of 2 s to start a program, between its
	// connection and its login.
	o.AuthTimeout = startMost.Seconds()
	if s.running, err = natsserver.NewServer(o); err != nil {
		return err
	}
	s.running.SetLoggerV2(&s.refused, false, false, false)
	s.running.Start()
	if !s.running.ReadyForConnections(startMost) {
		s.Stop()
		return errors.New("the rule's NATS server does not start")
	}
	return nil
}

// Stop stops the server. Its data stays.
func (s *Server) Stop() {
	s.running.Shutdown()
	s.running.WaitForShutdown()
}

// URL is where clients find the server, without credentials.
func (s *Server) URL() string { return s.running.ClientURL() }

// Refused returns the publishes and subscriptions that the server refused because a user
// may not do them, in the server's words.
func (s *Server) Refused() []string { return s.refused.All() }

// Subscribed reports whether a client that is not the rule's own admin or orchestrator
// would get a message on a subject.
func (s *Server) Subscribed(subject string) bool { return s.Subscribers(subject) > 0 }

// Subscribers counts the subscriptions of such clients.
func (s *Server) Subscribers(subject string) (n int) {
	found, err := s.running.Subsz(&natsserver.SubszOptions{Subscriptions: true, Test: subject, Limit: 1000})
	if err != nil {
		return 0
	}
	for i := range found.Subs {
		if found.Subs[i].Account != topology.AccountStreams {
			n++
		}
	}
	return n
}
