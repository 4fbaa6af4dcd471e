package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// TestMain is the program itself when the tests start it.
func TestMain(m *testing.M) {
	if os.Getenv("PARLEY_TEST_WEATHER") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestTheProgramIsShort(t *testing.T) {
	text, err := os.ReadFile("main.go")
	if n := strings.Count(string(text), "\n"); err != nil || n >= 40 {
		t.Errorf("main.go has %d lines, not under 40 (%v)", n, err)
	}
}

func TestTheProgramJoinsServesAndLeaves(t *testing.T) {
	s, err := broker.Start(broker.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop() })
	b, err := bus.Connect(t.Context(), bus.Config{URL: s.URL()}, &topology.Plan{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	program := exec.Command(os.Args[0])
	program.Env = append(os.Environ(), "PARLEY_TEST_WEATHER=1", "NATS_URL="+s.URL())
	program.Stdout, program.Stderr = t.Output(), t.Output()
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = program.Process.Kill() })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for _, c := range []struct {
		city   string
		status events.Status
		want   string
	}{
		{"Oslo", events.StatusOK, `{"sky":"snow","celsius":-3}`},
		{"Atlantis", events.StatusFailed, "ask for Oslo, Lagos or Lima"},
	} {
		var seen strings.Builder
		r, err := b.Jobs().Call(ctx, bus.Call{
			Tool:      events.ToolSpec{Name: "get_weather", Effect: events.EffectPure},
			Arguments: json.RawMessage(fmt.Sprintf(`{"city":%q}`, c.city)), Output: func(text string) { seen.WriteString(text) },
		})
		if err != nil {
			t.Fatal(err)
		}
		if r.Status != c.status || !strings.Contains(r.Content, c.want) || seen.String() != "looking for "+c.city+"\n" {
			t.Errorf("%s: the call ended as %s, %q, and %q was seen", c.city, r.Status, r.Content, seen.String())
		}
	}
	if err := program.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := program.Wait(); err != nil {
		t.Errorf("after a stop signal the program ends with: %v", err)
	}
}
