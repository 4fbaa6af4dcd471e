package parley_test

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// Libraries by the prefix of their packages.
const (
	natsServer   = "github.com/nats-io/nats-server/"
	providerSDKs = "github.com/openai/ github.com/ollama/ github.com/anthropics/"
	mcpSDK       = "github.com/modelcontextprotocol/"
	cel          = "cel.dev/"
	watermill    = "github.com/ThreeDotsLabs/"
)

// roles lists each command and public package with what it must not link, by prefix, and how many
// modules besides ours it may link. Run "make sizes" after a change: raise a
// bound only for a module that its role needs.
var roles = map[string]struct {
	modules int
	without string
}{
	"cmd/orchestrator": {30, providerSDKs + " " + mcpSDK + " " + watermill},
	"cmd/tool-worker":  {36, providerSDKs + " " + cel},
	"cmd/llm-worker":   {41, mcpSDK + " " + cel},
	"cmd/parley":       {67, ""},
	".":                {8, providerSDKs + " " + mcpSDK + " " + cel + " " + watermill},
	"tool":             {17, providerSDKs + " " + mcpSDK + " " + cel},
	"model":            {16, providerSDKs + " " + mcpSDK + " " + cel},
	"hook":             {8, providerSDKs + " " + mcpSDK + " " + cel + " " + watermill},
}

// linksServer are the packages that may link the NATS server, besides internal
// ones.
const linksServer = "cmd/parley embedded"

// listed is a package as "go list" describes it.
type listed struct {
	ImportPath string
	Module     *struct {
		Path string
		Main bool
	}
	Deps []string
}

// packages lists our packages and all they depend on, without tests, by import
// path. The platform is fixed so that the answer is the same on each machine.
func packages(t *testing.T) map[string]listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Module,Deps", "./...")
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, problems.String())
	}
	all := map[string]listed{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[p.ImportPath] = p
	}
}

func TestABinaryLinksItsRoleOnly(t *testing.T) {
	all := packages(t)
	for cmd, want := range roles {
		p, ok := all[path.Join(strings.TrimSuffix(module, "/"), cmd)]
		if !ok {
			t.Errorf("%s is in the table and not in the tree", cmd)
			continue
		}
		modules := map[string]bool{}
		for _, dep := range p.Deps {
			if m := all[dep].Module; m != nil && !m.Main {
				modules[m.Path] = true
			}
			for _, no := range strings.Fields(want.without) {
				if strings.HasPrefix(dep, no) {
					t.Errorf("%s links %s", cmd, dep)
				}
			}
		}
		t.Logf("%s links %d modules", cmd, len(modules))
		if len(modules) > want.modules {
			t.Errorf("%s links %d modules, more than %d: %s", cmd, len(modules), want.modules,
				strings.Join(slices.Sorted(maps.Keys(modules)), " "))
		}
	}
	for name := range all {
		if cmd, ok := strings.CutPrefix(name, module+"cmd/"); ok && roles["cmd/"+cmd].modules == 0 {
			t.Errorf("cmd/%s is not in the table: say in binaries_test.go what it must not link", cmd)
		}
	}
}

func TestOnlyParleyLinksTheServer(t *testing.T) {
	for name, p := range packages(t) {
		ours, isOurs := strings.CutPrefix(name, module)
		if !isOurs || strings.HasPrefix(ours, "internal/") || matches(linksServer, ours) {
			continue
		}
		if i := slices.IndexFunc(p.Deps, func(dep string) bool { return strings.HasPrefix(dep, natsServer) }); i >= 0 {
			t.Errorf("%s links %s; of the packages that are not internal only these may: %s", ours, p.Deps[i], linksServer)
		}
	}
}

func TestTheLinkerSetsTheVersion(t *testing.T) {
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	const flag = "-X " + module + "internal/daemon.Version="
	if !strings.Contains(string(makefile), flag) {
		t.Errorf("the Makefile does not build with %s", flag)
	}
	for _, cmd := range []string{"tool-worker", "parley"} {
		out, err := exec.CommandContext(t.Context(), "go", "run", "-ldflags", flag+"9.8.7-test", "./cmd/"+cmd, "--version").CombinedOutput()
		if want := cmd + " version 9.8.7-test\n"; err != nil || string(out) != want {
			t.Errorf("%s --version: %q, want %q (%v)", cmd, out, want, err)
		}
	}
}
