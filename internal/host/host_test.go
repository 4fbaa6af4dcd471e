package host_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/host"
)

func TestMain(m *testing.M) {
	// nats-server waits for an answer to the request for HISTORY's source on a
	// goroutine that outlives its shutdown.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*stream).trySetupSourceConsumer.func3"))
}

// messages passes on what is logged at level warn or above.
type messages struct {
	slog.Handler
	to chan string
}

func (m messages) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

func (m messages) Handle(_ context.Context, r slog.Record) error {
	select {
	case m.to <- r.Message:
	default: // the test does not wait for it
	}
	return nil
}

// process is a host as another process would be one, and its log.
func process(t *testing.T, dir, name string) (*host.Host, chan string) {
	t.Helper()
	cfg, err := daemon.Defaults(func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	cfg.Name, cfg.Models = name, []string{"scripted"}
	logged := make(chan string, 100)
	return &host.Host{Dir: dir, Config: cfg, Connection: "test " + name, Log: slog.New(messages{slog.DiscardHandler, logged})}, logged
}

// closed closes a session at the latest with the test.
func closed(t *testing.T, s *host.Session, err error) *host.Session {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// answered sends a message and returns how the turn ended.
func answered(t *testing.T, s *host.Session) parley.Outcome {
	t.Helper()
	return endOf(t, s.Conversation(parley.NewID()), "What is 6 * 7?").Outcome
}

// endOf sends a message and returns the end of its turn.
func endOf(t *testing.T, conv *parley.Conversation, message string) *parley.TurnEnded {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	turn, err := conv.Send(ctx, message)
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range turn.Events(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if end, ok := e.Body.(*parley.TurnEnded); ok {
			return end
		}
	}
	t.Fatal("the turn did not end")
	return nil
}

func TestTheSecondProcessJoinsTheFirstAndTakesOver(t *testing.T) {
	dir := t.TempDir()
	a, _ := process(t, dir, "a")
	b, logged := process(t, dir, "b")
	first, err := a.JoinOrServe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second, err := b.JoinOrServe(t.Context())
	closed(t, second, err)
	if !first.Embedded() || !first.RunsRoles() || first.Models == nil || second.Embedded() || second.RunsRoles() {
		t.Fatal("the first should serve, the second join")
	}
	if second.Server() != first.Server() || host.Running(dir) != first.Server() {
		t.Errorf("the servers are %s, %s and %s", first.Server(), second.Server(), host.Running(dir))
	}
	if got := answered(t, second); got != parley.OutcomeCompleted {
		t.Errorf("the turn ended as %q", got)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	for {
		select {
		case line := <-logged:
			if strings.HasPrefix(line, "the process that ran the server has ended") {
				if got := answered(t, second); got != parley.OutcomeCompleted {
					t.Errorf("after the takeover the turn ended as %q", got)
				}
				return
			}
		case <-time.After(30 * time.Second):
			t.Fatal("nobody took over")
		}
	}
}

func TestOfSeveralThatStartTogetherOneServes(t *testing.T) {
	dir := t.TempDir()
	type result struct {
		s   *host.Session
		err error
	}
	results := make(chan result)
	const processes = 3
	for i := range processes {
		h, _ := process(t, dir, "p"+strconv.Itoa(i))
		go func() {
			s, err := h.JoinOrServe(t.Context())
			results <- result{s, err}
		}()
	}
	serving := 0
	for range processes {
		r := <-results
		if closed(t, r.s, r.err).RunsRoles() {
			serving++
		}
	}
	if serving != 1 {
		t.Errorf("%d serve", serving)
	}
}

func TestConnectReadsWhatIsStored(t *testing.T) {
	h, _ := process(t, t.TempDir(), "a")
	_, err := h.Connect(t.Context())
	if !errors.Is(err, host.ErrNoData) || parley.CodeOf(err) != parley.CodeNoServer || !h.Empty() {
		t.Fatalf("of an empty directory: %v", err)
	}
	s, err := h.JoinOrServe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	answered(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err = h.Connect(t.Context())
	closed(t, s, err)
	all, _, err := s.List(t.Context(), 0, 10)
	if err != nil || len(all) != 1 || !s.Embedded() || s.RunsRoles() || s.Server() != "the embedded server" || h.Empty() {
		t.Errorf("%d conversations on %s, %v", len(all), s.Server(), err)
	}
}

func TestAServerStartsOnTheFirstFreePort(t *testing.T) {
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	port := taken.Addr().(*net.TCPAddr).Port
	h, _ := process(t, t.TempDir(), "a")
	if _, err := h.Start(t.Context(), port); !errors.Is(err, broker.ErrPort) {
		t.Fatalf("on a port that is taken: %v", err)
	}
	s, err := h.Start(t.Context(), port, 0)
	closed(t, s, err)
	if u, err := url.Parse(s.Server()); err != nil || u.Port() == strconv.Itoa(port) {
		t.Errorf("the server is at %s", s.Server())
	}
	if _, err := h.Start(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "a server runs on "+h.Dir+" already") {
		t.Errorf("a second server: %v", err)
	}
	roles, err := h.JoinForRoles(t.Context())
	closed(t, roles, err)
	b, err := roles.Bus(t.Context())
	if err != nil || !b.Connected() {
		t.Errorf("a connection for roles: %v", err)
	}
}

func TestWhatAProcessThatCrashedLeftIsIgnored(t *testing.T) {
	dir := t.TempDir()
	for name, left := range map[string]string{"no address": "{}", "no JSON": "{", "nobody there": `{"url":"nats://127.0.0.1:1"}`} {
		if err := os.WriteFile(filepath.Join(dir, "server.json"), []byte(left), 0o600); err != nil {
			t.Fatal(err)
		}
		h, _ := process(t, dir, "a")
		if s, err := h.Join(t.Context()); s != nil || err != nil || host.Running(dir) != "" {
			t.Errorf("%s: %v, %v", name, s, err)
		}
		if _, err := h.JoinForRoles(t.Context()); parley.CodeOf(err) != parley.CodeNoServer {
			t.Errorf("%s: roles without a server: %v", name, err)
		}
	}
}

func TestRolesOf(t *testing.T) {
	h, _ := process(t, t.TempDir(), "a")
	roles, models, err := h.Roles(t.Context(), nil, map[string]int{"llm-worker": 2, "tool-worker": 1})
	if err != nil || models.Default == "" {
		t.Fatal(err)
	}
	var names []string
	for _, r := range roles[1:] { // the first creates the streams
		names = append(names, r.Name)
	}
	if got := strings.Join(names, " "); got != "tool-worker llm-worker llm-worker" {
		t.Errorf("the roles are %s", got)
	}
	h.Config.Rules = filepath.Join(h.Dir, "missing.yaml")
	if _, _, err := h.Roles(t.Context(), nil, map[string]int{"llm-worker": 1}); err != nil {
		t.Errorf("rules are for the orchestrator: %v", err)
	}
	all := map[string]int{"orchestrator": 1, "tool-worker": 1}
	if _, _, err := h.Roles(t.Context(), nil, all); parley.CodeOf(err) != parley.CodeInvalid {
		t.Errorf("rules that do not exist: %v", err)
	}
	h.Config.Rules, h.Config.ToolsFile = "", filepath.Join(h.Dir, "missing.yaml")
	if _, _, err := h.Roles(t.Context(), nil, all); parley.CodeOf(err) != parley.CodeInvalid {
		t.Errorf("tools that do not exist: %v", err)
	}
	if _, err := h.JoinOrServe(t.Context()); parley.CodeOf(err) != parley.CodeInvalid || host.Running(h.Dir) != "" {
		t.Errorf("everything with tools that do not exist: %v", err)
	}
}
