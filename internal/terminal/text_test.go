package terminal

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/parleybus/parley/internal/events"
)

func TestCleaning(t *testing.T) {
	for _, c := range []struct {
		name, in, want string
	}{
		{"ordinary text of any script stays as it is", "a\tb\n漢字 é 👩🏽\u200d💻 שלום", "a\tb\n漢字 é 👩🏽\u200d💻 שלום"},
		{"an escape sequence is shown in caret notation", "\x1b[2J\x07", "^[[2J^G"},
		{"a C1 control is escaped", "\u009b2J\u0085", "<U+009B>2J<U+0085>"},
		{"bidirectional controls are escaped", "\u202e\u2066\u2069\u200f", "<U+202E><U+2066><U+2069><U+200F>"},
		{"broken UTF-8 is replaced", "a\xffb\xc3", "a�b�"},
		{"CR LF is a newline", "a\r\nb", "a\nb"},
		{"a CR alone is a newline, so that nothing is written over", "safe\rforged", "safe\nforged"},
		{"DEL and NUL are shown", "\x7f\x00", "^?^@"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := Profile{Unicode: true}
			if got := p.clean(c.in); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestNoTextControlsTheTerminalHoweverItIsCut(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		pieces := rapid.SliceOf(rapid.OneOf(
			rapid.String(),
			rapid.SampledFrom([]string{"\x1b", "[2J", "\r", "\n", "\u009b", "\u202e", "\xc2", "\x9b", "\t", "x"}),
		)).Draw(rt, "pieces")
		var out bytes.Buffer
		r := New(&out, Profile{Width: 20, Unicode: true}, Options{Reasoning: true, ShowUser: true})
		for i, piece := range pieces {
			for _, e := range []events.Event{
				&events.TextChunk{Text: piece},
				&events.ReasoningChunk{Text: piece},
				&events.ToolOutput{Call: piece, Index: i, Text: piece},
				&events.ToolCallStart{Block: i, Name: piece},
				&events.ToolCallDelta{Block: i, Arguments: piece},
				&events.ToolCallEnd{Block: i},
				&events.ToolResult{Call: piece, Status: events.Status(piece), Content: piece},
				&events.UserMessage{Text: piece, Arrival: events.Arrival(piece)},
				&events.Verdict{ID: "v", Verdict: events.Ruling(piece), Calls: []events.CallVerdict{{Call: piece}}, Grants: []string{piece}, From: piece},
				&events.Cancel{Scope: events.Scope(piece), Call: piece, Reason: piece},
				&events.Paused{Awaiting: []events.Awaited{
					{For: events.Wait(piece), Call: piece, Tool: piece, Effect: events.Effect(piece), Arguments: json.RawMessage(piece), Reason: piece},
					{For: events.WaitLimit, Call: piece, Reason: piece, DeadlineMS: int64(i) << 50},
				}},
				&events.Paused{Reminder: 1, Awaiting: []events.Awaited{{Call: piece, Tool: piece}}},
				&events.ToolCallRequested{Call: piece, Tool: piece, Arguments: json.RawMessage(piece), By: "v"},
				&events.ToolCallAnswered{Call: piece, Tool: piece, Content: piece, By: "v"},
				&events.InputAnswered{Answer: events.Answer(piece), Calls: []events.CallAnswer{{Call: piece, Answer: events.Answer(piece)}},
					Granted: []events.Grant{{ID: piece, Tool: piece}}},
				&events.Resumed{Extended: piece},
				&events.HookAnswered{Hook: piece, Refuse: piece}, &events.HookAnswered{Hook: piece, Error: piece}, &events.HookAnswered{Hook: piece, Context: piece},
			} {
				if err := r.Show(Entry{Line: events.Line{Event: e}}); err != nil {
					rt.Fatal(err)
				}
			}
		}
		harmless(t, "rapid", out.String())
	})
}

// writes records the data of each Write.
type writes struct {
	all []string
	err error
}

func (w *writes) Write(b []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	w.all = append(w.all, string(b))
	return len(b), nil
}

func TestEveryPieceIsWrittenAtOnceAndUnchanged(t *testing.T) {
	pieces := []string{"The", " quick\n", "\n", "  ", "brown fox jumps over a line that is wider than the terminal"}
	var w writes
	r := New(&w, Profile{Width: 20, Color: true, Unicode: true}, Options{})
	for i, piece := range pieces {
		if err := r.Show(Entry{Line: events.Line{Event: &events.TextChunk{Text: piece}}}); err != nil {
			t.Fatal(err)
		}
		if len(w.all) != i+1 || w.all[i] != piece {
			t.Fatalf("after piece %d the writer got %q", i, w.all)
		}
	}
}

func TestAWriterThatFailsIsReported(t *testing.T) {
	gone := errors.New("broken pipe")
	r := New(&writes{err: gone}, Profile{}, Options{})
	if err := r.Show(Entry{Line: events.Line{Event: &events.TextChunk{Text: "x"}}}); !errors.Is(err, gone) {
		t.Errorf("got %v", err)
	}
}

func TestLinesOfEventsWithoutContentAreShownOrIgnoredNeverFatal(t *testing.T) {
	for _, e := range append(events.Prototypes(), nil, &events.Unknown{}) {
		r := New(&bytes.Buffer{}, Profile{Width: 20}, Options{Verbose: true, ShowUser: true, Reasoning: true})
		for range 2 {
			if err := r.Show(Entry{Line: events.Line{Event: e}}); err != nil {
				t.Errorf("%T: %v", e, err)
			}
		}
	}
}

func TestANoticeIsWrappedBehindItsIndent(t *testing.T) {
	for _, c := range []struct {
		width, indent int
		want          string
	}{
		{0, 4, "    one two 漢字漢字 three"},
		{20, 0, "one two 漢字漢字\nthree"},
		{20, 4, "    one two 漢字漢字\n    three"},
		{19, 4, "    one two\n    漢字漢字 three"},
		{80, 2, "  one two 漢字漢字 three"},
	} {
		if got := (Profile{Width: c.width}).Wrap("one two 漢字漢字 three", c.indent); got != c.want {
			t.Errorf("in %d columns, indented by %d: got %q, want %q", c.width, c.indent, got, c.want)
		}
	}
}

func TestALineIsCutAtItsWidth(t *testing.T) {
	p := Profile{Unicode: true}
	for columns, want := range map[int]string{0: "a ^[[2J b 漢字", 100: "a ^[[2J b 漢字", 11: "a ^[[2J b …", 5: "a ^[…", 1: "a"} {
		if got := p.Line("a \x1b[2J\r\n b\t漢字 ", columns); got != want {
			t.Errorf("in %d columns: got %q, want %q", columns, got, want)
		}
	}
}

func TestDurationsAndSizesForPeople(t *testing.T) {
	for want, got := range map[string]string{
		"3 ms": took(3 * time.Millisecond), "1.2 s": took(1240 * time.Millisecond), "2 m 5 s": took(125 * time.Second),
		"999 B": size(999), "1.2 kB": size(1234), "3.5 MB": size(3_500_000),
		"1 step": count(1, "step"), "0 steps": count(0, "step"),
		"40 s": roughly(40 * time.Second), "1 m 30 s": roughly(90 * time.Second), "2 m": roughly(2 * time.Minute),
		"25 m": roughly(25*time.Minute + 20*time.Second), "3 h 20 m": roughly(3*time.Hour + 20*time.Minute),
		"1 d 1 h": roughly(25 * time.Hour), "7 d": roughly(7 * 24 * time.Hour), "0 s": roughly(-time.Hour),
		"now": ahead(-time.Second), "in 5 s": ahead(5 * time.Second),
		"$12.35": cost(12.345678), "$0.0123": cost(0.0123), "$0.0001": cost(0.00007), "under $0.0001": cost(0.00001),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestALineOfALongTextIsShort(t *testing.T) {
	p := Profile{Width: 30, Unicode: true}
	if got := p.line(strings.Repeat("漢", 1<<20)); len(got) > lineBytes+len("…") || !strings.HasSuffix(got, "…") {
		t.Errorf("a line of %d bytes", len(got))
	}
	for _, width := range []int{1, 2, 3, 20} {
		if got := p.cut("漢字漢字漢字漢字漢字漢字👍🏽", width); cells(got) > width {
			t.Errorf("%q takes %d columns of %d", got, cells(got), width)
		}
	}
}

func TestWidthsAreThoseOfTheTerminal(t *testing.T) {
	for text, want := range map[string]int{
		"abc": 3, "e\u0301": 1, "漢字": 4, "한": 2, "שלום": 4, "क्षि": 1,
		"👍🏽": 2, "👨\u200d👩\u200d👧": 2, "🇩🇪": 2, "1\ufe0f\u20e3": 2, "⚠": 1, "⚠\ufe0f": 2, "\u200f": 0,
	} {
		if got := cells(text); got != want {
			t.Errorf("%q takes %d columns, want %d", text, got, want)
		}
	}
}

func TestLinesAreNeverWrappedInsideAnID(t *testing.T) {
	const id = "0197f3a2-7c1e-7000-8000-000000000001"
	for _, width := range []int{20, 40, 80} {
		p := Profile{Width: width}
		for name, got := range map[string]string{
			"a note":  p.wrap("the conversation " + id + " was deleted by somebody else"),
			"facts":   p.flow([]string{"2 steps", id, "first token 0.1 s"}),
			"nothing": p.flow(nil) + p.wrap(""),
		} {
			if name != "nothing" && !strings.Contains(got, id) || name == "nothing" && got != "" {
				t.Errorf("%s at %d columns: %q", name, width, got)
			}
			for line := range strings.SplitSeq(got, "\n") {
				if cells(line) > width && line != id {
					t.Errorf("%s: %q takes %d columns of %d", name, line, cells(line), width)
				}
			}
		}
	}
}
