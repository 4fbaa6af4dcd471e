package terminal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/parleybus/parley/internal/events"
)

// session simulates a person: the lines they type and the texts of their editor.
type session struct {
	awaited events.Awaited
	rows    []string
	opened  []string // the texts that the editor opened
	out     bytes.Buffer
	raw     bytes.Buffer // the output, without the echo of the typed lines
}

// session reads a section "script": an awaited thing as JSON, then per line "> "
// and a typed line, "$ " and the text of the editor, or "! " and its error.
func (a *archive) session(t *testing.T) *session {
	t.Helper()
	first, rest, _ := strings.Cut(a.sections["script"], "\n")
	s := &session{rows: strings.Split(strings.TrimSuffix(rest, "\n"), "\n")}
	if err := json.Unmarshal([]byte(first), &s.awaited); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *session) next(marks string) (mark byte, text string) {
	if len(s.rows) == 0 || len(s.rows[0]) < 1 || !strings.Contains(marks, s.rows[0][:1]) {
		return 0, ""
	}
	row := s.rows[0]
	s.rows = s.rows[1:]
	return row[0], strings.TrimPrefix(row[1:], " ")
}

func (s *session) line(hidden bool, prompt func() error) (string, error) {
	if err := prompt(); err != nil {
		return "", err
	}
	mark, text := s.next(">")
	if mark == 0 {
		return "", io.EOF
	}
	if !hidden {
		s.out.WriteString(text)
	}
	s.out.WriteString("\n")
	return text, nil
}

func (s *session) edit(text string) (string, error) {
	s.opened = append(s.opened, text)
	mark, left := s.next("$!")
	if mark == '!' {
		return "", errors.New(left)
	}
	return strings.ReplaceAll(left, "⏎", "\n"), nil
}

func TestPrompts(t *testing.T) {
	golden(t, "prompt", func(t *testing.T, a *archive) ([]string, map[string]string) {
		shown := map[string]string{}
		for name, p := range profiles() {
			s := a.session(t)
			c, err := Prompt(io.MultiWriter(&s.out, &s.raw), s.line, p, s.awaited, s.edit)
			if err != nil {
				t.Fatal(err)
			}
			if len(s.rows) > 0 && s.rows[0] != "" {
				t.Errorf("%s: the prompt did not read %q", name, s.rows)
			}
			harmless(t, name, s.raw.String())
			for _, text := range s.opened {
				fmt.Fprintf(&s.out, "editor opened with:\n%s\n", text)
			}
			raw, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			shown[name] = s.out.String() + "chosen: " + string(raw) + "\n"
		}
		return []string{"terminal", "narrow", "pipe"}, shown
	})
}

func typed(lines ...string) LineReader {
	return func(_ bool, prompt func() error) (string, error) {
		if err := prompt(); err != nil {
			return "", err
		}
		if len(lines) == 0 {
			return "", io.EOF
		}
		line := lines[0]
		lines = lines[1:]
		return line, nil
	}
}

func noEditor(string) (string, error) { return "", errors.New("there is no editor") }

func TestWhatCanBeAnswered(t *testing.T) {
	all := []string{"y", "n", "e", "a", "A", "v", "s", "yes", "NO", "Skip", "later", "always", ""}
	for _, tc := range []struct {
		name string
		wait events.Wait
		want string // the decision for each line
	}{
		{"an approval takes every verdict", events.WaitApproval, "approve reject - answer approve_for_conversation - skip approve reject skip - approve_for_conversation -"},
		{"what waits for its time can be given up or answered", events.WaitTime, "- reject - answer - - skip - reject skip - - -"},
		{"what waits for the app can be given up or answered", events.WaitResult, "- reject - answer - - skip - reject skip - - -"},
		{"a limit takes yes and no", events.WaitLimit, "approve reject - - - - skip approve reject skip - - -"},
		{"an unreadable elicitation allows no or later", events.WaitAnswer, "- reject - - - - skip - reject skip - - -"},
		{"what is of a later version can be looked at", "later", "- - - - - - skip - - skip - - -"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			for _, line := range all {
				read := 0
				in := typed(line, "text", "text")
				c, err := Prompt(io.Discard, func(hidden bool, prompt func() error) (string, error) { read++; return in(hidden, prompt) }, Profile{}, events.Awaited{For: tc.wait, Tool: "t", Call: "c"}, noEditor)
				switch {
				case err != nil:
					t.Fatal(err)
				case c.Skip && read > 1:
					got = append(got, "-") // no decision until the end of the input
				case c.Skip:
					got = append(got, "skip")
				default:
					got = append(got, string(c.Verdict))
				}
			}
			if strings.Join(got, " ") != tc.want {
				t.Errorf("%q\n got %s\nwant %s", all, strings.Join(got, " "), tc.want)
			}
		})
	}
}

func TestAnAbortedPrompt(t *testing.T) {
	gone := errors.New("the turn has ended")
	for _, tc := range []struct {
		name  string
		lines []string
	}{
		{"at the question", nil}, {"at the reason", []string{"n"}}, {"at the answer", []string{"a", `half \`}},
	} {
		t.Run(tc.name+" returns the cause", func(t *testing.T) {
			in := typed(tc.lines...)
			c, err := Prompt(io.Discard, func(hidden bool, prompt func() error) (string, error) {
				line, err := in(hidden, prompt)
				if err != nil {
					err = gone
				}
				return line, err
			}, Profile{}, events.Awaited{For: events.WaitApproval, Call: "c7"}, noEditor)
			if !errors.Is(err, gone) || !strings.Contains(err.Error(), "c7") || c.Verdict != "" {
				t.Errorf("got %+v, %v", c, err)
			}
		})
		t.Run(tc.name+" by the end of the input leaves the decision open", func(t *testing.T) {
			c, err := Prompt(io.Discard, typed(tc.lines...), Profile{}, events.Awaited{For: events.WaitApproval, Call: "c7"}, noEditor)
			if err != nil || !c.Skip || c.Verdict != "" || c.Content != "" {
				t.Errorf("got %+v, %v", c, err)
			}
		})
	}
	full := errors.New("broken pipe")
	if _, err := Prompt(&writes{err: full}, typed("y"), Profile{}, events.Awaited{For: events.WaitApproval}, noEditor); !errors.Is(err, full) {
		t.Errorf("a failing writer gives %v", err)
	}
}

func TestAnEditReturnsTheTextOfTheEditor(t *testing.T) {
	a := events.Awaited{For: events.WaitApproval, Tool: "t", Call: "c", Arguments: json.RawMessage(`{"n":1.50,"s":"\u00fc\u202e"}`)}
	c, err := Prompt(io.Discard, typed("e"), Profile{}, a, func(text string) (string, error) {
		return strings.Replace(text, "1.50", "[ 2.50, {} ]", 1), nil
	})
	want := `{"n":[2.50,{}],"s":"ü\u202e"}`
	if err != nil || c.Verdict != events.RulingEdit || string(c.Arguments) != want {
		t.Errorf("got %+v with %s, %v, want %s", c, c.Arguments, err, want)
	}
}

func TestAnAnswerAbortedInTheMiddleIsNotGiven(t *testing.T) {
	gone := errors.New("the turn has ended")
	a := events.Awaited{For: events.WaitAnswer, Call: "c7", Arguments: json.RawMessage(
		`{"message":"m","schema":{"required":["a"],"properties":{"a":{"type":"string"},"b":{},"c":{},"d":{},"e":{}}}}`)}
	all := []string{"a", "text", "yes", "1", "2", "3", "4"}
	for n := range all {
		t.Run(strings.Join(append([]string{"after"}, all[:n]...), " "), func(t *testing.T) {
			in := typed(all[:n]...)
			c, err := Prompt(io.Discard, func(hidden bool, prompt func() error) (string, error) {
				line, err := in(hidden, prompt)
				if err != nil {
					err = gone
				}
				return line, err
			}, Profile{}, a, noEditor)
			if !errors.Is(err, gone) || c.Verdict != "" {
				t.Errorf("aborted: got %+v, %v", c, err)
			}
			c, err = Prompt(io.Discard, typed(all[:n]...), Profile{}, a, noEditor)
			if err != nil || !c.Skip || c.Content != "" {
				t.Errorf("at the end of the input: got %+v, %v", c, err)
			}
		})
	}
	c, err := Prompt(io.Discard, typed(append(all, "y")...), Profile{}, a, noEditor)
	if want := `{"a":"text","b":1,"c":2,"d":3,"e":4}`; err != nil || c.Content != want {
		t.Errorf("got %+v, %v", c, err)
	}
}

// TestTextOfOthersNeverStartsALine: arguments and reasons, however long or odd,
// are behind a margin.
func TestTextOfOthersNeverStartsALine(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		piece := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{
			"run it? [y]es", strings.Repeat("x", 300), strings.Repeat(" ", 90), "\n", "\x1b[2K", "\u202e", "\u200b", "漢字漢字漢字", "👍🏽",
		}))
		value := strings.Join(rapid.SliceOfN(piece, 0, 6).Draw(rt, "value"), "")
		raw, err := json.Marshal(map[string]any{"a": value, "b": []string{value}})
		if err != nil {
			rt.Fatal(err)
		}
		a := events.Awaited{For: events.WaitApproval, Tool: value, Call: "c", Arguments: raw, Reason: value, Effect: events.Effect(value)}
		for _, p := range []Profile{{Width: 20, Unicode: true}, {Width: 60}, {}} {
			var out bytes.Buffer
			if _, err := Prompt(&out, typed("v", "s"), p, a, noEditor); err != nil {
				rt.Fatal(err)
			}
			harmless(t, "rapid", out.String())
			for n, line := range strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n") {
				ours := n == 0 || strings.HasPrefix(line, "  ") || strings.HasPrefix(line, "run it?") || strings.HasPrefix(line, "[")
				if !ours {
					rt.Fatalf("a line starts with text of others: %q", line)
				}
				if p.Width > 0 && cells(line) > p.Width && n > 0 && strings.HasPrefix(line, "  "+p.marks().bar) {
					rt.Fatalf("%q takes %d columns of %d", line, cells(line), p.Width)
				}
			}
		}
	})
}
