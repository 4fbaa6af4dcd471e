package terminal

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
)

// shown returns what a renderer writes for events, to an output that is not a
// terminal.
func shown(t *testing.T, o Options, all ...events.Event) string {
	t.Helper()
	var out bytes.Buffer
	r := New(&out, Profile{Unicode: true}, o)
	for _, e := range all {
		if err := r.Show(Entry{Line: events.Line{Event: e}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestARendererWrites(t *testing.T) {
	started := &events.GenerationStarted{Generation: "g", Turn: "t", Step: 1, Provider: "p", Model: "m"}
	failed := &events.GenerationEnded{Error: &events.Error{Class: "cut", Message: "no end"}}
	call := []events.Event{&events.ToolCallStart{Call: "c1", Name: "f"}, &events.ToolCallDelta{Arguments: "{}"}, &events.ToolCallEnd{}}
	for _, c := range []struct {
		name string
		o    Options
		all  []events.Event
		want string
	}{
		{"blocks of reasoning are paragraphs", Options{Reasoning: true}, []events.Event{started, &events.ReasoningChunk{Text: "a"}, &events.ReasoningChunk{Block: 1, Text: "b"}}, "[reasoning]\na\n\nb\n"},
		{"reasoning of a message that did not stream", Options{Reasoning: true}, []events.Event{
			&events.AssistantMessage{Turn: "t", Step: 1, Message: events.Message{Role: events.RoleAssistant, Parts: []events.Part{
				{Kind: events.PartReasoning, Text: "a"}, {Kind: events.PartText, Text: "b"},
			}}},
		}, "[reasoning]\na\n[answer]\nb\n"},
		{"an error straight from a provider", Options{}, []events.Event{started, failed}, "✗ cut: no end\n"},
		{"a filter", Options{}, []events.Event{started, &events.GenerationEnded{Finish: events.FinishContentFilter}}, "— the provider's content filter stopped the answer —\n"},
		{"a limit of tokens", Options{}, []events.Event{started, &events.GenerationEnded{Finish: events.FinishLength}}, "— the answer was cut at its token limit —\n"},
		{"a call that is requested twice has one card", Options{}, append(append([]events.Event{started}, call...), call...), "▸ f\n"},
		{"a cancel names its call as the card does", Options{ShowUser: true}, append(append([]events.Event{started}, call...),
			&events.Cancel{Scope: events.ScopeCall, Call: "c1"}), "▸ f\n\n> cancel f\n"},
		{"what waits is no answer", Options{TextOnly: true}, []events.Event{&events.Paused{Awaiting: []events.Awaited{{For: events.WaitApproval, Call: "c1", Tool: "f"}}}}, ""},
		{"an input that is not taken", Options{}, []events.Event{&events.InputAnswered{Answer: events.AnswerInvalid}}, "— the input is invalid —\n"},
		{"the reason says it better", Options{}, []events.Event{&events.InputAnswered{Answer: events.AnswerInvalid, Reason: "no text: write one"}}, "— no text: write one —\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := shown(t, c.o, c.all...); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestEveryAnswerHasAText(t *testing.T) {
	for _, a := range []events.Answer{
		events.AnswerQueued, events.AnswerSuperseded, events.AnswerAlreadyEnded, events.AnswerUnknownCall, events.AnswerInvalid,
		events.AnswerRefused, events.AnswerAlreadyDecided, events.AnswerArgumentsChanged, events.AnswerExpired, events.AnswerDenied,
		events.AnswerNotAllowed, events.AnswerDeleted, "of a later version",
	} {
		if text := unexpected(a); text == "" || strings.Contains(text, "_") {
			t.Errorf("%s: %q", a, text)
		}
	}
	if text := unexpected(events.AnswerAccepted); text != "" {
		t.Errorf("an accepted input has a text: %q", text)
	}
}

func TestATranscriptWithUnknownRolesAndParts(t *testing.T) {
	entries := []TranscriptEntry{{Message: events.Message{Role: "narr`ator`", Parts: []events.Part{
		{Kind: "image\x1b[2J", Text: "a\nb"}, {Kind: events.PartCall, Call: "c1", Name: "`quoted`", Arguments: "{}"},
	}}, Usage: &events.Usage{}}}
	for _, c := range []struct {
		format Format
		want   string
	}{
		{FormatText, "? image^[[2J a b\n▸ `quoted`\n"},
		{FormatMarkdown, "## narr`ator`\n\na\nb\n\n**Call** `` `quoted` ``\n\n```json\n{}\n```\n"},
	} {
		var out bytes.Buffer
		if err := Transcript(&out, Profile{Unicode: true}, c.format, "", entries); err != nil || out.String() != c.want {
			t.Errorf("%s: got %q, %v; want %q", c.format, out.String(), err, c.want)
		}
		gone := errors.New("broken pipe")
		if err := Transcript(&writes{err: gone}, Profile{}, c.format, "c", entries); !errors.Is(err, gone) {
			t.Errorf("%s: a failing writer: %v", c.format, err)
		}
	}
	if got := InlineCode(""); got != "`?`" {
		t.Errorf("an empty name is shown as %s", got)
	}
}

func TestTheValuesOfAFieldAreDescribed(t *testing.T) {
	const schema = `{"required":["day"],"properties":{
		"day":{"type":"string","format":"date"},
		"at":{"type":"string","format":"date-time"},
		"n":{"type":"integer","maximum":5},
		"size":{"enum":["a","b","c","d","e","f","g","h","i","j"]}}}`
	a := events.Awaited{For: events.WaitAnswer, Arguments: json.RawMessage(`{"message":"?","schema":` + schema + `}`)}
	k := elicitationOf(&a)
	lines, _ := k.lines(Profile{Unicode: true}, "", 10)
	all := strings.Join(lines, "\n")
	for _, want := range []string{"date as 2026-01-31", "date and time as 2026-01-31T15:04:05Z", "at most 5", " more"} {
		if !strings.Contains(all, want) {
			t.Errorf("the description lacks %q:\n%s", want, all)
		}
	}
	for answer, want := range map[string]string{
		`{}`:                         "day: is required",
		`{"day":7}`:                  "day: it takes a text",
		`{"day":"2026-13-01"}`:       "day: it takes a date as 2026-01-31",
		`{"day":"2026-12-01"}`:       "",
		`{"day":"2026-12-01","n":6}`: "n: it takes at most 5",
	} {
		if got := k.check(Profile{}, json.RawMessage(answer)); got != want {
			t.Errorf("%s: got %q, want %q", answer, got, want)
		}
	}
}
