package parley_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/daemon/orchestrator"
	"github.com/parleybus/parley/internal/topology"
)

// TestProgramsOfOthersStillWork runs the programs of testdata/compat, which are never
// changed, with the orchestrator of today: see the README there.
func TestProgramsOfOthersStillWork(t *testing.T) {
	programs, err := filepath.Glob("testdata/compat/*/main.go")
	if err != nil || len(programs) == 0 {
		t.Fatalf("no programs: %v", err)
	}
	for _, main := range programs {
		t.Run(filepath.Base(filepath.Dir(main)), func(t *testing.T) {
			t.Parallel()
			binary := filepath.Join(t.TempDir(), "program")
			if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./"+filepath.Dir(main)).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			url := decide(t, 3)
			starts(t, url, binary, "llm-worker")
			starts(t, url, binary, "tool-worker")
			client := connect(t, url)
			offered(t, client, "frozen", "frozen_tool")
			cmd := exec.CommandContext(t.Context(), binary, "app")
			cmd.Env = append(os.Environ(), "NATS_URL="+url)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			want := "answered accepted\n" + `waits for approval {"amount":1.50,"name":"caf\u00e9"}` + "\nanswered accepted\n" +
				`text Let me ask.It says: {"amount":1.50,"name":"caf\u00e9"}` + "\nturns 1 outcome completed\n"
			if string(out) != want {
				t.Errorf("it prints\n%s\nwant\n%s", out, want)
			}
			readByToday(t, client)
		})
	}
}

// decide runs a server and an orchestrator of today, and returns the server's URL.
func decide(t *testing.T, shards int) string {
	t.Helper()
	url := serve(t).URL()
	b, err := bus.Connect(t.Context(), bus.Config{URL: url}, &topology.Plan{Shards: shards})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		role := orchestrator.Role(daemon.Config{Name: "today"}, slog.New(slog.DiscardHandler), nil, nil)
		if err := daemon.RunRoles(ctx, b, []daemon.Role{role}, nil); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Cleanup(func() { stop(); running.Wait(); b.Close() })
	return url
}

// starts runs a program until the test has ended.
func starts(t *testing.T, url, binary string, args ...string) {
	t.Helper()
	var log bytes.Buffer
	cmd := exec.Command(binary, args...)
	cmd.Env, cmd.Stderr = append(os.Environ(), "NATS_URL="+url), &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		if err := cmd.Wait(); err != nil || log.Len() > 0 {
			t.Errorf("%s ended with %v: %s", strings.Join(args, " "), err, log.String())
		}
	})
}

// offered waits until a route and a tool are offered.
func offered(t *testing.T, client *parley.Client, names ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, found, err := client.AwaitOffers(ctx, func(all []parley.Offer) bool {
		return !slices.ContainsFunc(names, func(name string) bool {
			return !slices.ContainsFunc(all, func(o parley.Offer) bool { return o.Name == name })
		})
	})
	if err != nil || !found {
		t.Fatalf("%v are not offered: %v", names, err)
	}
}

// readByToday checks that a client of today reads what they wrote.
func readByToday(t *testing.T, client *parley.Client) {
	t.Helper()
	n := 0
	for one, err := range client.Conversations(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		v, err := client.Conversation(one.ID).View(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(v.Messages) != 4 || v.Messages[2].Parts[0].Status != parley.StatusOK || v.State.Phase != parley.PhaseIdle {
			t.Errorf("the conversation is %+v", v.Messages)
		}
	}
	if n != 1 {
		t.Errorf("%d conversations", n)
	}
}
