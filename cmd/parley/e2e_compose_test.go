package main

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/parleybus/parley/internal/broker/brokertest"
)

// composed runs the services of docker-compose.yml as processes: paths in the
// containers are directories of the test, and each process gets the environment of
// its service and no other.
type composed struct {
	*processes
	project *types.Project
	nats    string // address of the server
	monitor string // address of its monitoring endpoint
}

func newComposed(t *testing.T) *composed {
	t.Helper()
	opts, err := cli.NewProjectOptions([]string{"../../docker-compose.yml"}, cli.WithEnv([]string{"PARLEY_SHARDS=2"}), cli.WithProfiles([]string{"*"}))
	if err != nil {
		t.Fatal(err)
	}
	p, err := opts.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	addresses := brokertest.Addresses(t, 2)
	return &composed{processes: build(t), project: p, nats: addresses[0], monitor: addresses[1]}
}

// inside replaces paths and addresses of the containers, of a service, in a text.
// Other paths of the volumes remain: they do not exist here.
func (c *composed) inside(s types.ServiceConfig, text string) string {
	c.t.Helper()
	for _, v := range s.Volumes {
		dir := filepath.Join(c.dir, "volumes", v.Source)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			c.t.Fatal(err)
		}
		if strings.HasPrefix(v.Source, "key-") && strings.HasPrefix(v.Target, "/keys/") {
			text = strings.ReplaceAll(text, "/keys/{user}", filepath.Join(c.dir, "volumes", "key-{user}"))
			continue
		}
		text = strings.ReplaceAll(text, v.Target+"/", dir+"/")
	}
	return strings.NewReplacer("nats://nats:4222", "nats://"+c.nats, "0.0.0.0:4222", c.nats, "127.0.0.1:8222", c.monitor, ":8080", "127.0.0.1:0", "--store=/data", "--store="+filepath.Join(c.dir, "volumes", "nats-data")).Replace(text)
}

// as is where a service's processes start, and its command.
func (c *composed) as(name string) (p *processes, command []string) {
	c.t.Helper()
	s, err := c.project.GetService(name)
	if err != nil {
		c.t.Fatal(err)
	}
	own := *c.processes
	own.env = nil
	for _, key := range slices.Sorted(maps.Keys(s.Environment)) {
		if value := s.Environment[key]; value != nil && *value != "" {
			own.env = append(own.env, key+"="+c.inside(s, *value))
		}
	}
	for _, arg := range s.Command {
		command = append(command, c.inside(s, arg))
	}
	return &own, command
}

// run runs a service of the command line to its end.
func (c *composed) run(name string, args ...string) string {
	c.t.Helper()
	p, command := c.as(name)
	if len(args) == 0 {
		args = command
	}
	return p.command(args...).finish()
}

// role starts a role.
func (c *composed) role(name string, args ...string) *process {
	c.t.Helper()
	p, command := c.as(name)
	return p.start(path.Base(name), append(command, args...)...)
}

// TestE2EComposeServicesWorkTogether: keys, server, streams and roles, each with what
// its service has, in the order of docker-compose.yml.
func TestE2EComposeServicesWorkTogether(t *testing.T) {
	t.Parallel()
	c := newComposed(t)
	if err := os.WriteFile(filepath.Join(c.dir, "script.yaml"), []byte(governedScript), 0o600); err != nil {
		t.Fatal(err)
	}
	c.run("keys")
	conf := filepath.Join(c.dir, "volumes", "config", "nats.conf")
	before, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	c.run("keys")
	if again, err := os.ReadFile(conf); err != nil || string(again) != string(before) {
		t.Errorf("a second start makes other keys, %v", err)
	}
	s, command := c.as("nats")
	s.start("nats-server", command...).await(1, "Server is ready")
	healthy, err := http.Get("http://" + c.monitor + "/healthz?js-enabled-only=true")
	if err != nil {
		t.Fatal(err)
	}
	if err := healthy.Body.Close(); err != nil || healthy.StatusCode != http.StatusOK {
		t.Errorf("the health check of nats gets %s, %v", healthy.Status, err)
	}
	if setup := c.run("setup"); !strings.Contains(setup, "CONV_1 created") {
		t.Fatalf("setup printed\n%s", setup)
	}
	boss := c.role("orchestrator")
	boss.await(2, "owns a shard")
	c.role("llm-worker", "--script", "script.yaml").await(1, `"msg":"ready"`)
	c.role("tool-worker").await(1, `"msg":"ready"`)
	if said := c.run("parley", "ask", "-q", "hello"); !strings.Contains(said, "Hello.") {
		t.Errorf("it answers %q", said)
	}
	if offered := c.run("parley", "tools"); !strings.Contains(offered, "calculate") {
		t.Errorf("the tools are %q", offered)
	}
	c.run("parley")

	// Nobody gets in without a key, and no service has another's.
	p := *c.processes
	p.env = []string{"NATS_URL=nats://" + c.nats}
	stranger := p.command("ls")
	<-stranger.done
	if stranger.err == nil {
		t.Error("a client without a key lists conversations")
	}
	for _, name := range []string{"nats", "setup", "orchestrator", "llm-worker", "tool-worker", "parley"} {
		s, err := c.project.GetService(name)
		if err != nil {
			t.Fatal(err)
		}
		var seeds []string
		for _, v := range s.Volumes {
			found, err := filepath.Glob(filepath.Join(c.dir, "volumes", v.Source, "*.nk"))
			if err != nil {
				t.Fatal(err)
			}
			seeds = append(seeds, found...)
		}
		want := 1
		if name == "nats" {
			want = 0
		}
		if len(seeds) != want {
			t.Error(fmt.Errorf("%s has the keys %v", name, seeds))
		}
	}
}
