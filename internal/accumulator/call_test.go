package accumulator

import (
	"errors"
	"testing"

	"github.com/parleybus/parley/internal/events"
)

func TestAResultCountsOnlyFromTheAttemptThatRuns(t *testing.T) {
	const none, second = "calling turn=t1 generation= step=1 try=1 c1= c2=", "calling turn=t1 generation= step=1 try=1 c1=ok c2="
	const taken = running + `
		call.c1 {"type":"ToolStarted","call":"c1","attempt":"w2","tool":"f"}`
	for _, c := range []struct{ name, log, want string }{
		{"from it", running + `
			call.c1 {"type":"ToolResult","call":"c1","attempt":"w","status":"ok","content":"x"}`, second},
		{"from another", running + `
			call.c1 {"type":"ToolResult","call":"c1","attempt":"v","status":"ok","content":"x"}`, none},
		{"from nobody that says who it is", running + `
			call.c1 {"type":"ToolResult","call":"c1","status":"ok","content":"x"}`, none},
		{"from one that never started", twoCalls + `
			call.c1 {"type":"ToolResult","call":"c1","attempt":"w","status":"ok","content":"x"}`, none},
		{"from one that says its start in the same frame", twoCalls + `
			call.c1 {"type":"ToolStarted","call":"c1","attempt":"w","tool":"f"}
			call.c1 {"type":"ToolResult","call":"c1","attempt":"w","status":"ok","content":"x"}`, second},
		{"from one that was replaced", taken + `
			call.c1 {"type":"ToolResult","call":"c1","attempt":"w","status":"ok","content":"x"}`, none},
		{"from the one that took over", taken + `
			call.c1 {"type":"ToolResult","call":"c1","attempt":"w2","status":"ok","content":"x"}`, second},
		{"a question of another attempt is none", taken + `
			call.c1 {"type":"QuestionAsked","call":"c1","attempt":"w","question":"q","message":"?"}
			call.c1 {"type":"ToolResult","call":"c1","attempt":"w2","status":"ok","content":"x"}`, second},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := summary(history(t, c.log)); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestWhichAttemptRunsIsFoundAgain(t *testing.T) {
	c := history(t, running)
	r := Resume("c", c.State, 9)
	r.TakeResults(c)
	r.Apply(Message{Channel: events.ChannelCall, Call: "c1", Sequence: 10, Lines: read(t, `{"type":"ToolResult","call":"c1","attempt":"v","status":"ok","content":"x"}`)})
	r.Apply(Message{Channel: events.ChannelCall, Call: "c2", Sequence: 11, Lines: read(t, `{"type":"ToolResult","call":"c2","attempt":"w","status":"ok","content":"x"}`)})
	if got, want := summary(r), "calling turn=t1 generation= step=1 try=1 c1= c2=ok"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestAStatusThatIsNotKnownIsUnknown(t *testing.T) {
	c := history(t, running+`
		call.c1 {"type":"ToolResult","call":"c1","attempt":"w","status":"splendid","content":"x","attachments":[{"name":"a","object":null},{"name":"b","object":{"bucket":"b","name":"n","size":1,"sha256":"s"}}]}`)
	p := c.Transcript.Messages()[2].Parts[0]
	if c.Calls[0].Status != events.StatusUnknown || p.Status != events.StatusUnknown || len(p.Attachments) != 1 || p.Attachments[0].Name != "b" {
		t.Errorf("state %s, transcript %+v", c.Calls[0].Status, p)
	}
}

func TestWhatCannotBeReadOnTheLaneOfARunningCallIsNoted(t *testing.T) {
	bad := errors.New("no JSON")
	for _, c := range []struct {
		name, log string
		want      bool
	}{
		{"of a call that runs", running, true},
		{"of a call whose worker did not begin", twoCalls, true},
		{"of a call that has its result", running + `
			call.c1 {"type":"ToolResult","call":"c1","attempt":"w","status":"ok","content":"x"}`, false},
		{"of a call whose result is to come from outside", running + decision(`{"type":"Paused","turn":"t1","at_ms":1,"awaiting":[{"for":"result","call":"c1"}]}`), false},
		{"of a call that waits for a person", running + decision(`{"type":"Paused","turn":"t1","at_ms":1,"awaiting":[{"for":"approval","call":"c1"}]}`), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			conversation := history(t, c.log)
			conversation.Apply(Message{Channel: events.ChannelCall, Call: "c1", Sequence: 99, Bad: bad})
			if got := conversation.Unreadable["c1"] != nil; got != c.want {
				t.Errorf("noted %t, want %t", got, c.want)
			}
		})
	}
}
