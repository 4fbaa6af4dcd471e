package terminal

import (
	"bytes"
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
		{"ordinary text of any script stays as it is", "a\tb\n漢字 é 👍🏽 שלום\u200f", "a\tb\n漢字 é 👍🏽 שלום\u200f"},
		{"an escape sequence is shown in caret notation", "\x1b[2J\x07", "^[[2J^G"},
		{"a C1 control is replaced", "\u009b2J\u0085", "�2J�"},
		{"bidirectional overrides and isolates are replaced", "\u202e\u2066\u2069", "���"},
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

func TestNoTextCommandsTheTerminalHoweverItIsCut(t *testing.T) {
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
				&events.UserMessage{Text: piece},
			} {
				if err := r.Show(Entry{Line: events.Line{Event: e}}); err != nil {
					rt.Fatal(err)
				}
			}
		}
		harmless(t, "rapid", out.String())
	})
}

// writes keeps what each Write was given.
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

func TestEveryPieceIsWrittenAtOnceAndAsItIs(t *testing.T) {
	pieces := []string{"The", " quick\n", "\n", "  ", "brown fox jumps over a line that is wider than the terminal"}
	var w writes
	r := New(&w, Profile{Width: 20, Color: true, Unicode: true}, Options{})
	for i, piece := range pieces {
		if err := r.Show(Entry{Line: events.Line{Event: &events.TextChunk{Text: piece}}}); err != nil {
			t.Fatal(err)
		}
		if len(w.all) != i+1 || w.all[i] != piece {
			t.Fatalf("after piece %d the writer was given %q", i, w.all)
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

func TestDurationsAndSizesForPeople(t *testing.T) {
	for want, got := range map[string]string{
		"3 ms": took(3 * time.Millisecond), "1.2 s": took(1240 * time.Millisecond), "2 m 5 s": took(125 * time.Second),
		"999 B": size(999), "1.2 kB": size(1234), "3.5 MB": size(3_500_000),
		"1 step": count(1, "step"), "0 steps": count(0, "step"),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestLongTextsMakeShortLines(t *testing.T) {
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
