package orchestrator

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/policy"
	"github.com/parleybus/parley/internal/tool"
)

// TestDecide runs the scripts in testdata/decide. A script is a txtar file: what
// it shows, then sections in order:
//
//	-- env --       the Env as JSON; without it one model, tools f (pure) and g
//	                (once), and a policy that runs every call
//	-- at 1500 --   messages that arrive before the decision at 1500 ms, one a
//	                line, "channel event"; "call.call-1" is a call's lane
//	-- decision --  the events then decided, one a line
//
// Ids are written as turn-1, generation-2, call-1. Each Decision is appended to
// the log; what comes after an input takes a Decision of its own. Run with -update to rewrite
// the decisions.
func TestDecide(t *testing.T) {
	files, err := filepath.Glob("testdata/decide/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { runScript(t, file) })
	}
}

type section struct{ name, text string }

// readScript reads a txtar file; the first section has no name.
func readScript(t *testing.T, file string) []section {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	all := []section{{}}
	for line := range strings.Lines(string(data)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "-- "); ok && strings.HasSuffix(name, " --") {
			all = append(all, section{name: strings.TrimSuffix(name, " --")})
			continue
		}
		all[len(all)-1].text += line
	}
	return all
}

func runScript(t *testing.T, file string) {
	sections := readScript(t, file)
	s := &script{t: t, log: newLog("00000000-0000-7000-8000-c00000000000"), env: testEnv(), names: map[string]string{}}
	changed := false
	for i, sec := range sections {
		at, isLog := strings.CutPrefix(sec.name, "at ")
		switch {
		case sec.name == "env":
			if err := json.Unmarshal([]byte(sec.text), &s.env); err != nil {
				t.Fatalf("%s: env: %v", file, err)
			}
		case isLog:
			ms, err := strconv.ParseInt(at, 10, 64)
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			s.now = time.UnixMilli(ms)
			s.arrive(sec.text)
		case sec.name == "decision":
			got := s.decide()
			if *update {
				changed = changed || got != sec.text
				sections[i].text = got
			} else if d := cmp.Diff(sec.text, got); d != "" {
				t.Errorf("%s: the decision at %d ms (-want +got)\n%s", file, s.now.UnixMilli(), d)
			}
		case sec.name != "":
			t.Fatalf("%s: no section is named %q", file, sec.name)
		}
	}
	if changed {
		writeScript(t, file, sections)
	}
}

var update = flag.Bool("update", false, "rewrite the decisions in testdata")

func writeScript(t *testing.T, file string, sections []section) {
	t.Helper()
	var b strings.Builder
	for _, sec := range sections {
		if sec.name != "" {
			fmt.Fprintf(&b, "-- %s --\n", sec.name)
		}
		b.WriteString(sec.text)
	}
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// script is the run of one.
type script struct {
	t                  *testing.T
	log                *conversationLog
	env                Env
	now                time.Time
	names              map[string]string // by id
	turns, generations int
}

func (s *script) arrive(text string) {
	for row := range strings.Lines(text) {
		row = strings.TrimSpace(row)
		if row == "" || strings.HasPrefix(row, "#") {
			continue
		}
		channel, event, _ := strings.Cut(s.ids(row), " ")
		name, call, _ := strings.Cut(channel, ".")
		lines, err := events.DecodeFrame([]byte(event))
		s.log.append(accumulator.Message{Channel: events.Channel(name), Call: call, Lines: lines, Bad: err})
	}
	s.log.foldAll()
}

// ids puts ids in the place of names.
func (s *script) ids(row string) string {
	for id, name := range s.names {
		row = regexp.MustCompile(`\b`+name+`\b`).ReplaceAllString(row, id)
	}
	return regexp.MustCompile(`\bcall-\d\b`).ReplaceAllStringFunc(row, func(name string) string {
		id := "00000000-0000-7000-8000-ca110000000" + name[5:]
		s.names[id] = name
		return id
	})
}

// decide decides until there is nothing to decide, appends the Decisions and
// returns them with names for ids.
func (s *script) decide() string {
	var all strings.Builder
	for range 5 {
		text := s.decideOnce()
		if text == "" {
			return all.String()
		}
		all.WriteString(text)
	}
	s.t.Errorf("at %d ms there is always more to decide", s.now.UnixMilli())
	return all.String()
}

func (s *script) decideOnce() string {
	s.env.Settings = s.log.state.Transcript.Settings
	s.env.Complete, s.log.complete = s.log.complete, nil
	d, draft, _ := Decide(s.log.state, s.env, s.now)
	var b strings.Builder
	for _, e := range eventsOf(d) {
		switch e := e.(type) {
		case *events.TurnStarted:
			s.turns++
			s.names[e.Turn] = fmt.Sprintf("turn-%d", s.turns)
		case *events.GenerationRequested:
			s.generations++
			s.names[e.Generation] = fmt.Sprintf("generation-%d", s.generations)
		}
		raw, err := events.Append(nil, e)
		if err != nil {
			s.t.Fatal(err)
		}
		row := string(raw)
		for id, name := range s.names {
			row = strings.ReplaceAll(row, id, name)
		}
		b.WriteString(row + "\n")
	}
	if d != nil {
		s.log.decided(d, draft)
	}
	return b.String()
}

// testEnv serves one model and two tools: f wants a number x, g takes anything.
func testEnv() Env {
	return Env{
		Route: "scripted/echo", Limits: DefaultLimits(), Check: new(tool.Validator).Validate, Judge: new(policy.Judge),
		Policy: &events.Policy{Rules: []events.Rule{{Action: events.ActionAuto}}},
		Tools: map[string]events.ToolSpec{
			"f": {Name: "f", Schema: json.RawMessage(`{"type":"object","properties":{"x":{"type":"number"}},"required":["x"]}`), Effect: events.EffectPure},
			"g": {Name: "g"},
		},
	}
}
