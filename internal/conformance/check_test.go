package conformance

import (
	"context"
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parleybus/parley/internal/topology"
)

func TestMain(m *testing.M) {
	// nats-server waits for an answer to the request for HISTORY's source on a
	// goroutine that outlives its shutdown.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*stream).trySetupSourceConsumer.func3"))
}

// rule runs a function as a rule.
func rule(t *testing.T, timeout time.Duration, holds func(c *Check)) Result {
	t.Helper()
	return Rule{Number: 3, Says: "it holds", Holds: holds}.Run(t.Context(), Program{}, timeout)
}

func TestAResultSaysWhatHappened(t *testing.T) {
	t.Parallel()
	if r := rule(t, 0, func(*Check) {}); !r.OK || r.String() != "ok   3  it holds" {
		t.Errorf("a rule that holds is %q", r.String())
	}
	r := rule(t, 0, func(c *Check) {
		c.Errorf("first\nproblem")
		c.Fatalf("second, %d expected", 2)
		c.Errorf("not reached")
	})
	if want := "FAIL 3  it holds: first problem; second, 2 expected"; r.OK || r.String() != want {
		t.Errorf("a rule that fails is %q, want %q", r.String(), want)
	}
	if r := rule(t, 0, func(c *Check) { c.Must(errors.New("broken")) }); r.OK || r.Problems[0] != "broken" {
		t.Errorf("an error gives %+v", r)
	}
}

func TestWhatARuleStartsEndsWithIt(t *testing.T) {
	t.Parallel()
	var order []string
	var dir string
	r := rule(t, 0, func(c *Check) {
		dir = c.TempDir()
		c.Cleanup(func() { order = append(order, "first") })
		c.Cleanup(func() { order = append(order, "second"); c.Fatalf("in the end") })
		runtime.Goexit()
	})
	if !slices.Equal(order, []string{"second", "first"}) || r.OK || r.Problems[0] != "in the end" {
		t.Errorf("cleanups ran as %v, with the result %+v", order, r)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the rule's directory is still there: %v", err)
	}
}

func TestARuleDoesNotTakeLongerThanItsTime(t *testing.T) {
	t.Parallel()
	began := time.Now()
	r := rule(t, 50*time.Millisecond, func(c *Check) { c.Eventually(time.Hour, "the sun explodes", func() bool { return false }) })
	if r.OK || !strings.Contains(r.Problems[0], "the sun explodes") || time.Since(began) > time.Minute {
		t.Errorf("after %v the result is %+v", time.Since(began), r)
	}
	if r := rule(t, 50*time.Millisecond, func(c *Check) { <-c.Context().Done() }); r.OK {
		t.Error("a rule whose time was up holds")
	}
	if r := rule(t, 0, func(c *Check) { c.Never(time.Hour, "it happened", func() bool { return true }) }); r.OK || r.Problems[0] != "it happened" {
		t.Errorf("what must not happen gives %+v", r)
	}
}

func TestResultsComeInTheOrderOfTheRules(t *testing.T) {
	t.Parallel()
	second := make(chan struct{})
	rules := []Rule{
		{Number: 1, Holds: func(*Check) { <-second }},
		{Number: 2, Holds: func(c *Check) { close(second); c.Errorf("fails") }},
	}
	var got []int
	if failed := Run(t.Context(), Program{}, rules, Options{}, func(r Result) { got = append(got, r.Number) }); failed != 1 || !slices.Equal(got, []int{1, 2}) {
		t.Errorf("%d rules failed, in the order %v", failed, got)
	}
}

// program is a shell that runs a script.
func program(t *testing.T, script string) Program {
	t.Helper()
	return Program{Command: []string{"sh", "-c", script}}
}

func TestAProgramIsFollowedByItsLines(t *testing.T) {
	t.Parallel()
	p := program(t, `echo "$PARLEY_NAME $NATS_TOKEN"; read line; printf 'half a line'; echo " of $line"; echo trouble >&2; exit 3`)
	r := Rule{Holds: func(c *Check) {
		s := c.NewStage(Setup{Role: topology.App})
		one := s.Launch("one", "NATS_TOKEN=t")
		c.Eventually(Soon, "its first line", func() bool { return slices.Equal(one.Lines(), []string{"one t"}) })
		one.Tell("text")
		if code := one.Exit(Soon); code != 3 {
			c.Errorf("exit code %d", code)
		}
		if got := one.Lines(); !slices.Equal(got, []string{"one t", "half a line of text"}) {
			c.Errorf("lines %q", got)
		}
		one.Running()
	}}.Run(t.Context(), p, 0)
	if len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "one ended: exit status 3") || !strings.Contains(r.Output, "trouble") {
		t.Errorf("the result is %+v", r)
	}
}

func TestADeniedRequestFailsTheRule(t *testing.T) {
	t.Parallel()
	r := rule(t, 0, func(c *Check) {
		s := c.NewStage(Setup{Role: topology.ToolWorker, Names: []string{"clock"}})
		nc := s.Dial(topology.Viewer)
		c.Must(nc.Publish("conv.0.any.in", nil))
		c.Must(nc.FlushWithContext(c.Within(Soon)))
		c.Eventually(Soon, "the server refuses it", func() bool { return len(s.Server.Refused()) > 0 })
	})
	if r.OK || !strings.Contains(r.Problems[0], `Publish Violation`) {
		t.Errorf("the result is %+v", r)
	}
}

func TestAProxyLosesMessagesAndCuts(t *testing.T) {
	t.Parallel()
	r := rule(t, 0, func(c *Check) {
		s := c.NewStage(Setup{Role: topology.App, Proxied: true})
		cfg := s.config(topology.Admin)
		cfg.URL = s.Proxy.URL()
		through := s.dial(cfg)
		sub, err := through.SubscribeSync("live.test")
		c.Must(err)
		c.Must(through.FlushWithContext(c.Within(Soon)))
		var lost atomic.Int64
		s.Proxy.Lose(func(f Frame) bool {
			return !f.ToServer && f.Subject == "live.test" && string(f.Data) == "lost\r\n" && lost.Add(1) > 0
		})
		nc, _ := s.Raw()
		for _, text := range []string{"one", "lost", "two"} {
			c.Must(nc.Publish("live.test", []byte(text)))
		}
		for _, want := range []string{"one", "two"} {
			m, err := sub.NextMsg(Soon)
			c.Must(err)
			if string(m.Data) != want {
				c.Errorf("got %q, want %q", m.Data, want)
			}
		}
		before := through.Stats().Reconnects
		s.Proxy.Cut(true)
		c.Eventually(Soon, "the connection is lost", func() bool { return !through.IsConnected() })
		s.Proxy.Accept()
		c.Eventually(Soon, "it is back", func() bool { return through.IsConnected() && through.Stats().Reconnects > before })
		if lost.Load() != 1 {
			c.Errorf("%d messages were lost", lost.Load())
		}
	})
	if !r.OK {
		t.Error(r.String())
	}
}

func TestAServerKeepsItsDataAndItsPort(t *testing.T) {
	t.Parallel()
	r := rule(t, 0, func(c *Check) {
		s := c.NewStage(Setup{Role: topology.App})
		url := s.Server.URL()
		id := NewID()
		s.Server.Stop()
		c.Must(s.Server.Start())
		if s.Server.URL() != url {
			c.Errorf("the server is at %s, was at %s", s.Server.URL(), url)
		}
		c.Eventually(Soon, "the streams are there again", func() bool {
			ctx, stop := context.WithTimeout(c.Context(), time.Second)
			defer stop()
			_, err := s.JS.Publish(ctx, topology.At(s.Shards(), id, "in").Subject(topology.Conv), []byte(`{"type":"x"}`))
			return err == nil
		})
	})
	if !r.OK {
		t.Error(r.String())
	}
}
