package llm_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

// write collects what a writer yields, one word per event.
func write(t *testing.T, do func(w *llm.Writer)) (string, *events.GenerationEnded) {
	t.Helper()
	var got []string
	var end *events.GenerationEnded
	do(llm.NewWriter(func(e events.Event, err error) bool {
		switch e := e.(type) {
		case *events.TextChunk:
			got = append(got, fmt.Sprintf("text%d:%s", e.Block, e.Text))
		case *events.ReasoningChunk:
			got = append(got, fmt.Sprintf("reasoning%d:%s%s", e.Block, e.Text, e.Carry))
		case *events.ToolCallStart:
			got = append(got, fmt.Sprintf("start%d:%s", e.Block, e.Name))
		case *events.ToolCallDelta:
			got = append(got, fmt.Sprintf("delta%d:%s", e.Block, e.Arguments))
		case *events.ToolCallEnd:
			word := "end"
			if e.Invalid != "" {
				word = "invalid"
			}
			got = append(got, fmt.Sprintf("%s%d:%s", word, e.Block, e.Carry))
		case *events.GenerationEnded:
			end = e
			if (e.Error != nil) != (err != nil) {
				t.Errorf("the end has error %v, beside it is %v", e.Error, err)
			}
		}
		return true
	}))
	return strings.Join(got, " "), end
}

func TestWriterKeepsTheOrderAndTheBlocks(t *testing.T) {
	cases := []struct {
		name string
		do   func(w *llm.Writer)
		want string
	}{
		{"a new key is a new block", func(w *llm.Writer) { w.Text("a", "1"); w.Text("b", "2"); w.Text("a", "3") }, "text0:1 text1:2 text0:3"},
		{"empty pieces are nothing", func(w *llm.Writer) {
			w.Text("a", "")
			w.Refusal("b", "")
			w.Reasoning("c", "", true, nil)
			w.CallStart("d", "", "f", false)
			w.CallDelta("d", "")
		}, "start0:f end0:"},
		{"reasoning without text is kept for its carry", func(w *llm.Writer) { w.Reasoning("a", "", false, []byte(`{}`)) }, "reasoning0:{}"},
		{"a second start is ignored", func(w *llm.Writer) { w.CallStart("a", "1", "f", false); w.CallStart("a", "2", "g", false) }, "start0:f end0:"},
		{"a piece of no call is dropped", func(w *llm.Writer) { w.CallDelta("a", "x"); w.CallEnd("a"); w.CallCarry("a", nil) }, ""},
		{"a piece after the end of a call is dropped", func(w *llm.Writer) {
			w.CallStart("a", "", "f", false)
			w.CallEnd("a")
			w.CallDelta("a", "x")
			w.CallEnd("a")
		}, "start0:f end0:"},
		{"calls that are open are closed in order", func(w *llm.Writer) {
			w.CallStart("b", "", "g", false)
			w.CallStart("a", "", "f", false)
			w.CallDelta("a", "{}")
			w.CallCarry("a", []byte(`"s"`))
		}, `start0:g start1:f delta1:{} end0: end1:"s"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, _ := write(t, func(w *llm.Writer) { c.do(w); w.End(events.GenerationEnded{Terminated: true}) })
			if got != c.want {
				t.Errorf("events are %q, want %q", got, c.want)
			}
		})
	}
}

func TestWriterJudgesCalls(t *testing.T) {
	whole := events.GenerationEnded{Terminated: true}
	length := events.GenerationEnded{Terminated: true, Finish: events.FinishLength}
	filter := events.GenerationEnded{Terminated: true, Finish: events.FinishContentFilter}
	failed := events.GenerationEnded{Terminated: true, Error: &events.Error{Class: events.ErrOverloaded}}
	cut := events.GenerationEnded{}
	word := events.GenerationEnded{FinishWord: "tool_calls"}
	cases := []struct {
		name      string
		arguments string
		custom    bool
		end       events.GenerationEnded
		valid     bool
	}{
		{"an object may run", `{"x":1}`, false, whole, true},
		{"no arguments mean the empty object", ``, false, whole, true},
		{"null means the empty object", `null`, false, whole, true},
		{"blanks mean the empty object", " \n", false, whole, true},
		{"no arguments before a word for the finish mean the empty object", ``, false, word, true},
		{"half an object may not run", `{"x":`, false, whole, false},
		{"two objects may not run", `{}{}`, false, whole, false},
		{"a list may not run", `[]`, false, whole, false},
		{"a text may not run", `"x"`, false, whole, false},
		{"free text of a custom call may run", `SELECT`, true, whole, true},
		{"an object that was whole before the length may run", `{"x":1}`, false, length, true},
		{"an object one byte short of it may not run", `{"x":1`, false, length, false},
		{"no arguments at the length were not started", ``, false, length, false},
		{"no arguments at a filter were not started", ``, false, filter, false},
		{"no arguments at a failure were not started", ``, false, failed, false},
		{"no arguments at a cut were not started", ``, false, cut, false},
		{"an object that was whole before the cut may run", `{"x":1}`, false, cut, true},
		{"free text at a cut may be half", `SELECT`, true, cut, false},
		{"free text at the length may be half", `SELECT`, true, length, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, _ := write(t, func(w *llm.Writer) {
				w.CallStart("a", "", "f", c.custom)
				w.CallDelta("a", c.arguments)
				w.End(c.end)
			})
			if strings.Contains(got, "invalid") == c.valid {
				t.Errorf("events are %q", got)
			}
		})
	}
	t.Run("a call that its provider closed is judged without the end", func(t *testing.T) {
		got, _ := write(t, func(w *llm.Writer) { w.CallStart("a", "", "f", false); w.CallEnd("a"); w.End(cut) })
		if strings.Contains(got, "invalid") {
			t.Errorf("events are %q", got)
		}
	})
}

func TestWriterNamesTheEnd(t *testing.T) {
	cases := []struct {
		name  string
		end   events.GenerationEnded
		call  bool
		want  events.Finish
		class events.ErrorClass
	}{
		{"a stop is a stop", events.GenerationEnded{Terminated: true, Finish: events.FinishStop}, false, events.FinishStop, ""},
		{"a stop with calls is a turn of tools", events.GenerationEnded{Terminated: true, Finish: events.FinishStop}, true, events.FinishToolCalls, ""},
		{"no word with calls is a turn of tools", events.GenerationEnded{Terminated: true}, true, events.FinishToolCalls, ""},
		{"no word is another end", events.GenerationEnded{Terminated: true}, false, events.FinishOther, ""},
		{"the length overrides calls", events.GenerationEnded{Terminated: true, Finish: events.FinishLength}, true, events.FinishLength, ""},
		{"a filter overrides calls", events.GenerationEnded{Terminated: true, Finish: events.FinishContentFilter}, true, events.FinishContentFilter, ""},
		{"an end without a terminal sign is a cut", events.GenerationEnded{Finish: events.FinishStop}, true, events.FinishError, events.ErrCut},
		{"an end with the provider's word for it is complete without a sign", events.GenerationEnded{Finish: events.FinishStop, FinishWord: "stop"}, false, events.FinishStop, ""},
		{"a word does not hide that the connection broke", events.GenerationEnded{FinishWord: "stop", Error: &events.Error{Class: events.ErrNetwork}}, false, events.FinishError, events.ErrNetwork},
		{"an error overrides all", events.GenerationEnded{Terminated: true, Finish: events.FinishStop, Error: &events.Error{Class: events.ErrAuth}}, true, events.FinishError, events.ErrAuth},
		{"a cancelled answer is no failure", events.GenerationEnded{Error: &events.Error{Class: events.ErrCancelled}}, false, events.FinishCancelled, events.ErrCancelled},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, end := write(t, func(w *llm.Writer) {
				if c.call {
					w.CallStart("a", "", "f", false)
				}
				w.End(c.end)
			})
			var class events.ErrorClass
			if end.Error != nil {
				class = end.Error.Class
			}
			if end.Finish != c.want || class != c.class {
				t.Errorf("finish %s with error %v, want %s and class %q", end.Finish, end.Error, c.want, c.class)
			}
		})
	}
}

func TestWriterYieldsNothingAfterItsConsumerStoppedOrItsEnd(t *testing.T) {
	n := 0
	w := llm.NewWriter(func(events.Event, error) bool { n++; return n < 2 })
	more := w.Text("a", "1") && w.CallStart("b", "", "f", false)
	more = more || w.Text("a", "2") || w.Refusal("c", "3") || w.Reasoning("d", "4", false, nil) || w.CallDelta("b", "{}") || w.CallEnd("b")
	w.End(events.GenerationEnded{Terminated: true})
	if more || n != 2 {
		t.Errorf("%d events, more %v", n, more)
	}
	got, _ := write(t, func(w *llm.Writer) {
		w.End(events.GenerationEnded{Terminated: true})
		w.Text("a", "late")
	})
	if got != "" {
		t.Errorf("%q follows the end", got)
	}
}
