package main

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/parleybus/parley/internal/broker/brokertest"
	"github.com/parleybus/parley/internal/events"
)

// slowAnswer takes a second and a half, word by word.
func slowAnswer() string {
	return "This answer takes its time, " + strings.Repeat("one word after the other ", 9) + "until it is done."
}

const scriptOfE2E = `
pace: 25
rules:
  - match: 'fetch (?P<url>\S+)'
    steps:
      - text: I fetch it and calculate meanwhile.
        calls:
          - {tool: http_get, arguments: {url: '{{.Match.url}}'}}
          - {tool: calculate, arguments: {expression: 17% of 2340}}
      - text: 'The page came {{status 0}}, and the sum is {{result 1}}.'
  - match: '(?P<expression>\d+ \* \d+)'
    steps:
      - text: I calculate.
        calls: [{tool: calculate, arguments: {expression: '{{.Match.expression}}'}}]
      - text: It is {{result 0}}.
  - steps:
      - text: SLOW
`

// separate is Parley as three processes beside a NATS server.
type separate struct {
	*processes
	conversation    string
	nats            *process
	port            string
	token           string // of the server: processes of another test may know its port
	llm, tool, orch *process
	turns           int
}

func (s *separate) startNATS(port string) {
	s.t.Helper()
	if s.token == "" {
		s.token = rand.Text()
	}
	s.nats = s.start("nats-server", "-js", "-sd", filepath.Join(s.dir, "store"), "-a", "127.0.0.1", "-p", port, "--auth", s.token)
	line := s.nats.await(1, "Listening for client connections on")
	s.port = line[strings.LastIndex(line, ":")+1:]
	s.nats.await(1, "Server is ready")
	s.url = brokertest.URL(s.token, "127.0.0.1:"+s.port)
}

// restart starts a service that is not running and waits until it serves.
func (s *separate) restart(role string) {
	s.t.Helper()
	args := []string{"--http", "127.0.0.1:0"}
	switch role {
	case "orchestrator":
		s.orch = s.start(role, args...)
		s.orch.await(1, "owns a shard")
	case "llm-worker":
		s.llm = s.start(role, append(args, "--script", filepath.Join(s.dir, "script.yaml"))...)
		s.llm.await(1, "msg=ready")
	case "tool-worker":
		s.tool = s.start(role, append(args, "--allow-host", "127.0.0.0/8")...)
		s.tool.await(1, "msg=ready")
	}
}

// ask starts a turn of the conversation.
func (s *separate) ask(question string) *process {
	s.t.Helper()
	s.turns++
	return s.command("ask", "--json", "-c", s.conversation, question)
}

// streaming waits until an answer is in the middle of its text.
func (s *separate) streaming(viewer *process) {
	s.t.Helper()
	viewer.await(s.turns, `"type":"TurnStarted"`)
	had := strings.Count(viewer.output(), `"type":"TextChunk"`)
	viewer.await(had+4, `"type":"TextChunk"`)
}

// page is a server that answers when the test lets it.
type page struct {
	*httptest.Server
	asked, answer chan struct{}
}

func newPage(t *testing.T) *page {
	p := &page{asked: make(chan struct{}, 10), answer: make(chan struct{})}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.asked <- struct{}{}
		select {
		case <-p.answer:
			_, _ = w.Write([]byte("slow and steady"))
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(p.Close)
	return p
}

// prepare builds the binaries and writes the script; nothing runs yet.
func prepare(t *testing.T) *separate {
	t.Helper()
	id, err := uuid.NewV7()
	if err != nil {
		t.Fatal(err)
	}
	s := &separate{processes: build(t), conversation: id.String()}
	script := strings.Replace(scriptOfE2E, "SLOW", slowAnswer(), 1)
	if err := os.WriteFile(filepath.Join(s.dir, "script.yaml"), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// newSeparate starts everything.
func newSeparate(t *testing.T) *separate {
	t.Helper()
	s := prepare(t)
	s.startNATS("-1")
	for _, role := range []string{"orchestrator", "llm-worker", "tool-worker"} {
		s.restart(role)
	}
	return s
}

// TestE2EThreeProcessesLoseNothingWhateverDies runs the three services beside a
// NATS server of its own process, and kills each of the four, between turns and
// in the middle of them.
func TestE2EThreeProcessesLoseNothingWhateverDies(t *testing.T) {
	t.Parallel()
	s := newSeparate(t)
	s.healthy()

	var asked []string
	first := s.ask("take your time")
	s.streaming(first)
	tail := s.command("tail", "--json", s.conversation)
	asked = append(asked, first.finish())

	t.Log("between turns")
	for _, dies := range []struct {
		role string
		p    **process
	}{{"llm-worker", &s.llm}, {"tool-worker", &s.tool}, {"orchestrator", &s.orch}} {
		(*dies.p).kill()
		s.restart(dies.role)
		asked = append(asked, s.ask("what is 6 * 7").finish())
	}

	t.Log("in the middle")
	a := s.ask("take your time again")
	s.streaming(a)
	s.llm.kill()
	s.restart("llm-worker")
	asked = append(asked, a.finish())

	a = s.ask("take your time once more")
	s.streaming(a)
	s.orch.kill()
	s.restart("orchestrator")
	asked = append(asked, a.finish())

	slow := newPage(t)
	a = s.ask("fetch " + slow.URL)
	<-slow.asked
	s.tool.kill()
	s.restart("tool-worker")
	<-slow.asked // by the one that took the call over
	close(slow.answer)
	asked = append(asked, a.finish())

	a = s.ask("take your time, server")
	s.streaming(a)
	s.nats.kill()
	s.startNATS(s.port)
	asked = append(asked, a.finish())

	tail.await(s.turns, `"type":"TurnEnded"`)
	tail.stop()
	replay := s.command("replay", "--json", s.conversation).finish()
	s.same("tail", tail.output(), replay)
	for i, saw := range asked {
		if !strings.HasPrefix(replay, saw) {
			t.Errorf("turn %d: its viewer did not see what replay shows:\n%s", i+1, firstDifference(saw, replay))
		}
	}
	s.complete(replay)

	t.Log("everything again")
	for _, p := range []*process{s.llm, s.tool, s.orch} {
		p.stop()
	}
	s.nats.kill()
	s.startNATS(s.port)
	s.same("replay after a restart", s.command("replay", "--json", s.conversation).finish(), replay)
	s.nats.kill()
}

// healthy checks each service's health.
func (s *separate) healthy() {
	s.t.Helper()
	for _, p := range []*process{s.orch, s.llm, s.tool} {
		for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ok", "/metrics": "parley_"} {
			if status, body := p.get(path); status != http.StatusOK || !strings.Contains(body, want) {
				s.t.Errorf("%s answers %s with %d %.200q, want %q", p.name, path, status, body, want)
			}
		}
	}
}

func (s *separate) same(what, got, want string) {
	s.t.Helper()
	if got != want {
		s.t.Errorf("%s differs from replay:\n%s", what, firstDifference(got, want))
	}
}

// firstDifference shows where two outputs part.
func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return "got  " + g[i] + "\nwant " + w[i]
		}
	}
	return "one continues:\ngot  " + strings.Join(g[min(len(g), len(w)):], "\n") + "\nwant " + strings.Join(w[min(len(g), len(w)):], "\n")
}

// complete checks that each turn ended once, well, and with its whole answer.
func (s *separate) complete(replay string) {
	s.t.Helper()
	ended := map[string]int{}
	for line := range strings.Lines(replay) {
		var e entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			s.t.Fatalf("line %q: %v", line, err)
		}
		l, err := events.DecodeLine(e.Event)
		if err != nil {
			s.t.Fatalf("event %s: %v", e.Event, err)
		}
		if d, ok := l.Event.(*events.Decision); ok {
			for _, l := range d.Events {
				if end, ok := l.Event.(*events.TurnEnded); ok {
					ended[end.Turn]++
					if end.Outcome != events.OutcomeCompleted {
						s.t.Errorf("turn %s ended as %s: %s %v", end.Turn, end.Outcome, end.Reason, end.Error)
					}
				}
			}
		}
	}
	if len(ended) != s.turns {
		s.t.Errorf("%d turns ended, want %d", len(ended), s.turns)
	}
	for turn, n := range ended {
		if n != 1 {
			s.t.Errorf("turn %s ended %d times", turn, n)
		}
	}
	var transcript shown
	if err := json.Unmarshal([]byte(s.command("show", "--format", "json", s.conversation).finish()), &transcript); err != nil {
		s.t.Fatal(err)
	}
	var said []string
	for _, m := range transcript.Messages {
		if m.Role != events.RoleAssistant {
			continue
		}
		for _, p := range m.Parts {
			if p.Kind == events.PartText {
				said = append(said, p.Text)
			}
		}
	}
	sum := []string{"I calculate.", "It is 42."}
	want := slices.Concat([]string{slowAnswer()}, sum, sum, sum, []string{slowAnswer(), slowAnswer()},
		[]string{"I fetch it and calculate meanwhile.", "The page came ok, and the sum is 397.8."}, []string{slowAnswer()})
	if !slices.Equal(said, want) {
		s.t.Errorf("the answers are\n%s\nwant\n%s", strings.Join(said, "\n"), strings.Join(want, "\n"))
	}
}
