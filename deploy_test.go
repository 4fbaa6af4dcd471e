package parley_test

import (
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/parleybus/parley/internal/credential"
	"github.com/parleybus/parley/internal/topology"
)

// loadCompose loads docker-compose.yml as docker compose would, all profiles
// included, with these variables in the shell.
func loadCompose(t *testing.T, env ...string) *types.Project {
	t.Helper()
	opts, err := cli.NewProjectOptions([]string{"docker-compose.yml"}, cli.WithEnv(env), cli.WithProfiles([]string{"*"}))
	if err != nil {
		t.Fatal(err)
	}
	p, err := opts.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// binaries are the commands of the module.
func binaries(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("cmd")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if _, err := os.Stat(path.Join("cmd", e.Name(), "main.go")); err == nil {
			names = append(names, e.Name())
		}
	}
	return names
}

// copied are the files that the Dockerfile's last stage takes from the build,
// as paths in the image.
func copied(t *testing.T) []string {
	t.Helper()
	raw, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, m := range regexp.MustCompile(`(?m)^COPY --from=build (/out/.*) (/\S*/)$`).FindAllStringSubmatch(string(raw), -1) {
		for file := range strings.FieldsSeq(m[1]) {
			paths = append(paths, m[2]+path.Base(file))
		}
	}
	return paths
}

func TestTheImageHoldsEveryBinary(t *testing.T) {
	var want []string
	for _, name := range binaries(t) {
		want = append(want, "/usr/local/bin/"+name)
	}
	got := copied(t)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the Dockerfile copies %v, the module has %v", got, want)
	}
}

func TestTheImageIsBuiltWithTheModulesGo(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	docker, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(mod)
	if version == nil || !strings.Contains(string(docker), "golang:"+string(version[1])+".") {
		t.Errorf("the Dockerfile does not build with go %s of go.mod", version)
	}
}

func TestComposeRunsEveryRole(t *testing.T) {
	p := loadCompose(t)
	image := copied(t)
	for _, name := range binaries(t) {
		t.Run(name, func(t *testing.T) {
			s, err := p.GetService(name)
			if err != nil {
				t.Fatal(err)
			}
			if s.Build == nil || len(s.Entrypoint) != 1 || path.Base(s.Entrypoint[0]) != name || !slices.Contains(image, s.Entrypoint[0]) {
				t.Errorf("entrypoint is %v, want the image's own %s", s.Entrypoint, name)
			}
			if d, ok := s.DependsOn["nats"]; !ok || d.Condition != types.ServiceConditionHealthy {
				t.Error("it does not wait for a healthy nats")
			}
			if d, ok := s.DependsOn["setup"]; !ok || d.Condition != types.ServiceConditionCompletedSuccessfully {
				t.Error("it does not wait for the streams")
			}
			if url := s.Environment["NATS_URL"]; url == nil || *url != "nats://nats:4222" {
				t.Error("NATS_URL does not name the nats service")
			}
			if len(s.Ports) > 0 {
				t.Error("it takes a port of the host and cannot be scaled")
			}
		})
	}
}

func TestComposeGivesRunningCallsTimeToEnd(t *testing.T) {
	p := loadCompose(t)
	for _, name := range []string{"orchestrator", "llm-worker", "tool-worker"} {
		t.Run(name, func(t *testing.T) {
			s, err := p.GetService(name)
			if err != nil {
				t.Fatal(err)
			}
			drain, err := time.ParseDuration(*s.Environment["PARLEY_DRAIN"])
			if err != nil {
				t.Fatal(err)
			}
			if s.StopGracePeriod == nil || time.Duration(*s.StopGracePeriod) <= drain {
				t.Errorf("it is killed after %v, while calls may continue for %v", s.StopGracePeriod, drain)
			}
			if s.Environment["PARLEY_HTTP"] == nil || !slices.Contains(s.Expose, strings.TrimPrefix(*s.Environment["PARLEY_HTTP"], ":")) {
				t.Error("health is not served on the port that is exposed")
			}
		})
	}
}

func TestComposePassesKeysOnFromTheShell(t *testing.T) {
	p := loadCompose(t, "OPENAI_API_KEY=from the shell")
	s, err := p.GetService("llm-worker")
	if err != nil {
		t.Fatal(err)
	}
	if key := s.Environment["OPENAI_API_KEY"]; key == nil || *key != "from the shell" {
		t.Error("OPENAI_API_KEY does not reach the llm-worker")
	}
	if key, ok := s.Environment["ANTHROPIC_API_KEY"]; ok && key != nil {
		t.Errorf("ANTHROPIC_API_KEY is %q, though the shell has none", *key)
	}
}

func TestComposeKeepsWhatNATSStores(t *testing.T) {
	p := loadCompose(t)
	s, err := p.GetService("nats")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := p.GetService("keys")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(s.Volumes, func(v types.ServiceVolumeConfig) bool {
		return v.Type == "volume" && slices.Contains(keys.Command, "--store="+v.Target)
	}) {
		t.Error("the directory of the streams is no volume: the data would go with the container")
	}
	if s.HealthCheck == nil || !strings.Contains(strings.Join(s.HealthCheck.Test, " "), "healthz") || !slices.Contains(keys.Command, "--monitor=127.0.0.1:8222") {
		t.Error("nothing says when nats is healthy, or the monitoring endpoint is open to the network")
	}
}

// composeUsers are the users that the service keys makes.
func composeUsers(t *testing.T, p *types.Project) map[string]topology.User {
	t.Helper()
	keys, err := p.GetService("keys")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]topology.User{}
	for _, arg := range keys.Command {
		if text, ok := strings.CutPrefix(arg, "--user="); ok {
			u, err := topology.ParseUser(text, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			all[u.Name] = u
		}
	}
	return all
}

func TestComposeAdmitsNobodyWithoutAKey(t *testing.T) {
	p := loadCompose(t)
	s, err := p.GetService("nats")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(s.Command, []string{"-c", "/config/nats.conf"}) {
		t.Errorf("the server runs with %v, not with the generated configuration alone", s.Command)
	}
	if d, ok := s.DependsOn["keys"]; !ok || d.Condition != types.ServiceConditionCompletedSuccessfully {
		t.Error("the server does not wait for its configuration")
	}
	if !slices.ContainsFunc(s.Volumes, func(v types.ServiceVolumeConfig) bool { return v.Target == "/config" && v.ReadOnly }) {
		t.Error("the server can change its configuration, or does not have it")
	}
	for _, port := range s.Ports {
		if port.HostIP != "127.0.0.1" {
			t.Errorf("port %s is open to the network of the host", port.Published)
		}
	}
}

// TestComposeGivesEachServiceItsOwnKey: and what it needs to connect with it, as in
// the environment that parley permissions writes.
func TestComposeGivesEachServiceItsOwnKey(t *testing.T) {
	p := loadCompose(t)
	users := composeUsers(t, p)
	as := map[string]string{"setup": "admin", "parley": "app", "orchestrator": "orchestrator", "llm-worker": "llm-worker", "tool-worker": "tool-worker"}
	for name, s := range p.Services {
		var mounted []string
		for _, v := range s.Volumes {
			if strings.HasPrefix(v.Source, "key-") {
				mounted = append(mounted, v.Source+":"+v.Target)
				if name != "keys" && !v.ReadOnly {
					t.Errorf("%s can change its key", name)
				}
			}
		}
		user, ok := as[name]
		switch {
		case name == "keys":
			for user := range users {
				if !slices.Contains(mounted, "key-"+user+":/keys/"+user) {
					t.Errorf("the key of %s has no volume", user)
				}
			}
			continue
		case !ok:
			if len(mounted) > 0 {
				t.Errorf("%s has keys: %v", name, mounted)
			}
			continue
		}
		if !slices.Equal(mounted, []string{"key-" + user + ":/key"}) {
			t.Errorf("%s has the keys %v, want that of %s", name, mounted, user)
		}
		want := credential.Environment(users[user], "nats://nats:4222", "/key/"+user+".nk", "")
		var got []string
		for _, v := range []string{"NATS_URL", "NATS_NKEY", "NATS_INBOX_PREFIX", "NATS_JS_API_PREFIX"} {
			if value := s.Environment[v]; value != nil {
				got = append(got, v+"="+*value)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s connects with %v, want %v", name, got, want)
		}
	}
}

// TestImagesAreExact: a tag of a moving version would be another program tomorrow.
func TestImagesAreExact(t *testing.T) {
	docker, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	nats, err := loadCompose(t).GetService("nats")
	if err != nil {
		t.Fatal(err)
	}
	server := regexp.MustCompile(`nats-server/v2 v(\S+)`).FindSubmatch(mod)
	if server == nil || !strings.HasPrefix(nats.Image, "nats:"+string(server[1])+"-alpine3.") {
		t.Errorf("image %s is not the version %s of the tests", nats.Image, server)
	}
	for _, m := range regexp.MustCompile(`(?m)^FROM (?:--\S+ )?(\S+)`).FindAllStringSubmatch(string(docker), -1) {
		exact := regexp.MustCompile(`@sha256:[0-9a-f]{64}$|:\d+\.\d+\.\d+-|^gcr\.io/distroless/static-debian12:nonroot$`) // distroless has no versions
		if !exact.MatchString(m[1]) {
			t.Errorf("image %s is not exact", m[1])
		}
	}
}

// TestTheBuildContextHoldsWhatTheBinariesNeed: .dockerignore names what go build
// gets.
func TestTheBuildContextHoldsWhatTheBinariesNeed(t *testing.T) {
	raw, err := os.ReadFile(".dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	var kept []string
	for line := range strings.Lines(string(raw)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "!"); ok {
			kept = append(kept, name)
		}
	}
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{with .Module}}{{if .Main}}{{$.ImportPath}}{{end}}{{end}}", "./cmd/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range strings.FieldsSeq(string(out)) {
		dir, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(pkg, strings.TrimSuffix(module, "/")), "/"), "/")
		if dir == "" {
			dir = "*.go"
		}
		if !slices.Contains(kept, dir) {
			t.Errorf("%s is needed and not in the build context", pkg)
		}
	}
}
