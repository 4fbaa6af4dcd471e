package bus_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/topology"
)

// foreign starts a server that is none of ours.
func foreign(t *testing.T, opts *server.Options) string {
	t.Helper()
	opts.Host, opts.Port, opts.NoLog, opts.NoSigs = "127.0.0.1", server.RANDOM_PORT, true, true
	if opts.JetStream {
		opts.StoreDir = t.TempDir()
	}
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not get ready")
	}
	return s.ClientURL()
}

func TestConnectSaysWhatToDo(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "nats://someone:hush@" + closed.Addr().String()
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	guarded := foreign(t, &server.Options{JetStream: true, Username: "u", Password: "p"})
	bare := foreign(t, &server.Options{})
	empty := foreign(t, &server.Options{JetStream: true})
	seed := filepath.Join(t.TempDir(), "seed")
	if err := os.WriteFile(seed, []byte("not a seed"), 0o600); err != nil {
		t.Fatal(err)
	}
	plan := &topology.Plan{}
	for name, c := range map[string]struct {
		cfg   bus.Config
		setup *topology.Plan
		want  string
		is    error
	}{
		"a server that is not there":            {cfg: bus.Config{URL: nobody}, want: "start one"},
		"no credentials":                        {cfg: bus.Config{URL: guarded}, want: "NATS_USER"},
		"wrong credentials":                     {cfg: bus.Config{URL: guarded, User: "u", Password: "hush"}, want: "NATS_PASSWORD"},
		"a file of credentials that is not":     {cfg: bus.Config{URL: guarded, Creds: filepath.Join(t.TempDir(), "gone.creds")}, want: "gone.creds"},
		"a file of a seed that is not":          {cfg: bus.Config{URL: guarded, NKey: seed}, want: seed},
		"an authority that is not":              {cfg: bus.Config{URL: guarded, CA: seed}, want: seed},
		"a server without JetStream":            {cfg: bus.Config{URL: bare}, want: "nats-server -js"},
		"a server without JetStream, to set up": {cfg: bus.Config{URL: bare}, setup: plan, want: "nats-server -js"},
		"a server on which nothing was set up":  {cfg: bus.Config{URL: empty}, want: "parley up", is: bus.ErrNotSetUp},
		"an address that is none":               {cfg: bus.Config{URL: "nats://a b:%%"}, want: "NATS"},
		"a server of another kind":              {cfg: bus.Config{URL: "http" + strings.TrimPrefix(nobody, "nats")}, want: "NATS"},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := bus.Connect(t.Context(), c.cfg, c.setup)
			if err == nil {
				b.Close()
				t.Fatal("connected")
			}
			if text := err.Error(); strings.Contains(text, "\n") || !strings.Contains(text, c.want) || strings.Contains(text, "hush") {
				t.Errorf("%q does not say %q in one line without secrets", text, c.want)
			}
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%v is no %v", err, c.is)
			}
		})
	}
}

func TestSetUp(t *testing.T) {
	t.Parallel()
	url := foreign(t, &server.Options{JetStream: true})
	first, err := bus.Connect(t.Context(), bus.Config{URL: url}, &topology.Plan{Shards: 3, MaxAge: 48 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	conversation := id()
	write(t, first, conversation, 0, []int{0, 1})
	_, js := first.Raw()
	age := func() time.Duration {
		s, err := js.Stream(t.Context(), topology.ConvStream(2))
		if err != nil {
			t.Fatal(err)
		}
		return s.CachedInfo().Config.MaxAge
	}
	for name, c := range map[string]struct {
		plan *topology.Plan
		age  time.Duration
	}{
		"a plan without one leaves it as it is":                  {&topology.Plan{}, 48 * time.Hour},
		"a plan with other shards keeps the shards of the first": {&topology.Plan{Shards: 8}, 48 * time.Hour},
		"no plan finds out":                                      {nil, 48 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := bus.Connect(t.Context(), bus.Config{URL: url}, c.plan)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			if b.Shards() != 3 || age() != c.age {
				t.Errorf("%d shards, kept for %s", b.Shards(), age())
			}
			if err := numbered(texts(t, b, conversation, bus.From{}), "", 2); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("a plan with other settings changes what can be changed", func(t *testing.T) {
		b, err := bus.Connect(t.Context(), bus.Config{URL: url}, &topology.Plan{MaxAge: 24 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		if age() != 24*time.Hour {
			t.Errorf("kept for %s", age())
		}
	})
}

func TestSetUpLeavesStreamsOfOthersAlone(t *testing.T) {
	for _, name := range []string{topology.StreamJobs, topology.StreamTimers, topology.StreamHistory, topology.ConvStream(0)} {
		url := foreign(t, &server.Options{JetStream: true})
		nc, err := nats.Connect(url)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{"theirs." + name}})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			b, err := bus.Connect(t.Context(), bus.Config{URL: url}, &topology.Plan{})
			if err == nil {
				b.Close()
				t.Fatal("set up")
			}
			if text := err.Error(); strings.Contains(text, "\n") || !strings.Contains(text, name) || !strings.Contains(text, "not Parley's") {
				t.Errorf("%q", text)
			}
		}
		info, err := theirs.Info(t.Context())
		if err != nil || len(info.Config.Subjects) != 1 || info.Config.Subjects[0] != "theirs."+name {
			t.Errorf("their stream is now %+v, %v", info.Config, err)
		}
	}
}
