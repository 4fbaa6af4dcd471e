package tool

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
	"github.com/parleybus/parley/internal/worker"
)

// deployment is a NATS server with Parley's streams.
type deployment struct {
	*bus.Bus
	t   *testing.T
	url string
	log *slog.Logger
}

func deploy(t *testing.T) *deployment {
	t.Helper()
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
	return &deployment{b, t, s.URL(), slog.New(slog.NewTextHandler(t.Output(), nil))}
}

// serve serves tools until it is stopped, at the latest with the test. It waits
// until they are announced.
func (d *deployment) serve(s Server, tools ...Tool) (stop func()) {
	d.t.Helper()
	if s.URL = d.url; s.Log == nil {
		s.Log = d.log
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, tools...) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			d.t.Errorf("serve: %v", err)
		}
	})
	d.t.Cleanup(stop)
	d.eventually(func() bool {
		offers, err := d.Presence().Offers(d.t.Context())
		return err == nil && slices.ContainsFunc(offers, func(o bus.Offer) bool { return o.Name == tools[0].spec.Name })
	}, "the tool is not announced")
	return stop
}

// eventually polls ok and fails the test after ten seconds.
func (d *deployment) eventually(ok func() bool, otherwise string) {
	d.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); !ok(); <-tick.C {
		if time.Now().After(end) {
			d.t.Fatal(otherwise)
		}
	}
}

// call calls a tool as the orchestrator does.
func (d *deployment) call(ctx context.Context, t Tool, arguments string, output func(string)) (*events.ToolResult, error) {
	spec := t.spec
	if spec.Effect == "" {
		spec.Effect = events.EffectOnce
	}
	return d.Jobs().Call(ctx, bus.Call{Tool: spec, Arguments: json.RawMessage(arguments), Output: output})
}

// want calls a tool and checks how the call ends.
func (d *deployment) want(t Tool, arguments string, status events.Status, content string) *events.ToolResult {
	d.t.Helper()
	r, err := d.call(d.t.Context(), t, arguments, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	if r.Status != status || !strings.Contains(r.Content, content) {
		d.t.Errorf("the call ended as %s, %q; want %s, %q", r.Status, r.Content, status, content)
	}
	return r
}

func take[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came in 10 s")
		panic("unreachable")
	}
}

func TestAToolIsCalledOverTheBus(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	add := Func("add", "adds", func(ctx context.Context, in struct{ A, B int }) (sum, error) {
		Progress(ctx, "adding %d", in.A)
		Progress(ctx, "and %d, for %d characters", in.B, len(CallID(ctx)+Conversation(ctx)))
		return sum{Sum: in.A + in.B}, nil
	}, Pure())
	d.serve(Server{Name: "adder"}, add)
	var seen []string
	r, err := d.call(t.Context(), add, `{"A":2,"B":3}`, func(text string) { seen = append(seen, text) })
	if err != nil {
		t.Fatal(err)
	}
	if r.Status != events.StatusOK || r.Content != `{"sum":5}` || string(r.Structured) != `{"sum":5}` {
		t.Errorf("the call ended as %s, %q, %s", r.Status, r.Content, r.Structured)
	}
	if got := strings.Join(seen, ""); got != "adding 2\nand 3, for 72 characters\n" {
		t.Errorf("seen on the way: %q", got)
	}
	offers, err := d.Presence().Offers(t.Context())
	if err != nil || len(offers) != 1 || !strings.HasPrefix(offers[0].Worker, "adder-") || offers[0].Tool.Description != "adds" || len(offers[0].Tool.Output) == 0 {
		t.Errorf("announced is %+v (%v)", offers, err)
	}
}

func TestHowCallsEndThatDoNotEndWell(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	tools := map[string]Tool{}
	var all []Tool
	for _, tool := range []Tool{
		Func("fails", "", returning("", Fail("no such city: ask for Oslo"))),
		Func("errs", "", returning("", errors.New("dial tcp: refused"))),
		Func("panics", "", func(context.Context, none) (string, error) { panic("at the disco") }),
		Func("slow", "", func(ctx context.Context, _ none) (string, error) { <-ctx.Done(); return "", ctx.Err() }, Timeout(50*time.Millisecond)),
		Func("odd", "", returning(any(map[string]any{"sum": "five"}), nil), OutputSchema(`{"type":"object","properties":{"sum":{"type":"integer"}}}`)),
		Func("long", "", returning(strings.Repeat("a", 1001), nil), ResultBytes(1000)),
		Func("busy", "", returning("", Retry(errors.New("busy"), time.Hour))),
		Func("fine", "", returning("fine", nil)),
	} {
		tools[tool.spec.Name] = tool
		all = append(all, tool)
	}
	d.serve(Server{}, all...)
	for name, c := range map[string]struct {
		tool   string
		status events.Status
		want   string
	}{
		"Fail is read":                                      {"fails", events.StatusFailed, "no such city: ask for Oslo"},
		"an error is read":                                  {"errs", events.StatusFailed, "dial tcp: refused"},
		"a panic fails the call":                            {"panics", events.StatusCrashed, "at the disco"},
		"a call that takes too long times out":              {"slow", events.StatusTimeout, "50ms"},
		"data that does not fit its schema fails":           {"odd", events.StatusFailed, "schema"},
		"a result that is too long is not given":            {"long", events.StatusTooLarge, "1001"},
		"Retry does not run a tool again that is not to be": {"busy", events.StatusFailed, "busy"},
		"and the server continues":                          {"fine", events.StatusOK, "fine"},
	} {
		t.Run(name, func(t *testing.T) { d.want(tools[c.tool], `{}`, c.status, c.want) })
	}
}

func TestRetryRunsTheCallAgainWithTheSameID(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	ids := make(chan string, 9)
	tool := Func("flaky", "", func(ctx context.Context, _ none) (string, error) {
		if ids <- CallID(ctx); len(ids) < 3 {
			return "", Retry(errors.New("not yet"), time.Millisecond)
		}
		return "at last", nil
	}, Idempotent())
	d.serve(Server{}, tool)
	r := d.want(tool, `{}`, events.StatusOK, "at last")
	for range 3 {
		if id := take(t, ids); id != r.Call {
			t.Errorf("run as %s, not as %s", id, r.Call)
		}
	}
}

func TestACancelledCallEndsItsContext(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	running, ended := make(chan none, 1), make(chan error, 1)
	tool := Func("waits", "", func(ctx context.Context, _ none) (string, error) {
		running <- none{}
		<-ctx.Done()
		ended <- ctx.Err()
		return "", ctx.Err()
	})
	d.serve(Server{}, tool)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("never mind")
	go func() {
		<-running
		cancel(why)
	}()
	if _, err := d.call(ctx, tool, `{}`, nil); !errors.Is(err, why) {
		t.Errorf("the caller hears %v", err)
	}
	if err := take(t, ended); !errors.Is(err, context.Canceled) {
		t.Errorf("the tool hears %v", err)
	}
}

func TestAServerThatStopsLetsItsCallsEnd(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	running, release := make(chan none, 1), make(chan none)
	tool := Func("careful", "", func(context.Context, none) (string, error) {
		running <- none{}
		<-release
		return "with care", nil
	})
	stop := d.serve(Server{}, tool)
	results := make(chan *events.ToolResult, 1)
	go func() {
		if r, err := d.call(t.Context(), tool, `{}`, nil); err == nil {
			results <- r
		}
	}()
	take(t, running)
	stopped := make(chan none)
	go func() { stop(); close(stopped) }()
	d.eventually(func() bool {
		offers, err := d.Presence().Offers(t.Context())
		return err == nil && len(offers) == 0
	}, "a server that stops is still announced")
	close(release)
	if r := take(t, results); r.Status != events.StatusOK || r.Content != "with care" {
		t.Errorf("the call ended as %s, %q", r.Status, r.Content)
	}
	take(t, stopped)
}

func TestAServerThatMayNotDrainHandsPureCallsToAnother(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	running := make(chan string, 9)
	serve := func(name string, wait bool) func() {
		return d.serve(Server{Name: name, Drain: -1}, Func("job", "", func(ctx context.Context, _ none) (string, error) {
			running <- name
			if wait {
				<-ctx.Done()
				return "", ctx.Err()
			}
			return "by " + name, nil
		}, Pure()))
	}
	stop := serve("first", true)
	results := make(chan *events.ToolResult, 1)
	go func() {
		if r, err := d.call(t.Context(), Func("job", "", returning("", nil), Pure()), `{}`, nil); err == nil {
			results <- r
		}
	}()
	if name := take(t, running); name != "first" {
		t.Fatalf("%s has the call", name)
	}
	stop()
	serve("second", false)
	if r := take(t, results); r.Status != events.StatusOK || r.Content != "by second" {
		t.Errorf("the call ended as %s, %q", r.Status, r.Content)
	}
}

func TestConcurrencyBoundsTheCallsOfATool(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	var mu sync.Mutex
	var now, most int
	tool := Func("narrow", "", func(ctx context.Context, _ none) (string, error) {
		mu.Lock()
		now++
		most = max(most, now)
		mu.Unlock()
		select { // long enough for a third to come, if one may
		case <-time.After(30 * time.Millisecond):
		case <-ctx.Done():
		}
		mu.Lock()
		defer mu.Unlock()
		now--
		return "", nil
	}, Pure(), Concurrency(2))
	d.serve(Server{}, tool)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if r, err := d.call(t.Context(), tool, `{}`, nil); err != nil || r.Status != events.StatusOK {
				t.Errorf("got %+v, %v", r, err)
			}
		})
	}
	wg.Wait()
	if most != 2 {
		t.Errorf("%d calls ran at once, not 2", most)
	}
}

func TestLongResultsAndFilesAreStored(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	long := strings.Repeat("0123456789", 100_000)
	tool := Func("big", "", returning(Result{Content: long, Attachments: []Attachment{{Name: "a.bin", Data: []byte{0, 1}}}}, nil))
	d.serve(Server{}, tool)
	r := d.want(tool, `{}`, events.StatusOK, long[:1000])
	if r.Object == nil || r.Object.Size != int64(len(long)) || len(r.Attachments) != 1 {
		t.Fatalf("stored are %+v and %+v", r.Object, r.Attachments)
	}
	for want, o := range map[string]*events.Object{long: r.Object, "\x00\x01": r.Attachments[0].Object} {
		if got, err := d.Objects().Get(t.Context(), o); err != nil || !bytes.Equal(got, []byte(want)) {
			t.Errorf("%d bytes come back, %v", len(got), err)
		}
	}
}

func TestServeWaitsForADeploymentThatIsNotThereYet(t *testing.T) {
	t.Parallel()
	s, err := broker.Start(broker.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop() })
	lines, log := io.Pipe()
	waits := make(chan none)
	go func() { // closes waits when the server has logged for the first time that it waits
		buf := make([]byte, 1<<10)
		first := sync.OnceFunc(func() { close(waits) })
		for {
			n, err := lines.Read(buf)
			if err != nil {
				return
			}
			if bytes.Contains(buf[:n], []byte("waiting for NATS")) {
				first()
			}
		}
	}()
	t.Cleanup(func() { _ = log.Close() })
	tool := Func("patient", "", returning("here", nil))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- Server{URL: s.URL(), Log: slog.New(slog.NewTextHandler(log, nil))}.Serve(ctx, tool)
	}()
	take(t, waits)
	b, err := bus.Connect(t.Context(), bus.Config{URL: s.URL()}, &topology.Plan{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	d := &deployment{b, t, s.URL(), nil}
	d.want(tool, `{}`, events.StatusOK, "here")
	cancel()
	if err := take(t, done); err != nil {
		t.Error(err)
	}
}

func TestServeOutlivesAServerThatIsRestarted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := broker.Start(broker.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	b, err := bus.Connect(t.Context(), bus.Config{URL: s.URL()}, &topology.Plan{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	d := &deployment{b, t, s.URL(), slog.New(slog.DiscardHandler)}
	tool := Func("steady", "", returning("here", nil), Pure())
	stop := d.serve(Server{}, tool)
	d.want(tool, `{}`, events.StatusOK, "here")
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	at, err := url.Parse(d.url)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(at.Port())
	if err != nil {
		t.Fatal(err)
	}
	if s, err = broker.Start(broker.Config{Dir: dir, Port: port}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop() })
	d.eventually(b.Connected, "the caller does not come back")
	d.want(tool, `{}`, events.StatusOK, "here")
	stop()
}

func TestServeReportsWhyItCannotStart(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	tool := Func("t", "", returning("", nil))
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx    context.Context
		server Server
		want   string
	}{
		"its name is none":                     {t.Context(), Server{URL: d.url, Name: "a b"}, `worker name "a b"`},
		"the credentials are not there":        {t.Context(), Server{URL: d.url, Creds: "/nowhere.creds"}, "/nowhere.creds"},
		"it was stopped before there was NATS": {over, Server{URL: "nats://127.0.0.1:1"}, "no NATS server answers"},
		"the address is none":                  {t.Context(), Server{URL: "nats://%"}, "connect to NATS"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := c.server.Serve(c.ctx, tool); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestTheEnvironmentSaysWhatTheServerDoesNot(t *testing.T) {
	t.Parallel()
	all := []string{"URL", "CREDS", "NKEY", "TOKEN", "USER", "PASSWORD", "CA", "CERT", "KEY", "INBOX_PREFIX"}
	env := map[string]string{}
	for _, name := range all {
		env["NATS_"+name] = "env " + name
	}
	environment := bus.Environment(func(name string) string { return env[name] })
	fields := func(c bus.Config) []string {
		return []string{c.URL, c.Creds, c.NKey, c.Token, c.User, c.Password, c.CA, c.Cert, c.Key, c.InboxPrefix}
	}
	said := Server{URL: "URL", Creds: "CREDS", NKey: "NKEY", Token: "TOKEN", User: "USER", Password: "PASSWORD", CA: "CA", Cert: "CERT", Key: "KEY", InboxPrefix: "INBOX_PREFIX"}
	for i, name := range all {
		if got := fields(Server{}.config(environment))[i]; got != "env "+name {
			t.Errorf("%s is %q where the server says nothing", name, got)
		}
		if got := fields(said.config(environment))[i]; got != name {
			t.Errorf("%s is %q where the server says it", name, got)
		}
	}
	if got := (Server{}).config(bus.Config{}).URL; got != bus.LocalURL {
		t.Errorf("without anything it is %q", got)
	}
	if a, b := worker.UniqueName(ownName()), worker.UniqueName(ownName()); a == b || topology.CheckToken("worker", a) != nil {
		t.Errorf("two servers are called %s and %s", a, b)
	}
}
