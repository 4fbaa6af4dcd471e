package accumulator

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/parleybus/parley/internal/events"
)

func TestAnInputIsKnownByItsOwnIDThenItsMessagesThenItsCursor(t *testing.T) {
	long := strings.Repeat("x", longestID)
	for _, c := range []struct{ name, id, frame, want string }{
		{"its own", "m", `{"type":"Cancel","id":"own"}`, "own"},
		{"its message's", "m", `{"type":"Cancel","id":""}`, "m"},
		{"its cursor", "", `{"type":"Cancel"}`, "7-0"},
		{"each line one of its own", "m", "{\"type\":\"Cancel\"}\n{\"type\":\"UserMessage\",\"text\":\"a\"}\n{\"type\":\"Cancel\",\"id\":\"own\"}", "m m-1 own"},
		{"each line its own cursor", "", "{\"type\":\"Cancel\"}\n{\"type\":\"UserMessage\",\"text\":\"a\"}", "7-0 7-1"},
		{"a type that is not known", "m", `{"type":"Sparkle","id":"own"}`, "own"},
		{"a type that is not known, without an id", "m", `{"type":"Sparkle"}`, "m"},
		{"another field that cannot be read", "m", `{"type":"UserMessage","id":"own","text":7}`, "own"},
		{"an id that cannot be read", "m", `{"type":"UserMessage","id":7,"text":"a"}`, "m"},
		{"no JSON at all", "m", `hello`, "m"},
		{"no JSON at all, in a message without an id", "", `hello`, "7-0"},
		{"no JSON in the second line", "m", "{\"type\":\"Cancel\"}\nhello", "m m-1"},
		{"an id as long as one may be", "", `{"type":"Cancel","id":"` + long + `"}`, long},
		{"an id that is too long", "m", `{"type":"Cancel","id":"x` + long + `"}`, "m"},
		{"ids that are too long", "x" + long, `{"type":"Cancel","id":"x` + long + `"}`, "7-0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := Message{Channel: events.ChannelIn, Sequence: 7, ID: c.id}
			m.Lines, m.Bad = events.DecodeFrame([]byte(c.frame))
			var conversation Conversation
			conversation.Apply(m)
			var got []string
			for _, in := range conversation.Inputs {
				got = append(got, in.ID)
			}
			if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// answer is a row of the log that answers an input.
func answer(id, rest string) string {
	return "\n turn {\"type\":\"Decision\",\"events\":[{\"type\":\"InputAnswered\",\"input\":\"" + id + "\"," + rest + "}],\"state\":{\"phase\":\"idle\"}}\n"
}

func TestAnInputIsAnsweredOnceForGood(t *testing.T) {
	c := history(t, `in {"type":"Settings","id":"s1","route":"old/one"}`+answer("s1", `"answer":"accepted"`)+
		`in {"type":"Settings","id":"s2","route":"new/one"}`+answer("s2", `"answer":"accepted"`)+
		`in {"type":"Settings","id":"s1","route":"old/two"}`)
	if got, want := summary(c), "idle turn= generation= step=0 try=0 input=s1"; got != want {
		t.Errorf("published again: %s, want %s", got, want)
	}
	c.Apply(Message{Channel: events.ChannelTurn, Sequence: 9, Lines: read(t, `{"type":"Decision","events":[{"type":"InputAnswered","input":"s1","answer":"accepted","reason":"again"}],"state":{"phase":"idle"}}`)})
	if got := c.Transcript.Settings.Route; got != "new/one" {
		t.Errorf("Settings published again replace newer ones: the route is %s", got)
	}
	if a := c.Transcript.Answered("s1"); a == nil || a.Reason != "" {
		t.Errorf("the first answer is %+v", a)
	}
	if len(c.Inputs) != 0 {
		t.Errorf("it waits still: %+v", c.Inputs)
	}
}

func TestAnAnswerAlsoAnswersTheInputsBeforeIt(t *testing.T) {
	log := messages(t, `in {"type":"Cancel","id":"x"}
		in {"type":"Cancel","id":"x"}`+answer("x", `"answer":"already_ended"`))
	inOrder, owner := Conversation{Transcript: NewTranscript()}, Conversation{Transcript: NewTranscript()}
	for _, i := range []int{0, 1, 2} {
		inOrder.Apply(log[i])
	}
	for _, i := range []int{0, 2, 1} { // an owner applies its own Decision at once
		owner.Apply(log[i])
	}
	if a, b := summary(&inOrder), summary(&owner); a != b || strings.Contains(a, "input=") {
		t.Errorf("in order %s, the owner %s", a, b)
	}
}

func TestAMessageThatWasTakenOffTheQueueStaysOff(t *testing.T) {
	c := history(t, asked+`
		in {"type":"UserMessage","id":"u2","text":"and"}`+answer("u2", `"answer":"queued"`)+`
		in {"type":"Cancel","id":"x","scope":"queue"}`+answer("x", `"answer":"accepted","dropped":["u2"]`)+`
		in {"type":"UserMessage","id":"u2","text":"and"}`)
	if a := c.Transcript.Answered("u2"); a == nil || a.Answer != events.AnswerAlreadyEnded {
		t.Errorf("%+v", a)
	}
	if len(c.Queue) != 0 || len(c.Inputs) != 1 {
		t.Errorf("queue %v, inputs %v", c.Queue, c.Inputs)
	}
}

func TestAQueuedMessageKeepsItsFirstText(t *testing.T) {
	c := history(t, asked+`
		in {"type":"UserMessage","id":"u2","text":"first"}`+answer("u2", `"answer":"queued"`)+`
		in {"type":"UserMessage","id":"u2","text":"second"}`+answer("u2", `"answer":"queued"`)+`
		turn {"type":"Decision","events":[{"type":"TurnEnded","turn":"t1","outcome":"cancelled","steps":1},{"type":"TurnStarted","turn":"t2","inputs":["u2"],"at_ms":2}],"state":{"phase":"generating"}}`)
	raw, _ := json.Marshal(c.Transcript.Messages())
	if !strings.Contains(string(raw), "first") || strings.Contains(string(raw), "second") {
		t.Errorf("%s", raw)
	}
}

func TestResultsBehindAnInputThatWasNeverAnsweredAreFoldedAtTheEnd(t *testing.T) {
	c := history(t, running+`
		in {"type":"Cancel","id":"x"}
		call.c1 {"type":"ToolResult","call":"c1","attempt":"w","status":"ok","content":"one"}
		in {"type":"Cancel","id":"y"}
		call.c2 {"type":"ToolResult","call":"c2","attempt":"w","status":"failed","content":"two"}`)
	if got, want := summary(c), "calling turn=t1 generation= step=1 try=1 c1= c2= input=x"; got != want {
		t.Errorf("before: %s, want %s", got, want)
	}
	c.Drain()
	if got, want := summary(c), "calling turn=t1 generation= step=1 try=1 c1=ok c2=failed input=x input=y"; got != want {
		t.Errorf("after: %s, want %s", got, want)
	}
}
