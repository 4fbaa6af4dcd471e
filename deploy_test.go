package parley_test

import (
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
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
	if version == nil || !strings.Contains(string(docker), "golang:"+string(version[1])+"-") {
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
	s, err := loadCompose(t).GetService("nats")
	if err != nil {
		t.Fatal(err)
	}
	dir := slices.Index(s.Command, "-sd") + 1
	if !slices.Contains(s.Command, "-js") || dir == 0 {
		t.Fatalf("nats runs without JetStream or a directory for it: %v", s.Command)
	}
	if !slices.ContainsFunc(s.Volumes, func(v types.ServiceVolumeConfig) bool { return v.Type == "volume" && v.Target == s.Command[dir] }) {
		t.Errorf("%s is no volume: the data would go with the container", s.Command[dir])
	}
	if s.HealthCheck == nil || !strings.Contains(strings.Join(s.HealthCheck.Test, " "), "healthz") {
		t.Error("nothing says when nats is healthy")
	}
}
