package conformance

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/credential"
	"github.com/parleybus/parley/internal/topology"
)

// Setup is what a rule needs of its [Stage].
type Setup struct {
	Role   topology.Role // of the program under test
	Names  []string      // the routes, tools or hooks that it may serve
	Shards int           // 0 means 2
	// Login asks for a server without accounts, on which everybody has this token, or this
	// user and password. The program finds it in NATS_URL if InURL is set, and otherwise in
	// variables of their own.
	Login *url.Userinfo
	InURL bool
	// Proxied lets the program connect through a [Proxy].
	Proxied bool
}

// Stage is a bus for one rule: a server with the streams of a deployment, and an
// orchestrator that creates consumers and queues for those who may not, and decides
// nothing.
type Stage struct {
	*Check
	*bus.Bus // as the admin
	JS       jetstream.JetStream
	Server   *Server
	Proxy    *Proxy   // between the program and the server, if the rule wants one
	Env      []string // how the program connects

	login   url.Userinfo
	users   map[string]topology.User
	serving *bus.Bus // as an orchestrator
	stop    func()   // ends what serving answers
}

// password is that of the rule's own users, on a server that only listens to this machine.
const password = "rule"

// NewStage starts a stage. The rule fails if the program sends a request that its
// permissions deny.
func (c *Check) NewStage(setup Setup) *Stage {
	s := &Stage{Check: c, users: map[string]topology.User{}, stop: func() {}}
	plan := topology.Plan{Shards: setup.Shards}
	if plan.Shards == 0 {
		plan.Shards = 2
	}
	dir := c.TempDir()
	keys := credential.Dir(filepath.Join(dir, "keys"))
	var err error
	if setup.Login != nil {
		s.login = *setup.Login
		s.Server, err = withoutAccounts(dir, setup.Login)
	} else {
		err = s.makeUsers(setup, keys)
		if err == nil {
			s.Server, err = withAccounts(dir, plan, s.userList())
		}
	}
	c.Must(err)
	c.Must(s.Server.Start())
	c.Cleanup(func() { s.Server.Stop() })
	c.Cleanup(func() {
		for _, text := range s.Server.Refused() {
			c.Errorf("a request was denied, expected none: %s", text)
		}
	})
	target := s.Server.URL()
	if setup.Proxied {
		s.Proxy, err = StartProxy(target)
		c.Must(err)
		c.Cleanup(s.Proxy.Close)
		target = s.Proxy.URL()
	}
	if setup.Login == nil {
		name := string(setup.Role)
		s.Env = credential.Environment(s.users[name], target, filepath.Join(string(keys), name+".nk"), "")
	} else {
		s.Env = loginEnvironment(target, setup.Login, setup.InURL)
	}
	s.Bus = s.Connect(topology.Admin, &plan)
	_, s.JS = s.Raw()
	s.serving = s.Connect(topology.Orchestrator, nil)
	s.Answer()
	c.Cleanup(func() { s.StopAnswers() })
	return s
}

// makeUsers makes a user of each role, named like it. That of the program has a key, as
// `parley permissions` makes it.
func (s *Stage) makeUsers(setup Setup, keys credential.Dir) error {
	for _, u := range topology.DefaultUsers(nil, nil) {
		u.Password = password
		if u.Role == setup.Role {
			var err error
			if u.NKey, err = keys.Key(u.Name); err != nil {
				return err
			}
			u.Password, u.Scope.Names = "", setup.Names
		}
		s.users[u.Name] = u
	}
	return nil
}

func (s *Stage) userList() (all []topology.User) {
	for _, role := range topology.Roles() {
		all = append(all, s.users[string(role)])
	}
	return all
}

func loginEnvironment(server string, login *url.Userinfo, inURL bool) []string {
	u, err := url.Parse(server)
	if err != nil {
		return nil // a server's own URL can be parsed
	}
	if inURL {
		u.User = login
		return []string{"NATS_URL=" + u.String()}
	}
	if secret, ok := login.Password(); ok {
		return []string{"NATS_URL=" + u.String(), "NATS_USER=" + login.Username(), "NATS_PASSWORD=" + secret}
	}
	return []string{"NATS_URL=" + u.String(), "NATS_TOKEN=" + login.Username()}
}

// config is how a user of a role connects.
func (s *Stage) config(role topology.Role) bus.Config {
	if len(s.users) == 0 {
		cfg := bus.Config{URL: s.Server.URL(), User: s.login.Username()}
		if secret, ok := s.login.Password(); ok {
			cfg.Password = secret
		} else {
			cfg.User, cfg.Token = "", s.login.Username()
		}
		return cfg
	}
	u := s.users[string(role)]
	cfg := bus.Config{URL: s.Server.URL(), User: u.Name, Password: password, InboxPrefix: u.Inbox()}
	if !u.HasStreams() {
		cfg.APIPrefix = topology.RoleAPI[:len(topology.RoleAPI)-1]
	}
	return cfg
}

// Connect connects as a user of a role, until the rule ends.
func (s *Stage) Connect(role topology.Role, plan *topology.Plan) *bus.Bus {
	b, err := bus.Connect(s.Within(startMost), s.config(role), plan)
	s.Must(err)
	s.Cleanup(b.Close)
	return b
}

// Dial connects without Parley's client, as a user of a role.
func (s *Stage) Dial(role topology.Role) *nats.Conn { return s.dial(s.config(role)) }

func (s *Stage) dial(cfg bus.Config) *nats.Conn {
	login := nats.UserInfo(cfg.User, cfg.Password)
	if cfg.Token != "" {
		login = nats.Token(cfg.Token)
	}
	nc, err := nats.Connect(cfg.URL, login, nats.CustomInboxPrefix(cmp.Or(cfg.InboxPrefix, "_INBOX")), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	s.Must(err)
	s.Cleanup(nc.Close)
	return nc
}

// Answer answers the requests of users as an orchestrator does, until StopAnswers.
func (s *Stage) Answer() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.serving.Deployment().ServeUsers(ctx, func() bool { return true }) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			s.Errorf("the rule's orchestrator: %v", err)
		}
	})
}

// StopAnswers ends the answers, as if no orchestrator ran.
func (s *Stage) StopAnswers() { s.stop() }

// NewID returns a new UUIDv7.
func NewID() string { return uuid.Must(uuid.NewV7()).String() }

// IsUUIDv7 reports whether an id is a UUIDv7 in the form that the bus takes.
func IsUUIDv7(id string) bool { return topology.CheckID("an", id) == nil && id[14] == '7' }
