package accumulator

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/parleybus/parley/internal/events"
)

// paused is a turn in which c1 runs and c2 waits for approval.
const paused = twoCalls + `
	turn {"type":"Decision","events":[{"type":"ToolCallRequested","turn":"t1","step":1,"call":"c1","tool":"f","effect":"pure"},{"type":"Paused","turn":"t1","at_ms":1000,"remind_ms":1500,"awaiting":[{"for":"approval","call":"c2","tool":"g","effect":"once","digest":"d2","rule":"r","deadline_ms":5000}]}],"state":{"phase":"paused"}}
`

// outside is the same with c2 waiting for a result from outside.
func outside() string { return strings.ReplaceAll(paused, `"approval"`, `"result"`) }

// decision is a row of the log with a Decision of these events.
func decision(list string) string {
	return "\n turn {\"type\":\"Decision\",\"events\":[" + list + "],\"state\":{\"phase\":\"paused\"}}\n"
}

func TestUsageCountsWhenItIsDecidedOn(t *testing.T) {
	tests := []struct{ name, log, want string }{
		{"usage is counted once, at the end", asked + `
			gen {"type":"GenerationStarted","attempt":"A","index":0,"generation":"g1","turn":"t1","step":1,"provider":"p","model":"m"}
			gen {"type":"GenerationEnded","attempt":"A","index":1,"finish":"stop","terminated":true,"usage":{"input_tokens":3,"output_tokens":4}}
			gen {"type":"GenerationEnded","attempt":"A","index":1,"finish":"stop","terminated":true,"usage":{"input_tokens":3,"output_tokens":4}}
			turn {"type":"Decision","events":[{"type":"AssistantMessage","turn":"t1","generation":"g1","step":1,"message":{"role":"assistant","parts":[],"provider":"p","model":"m"},"finish":"stop","usage":{"input_tokens":3,"output_tokens":4}}],"state":{"phase":"calling"}}`,
			"calling turn=t1 generation= step=1 try=1 tokens=7"},
		{"an answer that nobody decided on is not counted", asked + `
			gen {"type":"GenerationStarted","attempt":"A","index":0,"generation":"g1","turn":"t1","step":1,"provider":"p","model":"m"}
			gen {"type":"GenerationEnded","attempt":"A","index":1,"finish":"stop","terminated":true,"usage":{"input_tokens":3,"output_tokens":4}}
			turn {"type":"Decision","events":[{"type":"GenerationRequested","turn":"t1","generation":"g2","step":1,"route":"r/m","try":1}],"state":{"phase":"generating"}}`,
			"generating turn=t1 generation=g2 step=1 try=1"},
		{"the usage of a try that failed counts", asked + `
			gen {"type":"GenerationStarted","attempt":"A","index":0,"generation":"g1","turn":"t1","step":1,"provider":"p","model":"m"}
			gen {"type":"GenerationEnded","attempt":"A","index":1,"finish":"error","terminated":false,"usage":{"input_tokens":3,"output_tokens":4}}
			turn {"type":"Decision","events":[{"type":"GenerationRequested","turn":"t1","generation":"g2","step":1,"route":"r/m","try":2}],"state":{"phase":"generating"}}`,
			"generating turn=t1 generation=g2 step=1 try=2 tokens=7"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, summary(history(t, test.log))); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// inTurn is what the state of every case below begins with, but for its phase.
const inTurn = `,"turns":1,"turn":"t1","started_ms":1,"step":1,"try":1,"route":"r/m"`

func TestWaiting(t *testing.T) {
	tests := []struct{ name, log, want string }{
		{"a call that waits says for what, while another runs", paused,
			`{"phase":"paused"` + inTurn + `,"calls":[{"call":"c1","tool":"f"},{"call":"c2","tool":"g","waits":"approval","effect":"once","digest":"d2","rule":"r","deadline_ms":5000}],"paused_ms":1000,"remind_ms":1500}`},
		{"a call that was let run waits for nothing", paused + decision(`{"type":"ToolCallRequested","turn":"t1","step":1,"call":"c2","tool":"g","effect":"once","by":"v"},{"type":"Resumed","turn":"t1","at_ms":3000}`),
			`{"phase":"calling"` + inTurn + `,"calls":[{"call":"c1","tool":"f"},{"call":"c2","tool":"g"}],"waited_ms":2000}`},
		{"a result from outside ends a call that waits for one", outside() + `
			call.c2 {"type":"ToolResult","call":"c2","status":"ok","content":"x"}`,
			`{"phase":"paused"` + inTurn + `,"calls":[{"call":"c1","tool":"f"},{"call":"c2","tool":"g","status":"ok"}],"paused_ms":1000,"remind_ms":1500}`},
		{"a result on the lane of a call that waits for approval does not count", paused + `
			call.c2 {"type":"ToolResult","call":"c2","status":"ok","content":"x"}`,
			`{"phase":"paused"` + inTurn + `,"calls":[{"call":"c1","tool":"f"},{"call":"c2","tool":"g","waits":"approval","effect":"once","digest":"d2","rule":"r","deadline_ms":5000}],"paused_ms":1000,"remind_ms":1500}`},
		{"a reminder does not make a call that has ended wait again", outside() + `
			call.c2 {"type":"ToolResult","call":"c2","status":"ok","content":"x"}` + decision(`{"type":"Paused","turn":"t1","at_ms":1500,"reminder":1,"awaiting":[{"for":"approval","call":"c2","tool":"g","digest":"d2"}]}`),
			`{"phase":"paused"` + inTurn + `,"calls":[{"call":"c1","tool":"f"},{"call":"c2","tool":"g","status":"ok"}],"paused_ms":1000,"reminders":1}`},
		{"a decision overrides a result that its owner did not know", outside() + `
			call.c2 {"type":"ToolResult","call":"c2","status":"ok","content":"x"}` + decision(`{"type":"ToolCallRefused","turn":"t1","call":"c2","tool":"g","status":"refused","content":"no"}`),
			`{"phase":"paused"` + inTurn + `,"calls":[{"call":"c1","tool":"f"},{"call":"c2","tool":"g","status":"refused"}],"paused_ms":1000,"remind_ms":1500}`},
		{"a message may take the turn's place, and standing approvals come and go", paused + decision(`{"type":"InputAnswered","input":"u2","answer":"queued","supersedes":"t1"},{"type":"InputAnswered","input":"v1","answer":"accepted","granted":[{"id":"v1","tool":"g"},{"id":"v1-1","tool":"h"}]},{"type":"InputAnswered","input":"v2","answer":"accepted","revoked":["v1"]},{"type":"TurnEnded","turn":"t1","outcome":"cancelled","steps":1}`),
			`{"phase":"idle","turns":1,"route":"r/m","queue":["u2"],"grants":[{"id":"v1-1","tool":"h"}]}`},
		{"hooks are waited for until each has answered", asked + decision(`{"type":"HooksRequested","turn":"t1","when":"before","hooks":[{"name":"a","when":"before"},{"name":"b","when":"before"}]},{"type":"HookAnswered","turn":"t1","when":"before","hook":"a","context":"x"}`),
			`{"phase":"preparing"` + inTurn + `,"generation":"g1","hooks":[{"turn":"t1","name":"b","when":"before"}]}`},
		{"a question holds the calls that were to run next", twoCalls + decision(question),
			`{"phase":"paused"` + inTurn + `,"calls":[{"call":"c1","tool":"f","waits":"limit"},{"call":"c2","tool":"g","waits":"limit"}],"paused_ms":1000,"question":{"id":"q","limit":"max_calls","digest":"d","deadline_ms":9}}`},
		{"what a person extends is extended", twoCalls + decision(question+`,{"type":"Resumed","turn":"t1","at_ms":1200,"extended":"max_calls"}`),
			`{"phase":"calling"` + inTurn + `,"calls":[{"call":"c1","tool":"f"},{"call":"c2","tool":"g"}],"waited_ms":200,"extended":{"max_calls":1}}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := json.Marshal(history(t, test.log).State)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, string(got)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// question is what a person is asked at a limit.
const question = `{"type":"Paused","turn":"t1","at_ms":1000,"awaiting":[{"for":"limit","call":"q","digest":"d","reason":"max_calls","deadline_ms":9}]}`

func TestPausedIsQuietUnlessSomethingRuns(t *testing.T) {
	c := history(t, paused)
	if c.Quiet() {
		t.Error("a call runs, and the conversation is called quiet")
	}
	c.Apply(Message{Channel: events.ChannelCall, Call: "c1", Sequence: 99, Lines: read(t, `{"type":"ToolStarted","call":"c1","attempt":"w","tool":"f"}
		{"type":"ToolResult","call":"c1","attempt":"w","status":"ok","content":"x"}`)})
	if !c.Quiet() || c.NextMS() != 1500 {
		t.Errorf("quiet %t, next %d", c.Quiet(), c.NextMS())
	}
}

func TestEditedArgumentsAreWhatTheModelReads(t *testing.T) {
	c := history(t, paused+`
		in {"type":"Verdict","id":"v","verdict":"edit","from":"ann"}`+decision(`{"type":"ToolCallRequested","turn":"t1","step":1,"call":"c2","tool":"g","effect":"once","arguments":{"x":2},"by":"v"}`))
	got, ok := c.Transcript.Call("c2")
	if !ok || got.Arguments != `{"x":2}` || got.Edited == "" || got.By != "ann" {
		t.Errorf("%+v", got)
	}
	for _, p := range c.Transcript.Messages()[1].Parts {
		if p.Call == "c2" && p.Arguments != `{"x":2}` {
			t.Errorf("the model reads %s", p.Arguments)
		}
	}
	if p, _ := c.Transcript.Part("c2"); p.Arguments == `{"x":2}` {
		t.Error("what the model wrote is lost")
	}
}

func TestAMessageJoinsATurnOnce(t *testing.T) {
	said := `
		in {"type":"UserMessage","id":"u2","text":"and"}` + decision(`{"type":"InputAnswered","input":"u2","answer":"accepted","turn":"t1"}`)
	m := history(t, asked+said+said).Transcript.Messages()
	if len(m) != 1 || len(m[0].Parts) != 2 || m[0].Parts[1].Text != "and" {
		t.Errorf("%+v", m)
	}
}

func TestResultsThatADecisionDidNotKnowAreFoundAgain(t *testing.T) {
	c := history(t, outside())
	r := Resume("c", c.State, 9)
	c.Apply(Message{Channel: events.ChannelCall, Call: "c2", Sequence: 10, Lines: read(t, `{"type":"ToolResult","call":"c2","status":"failed","content":"x"}`)})
	r.TakeResults(c)
	if diff := cmp.Diff(c.State, r.State); diff != "" {
		t.Errorf("(-was +is)\n%s", diff)
	}
}
