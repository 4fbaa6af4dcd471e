package llm

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
)

// pieces yields JSON strings as the pieces of a text, a reasoning and a call, and
// returns what arrives of each.
func pieces(t *testing.T, lines ...string) (text, reasoning, arguments string) {
	t.Helper()
	var out [3]strings.Builder
	w := NewWriter(func(e events.Event, _ error) bool {
		switch e := e.(type) {
		case *events.TextChunk:
			out[0].WriteString(e.Text)
		case *events.ReasoningChunk:
			out[1].WriteString(e.Text)
		case *events.ToolCallDelta:
			out[2].WriteString(e.Arguments)
		}
		return true
	})
	w.CallStart("call", "id", "f", true)
	for line := range ReadLines(strings.NewReader(strings.Join(lines, "\n") + "\n")) {
		var s string
		if err := json.Unmarshal(line, &s); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		w.Text("text", s)
		w.Reasoning("reasoning", s, false, nil)
		w.CallDelta("call", s)
	}
	w.End(events.GenerationEnded{Terminated: true})
	return out[0].String(), out[1].String(), out[2].String()
}

func TestHalvesOfSurrogatePairsAreJoinedOverPieces(t *testing.T) {
	for _, c := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"a pair in one piece", []string{`"a\ud83d\ude00b"`}, "a😀b"},
		{"a pair over two pieces", []string{`"a\ud83d"`, `"\ude00b"`}, "a😀b"},
		{"capital letters", []string{`"a\uD83D"`, `"\uDE00b"`}, "a😀b"},
		{"with an empty piece between", []string{`"a\ud83d"`, `""`, `"\ude00b"`}, "a😀b"},
		{"several pairs", []string{`"\ud83d"`, `"\ude00\ud83d"`, `"\ude01"`}, "😀😁"},
		{"a first half alone", []string{`"a\ud83d"`, `"b"`}, "a\uFFFDb"},
		{"a first half at the end", []string{`"a\ud83d"`}, "a\uFFFD"},
		{"a second half alone", []string{`"a\ude00b"`}, "a\uFFFDb"},
		{"two first halves", []string{`"\ud83d\ud83d"`, `"\ude00"`}, "\uFFFD😀"},
		{"an escaped backslash", []string{`"\\ud83d"`, `"\\ude00"`}, `\ud83d\ude00`},
		{"a character of the marks' own", []string{"\"a\uFDD0b\uE83D\""}, "a\uFDD0b\uE83D"},
		{"other escapes", []string{`"\u00e4\n\""`}, "ä\n\""},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, reasoning, arguments := pieces(t, c.lines...)
			if text != c.want || reasoning != c.want || arguments != c.want {
				t.Errorf("got %q, %q and %q, want %q", text, reasoning, arguments, c.want)
			}
		})
	}
}

func TestNoMarkLeavesTheWriter(t *testing.T) {
	var lines []byte
	for line := range ReadLines(strings.NewReader(`"\ud83d"`)) {
		lines = append(lines, line...)
	}
	var half string
	if err := json.Unmarshal(lines, &half); err != nil {
		t.Fatal(err)
	}
	var all []string
	w := NewWriter(func(e events.Event, _ error) bool {
		raw, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(raw))
		return true
	})
	carry, err := json.Marshal(map[string]string{"c": half})
	if err != nil {
		t.Fatal(err)
	}
	w.Refusal("r", half)
	w.Reasoning("t", half, true, carry)
	w.CallStart("c", half, half, false)
	w.CallCarry("c", carry)
	w.CallDelta("c", `{"a":"`+half)
	w.CallEnd("c")
	w.End(events.GenerationEnded{FinishWord: half, Model: half, ResponseID: half, Error: &events.Error{Class: events.ErrInternal, Message: half, Code: half}})
	if s := strings.Join(all, "\n"); strings.ContainsRune(s, mark) || strings.Contains(s, "\uE83D") || !strings.Contains(s, "\uFFFD") {
		t.Errorf("the events are\n%s", s)
	}
}
