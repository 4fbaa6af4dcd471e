package accumulator

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A turn with two calls, c1 and c2, up to where the calls are asked for.
const twoCalls = `
	in {"type":"UserMessage","id":"u1","text":"go"}
	turn {"type":"Decision","events":[{"type":"TurnStarted","turn":"t1","inputs":["u1"],"at_ms":1},{"type":"InputAnswered","input":"u1","answer":"accepted","turn":"t1"},{"type":"GenerationRequested","turn":"t1","generation":"g1","step":1,"route":"r/m","try":1}],"state":{"phase":"generating"}}
	turn {"type":"Decision","events":[{"type":"AssistantMessage","turn":"t1","generation":"g1","step":1,"finish":"tool_calls","message":{"role":"assistant","parts":[{"kind":"text","text":"I look"},{"kind":"call","call":"c1","provider_id":"call_0","name":"f","arguments":"{}"},{"kind":"call","call":"c2","provider_id":"call_1","name":"g"}]}},{"type":"ToolCallRequested","turn":"t1","step":1,"call":"c1","tool":"f","effect":"pure"},{"type":"ToolCallRequested","turn":"t1","step":1,"call":"c2","tool":"g","effect":"pure"}],"state":{"phase":"calling"}}
`

// running is the same with both calls started by the attempt w.
const running = twoCalls + `
	call.c1 {"type":"ToolStarted","call":"c1","attempt":"w","tool":"f"}
	call.c2 {"type":"ToolStarted","call":"c2","attempt":"w","tool":"g"}
`

const answered = "user text:go\nassistant text:I look\ncall c1 call_0 f{}\ncall c2 call_1 g\n"

func TestMessages(t *testing.T) {
	tests := []struct{ name, log, want string }{
		{"results are in the model's order, whichever came first", running + `
			call.c2 {"type":"ToolResult","call":"c2","attempt":"w","status":"failed","content":"two"}
			call.c1 {"type":"ToolResult","call":"c1","attempt":"w","status":"ok","content":"one"}`,
			answered + "tool result c1 ok one\ntool result c2 failed two"},
		{"the first result of a call counts", running + `
			call.c1 {"type":"ToolResult","call":"c1","attempt":"w","status":"ok","content":"one"}
			call.c1 {"type":"ToolResult","call":"c1","attempt":"w","status":"failed","content":"other"}
			call.c2 {"type":"ToolResult","call":"c2","attempt":"w","status":"ok","content":"two"}`,
			answered + "tool result c1 ok one\ntool result c2 ok two"},
		{"a call without a result gets one that says so", running + `
			call.c2 {"type":"ToolResult","call":"c2","attempt":"w","status":"ok","content":"two"}`,
			answered + "tool result c1 unknown there is no result: the outcome of the call is unknown\ntool result c2 ok two"},
		{"the lane says whose result it is, not the event", running + `
			call.c1 {"type":"ToolResult","call":"c2","attempt":"w","status":"ok","content":"forged"}
			call.c2 {"type":"ToolResult","call":"c2","attempt":"w","status":"ok","content":"two"}`,
			answered + "tool result c1 ok forged\ntool result c2 ok two"},
		{"a result that comes after the turn was cancelled is ignored", running + `
			call.c1 {"type":"ToolResult","call":"c1","attempt":"w","status":"ok","content":"one"}
			turn {"type":"Decision","events":[{"type":"ToolCallRefused","turn":"t1","call":"c2","tool":"g","status":"cancelled","content":"stopped"},{"type":"TurnEnded","turn":"t1","outcome":"cancelled","steps":1}],"state":{"phase":"idle"}}
			call.c2 {"type":"ToolResult","call":"c2","attempt":"w","status":"ok","content":"late"}`,
			answered + "tool result c1 ok one\ntool result c2 cancelled stopped"},
		{"a refusal overrides a result that came while it was being decided", running + `
			call.c1 {"type":"ToolResult","call":"c1","attempt":"w","status":"ok","content":"one"}
			call.c2 {"type":"ToolResult","call":"c2","attempt":"w","status":"ok","content":"unseen"}
			turn {"type":"Decision","events":[{"type":"ToolCallRefused","turn":"t1","call":"c2","tool":"g","status":"cancelled","content":"stopped"},{"type":"TurnEnded","turn":"t1","outcome":"cancelled","steps":1}],"state":{"phase":"idle"}}`,
			answered + "tool result c1 ok one\ntool result c2 cancelled stopped"},
		{"a message queued while calls run comes after their results, as a turn of its own", running + `
			call.c1 {"type":"ToolResult","call":"c1","attempt":"w","status":"ok","content":"one"}
			in {"type":"UserMessage","id":"u2","text":"and?"}
			turn {"type":"Decision","events":[{"type":"InputAnswered","input":"u2","answer":"queued"}],"state":{"phase":"calling"}}
			call.c2 {"type":"ToolResult","call":"c2","attempt":"w","status":"ok","content":"two"}
			turn {"type":"Decision","events":[{"type":"TurnEnded","turn":"t1","outcome":"limit","steps":1},{"type":"TurnStarted","turn":"t2","inputs":["u2"],"at_ms":2}],"state":{"phase":"generating"}}`,
			answered + "tool result c1 ok one\ntool result c2 ok two\nuser text:and?"},
		{"messages that start one turn are one entry", `
			in {"type":"UserMessage","id":"u1","text":"a"}
			in {"type":"UserMessage","id":"u2","text":"b"}
			turn {"type":"Decision","events":[{"type":"TurnStarted","turn":"t1","inputs":["u1","u2"],"at_ms":1}],"state":{"phase":"generating"}}`,
			"user text:a\ntext:b"},
		{"the parts of a message follow its text, in order", `
			in {"type":"UserMessage","id":"u1","text":"a","parts":[{"kind":"image","name":"i.png","mime":"image/png","data":"iVBORw=="},{"kind":"text","text":"b"}]}
			in {"type":"UserMessage","id":"u2","text":"","parts":[{"kind":"file","name":"f","object":{"bucket":"b","name":"n","size":9,"sha256":"x"}}]}
			turn {"type":"Decision","events":[{"type":"TurnStarted","turn":"t1","inputs":["u1","u2"],"at_ms":1}],"state":{"phase":"generating"}}`,
			"user text:a\nimage i.png image/png 4\ntext:b\nfile f n"},
		{"a message that no turn took, and an answer without content, are not there", `
			in {"type":"UserMessage","id":"u1","text":"a"}
			turn {"type":"Decision","events":[{"type":"AssistantMessage","turn":"t1","generation":"g1","step":1,"finish":"stop","message":{"role":"assistant","parts":[]}}],"state":{"phase":"idle"}}`,
			""},
		{"the same provider id in two turns pairs with its own call", running + `
			call.c1 {"type":"ToolResult","call":"c1","attempt":"w","status":"ok","content":"one"}
			call.c2 {"type":"ToolResult","call":"c2","attempt":"w","status":"ok","content":"two"}
			turn {"type":"Decision","events":[{"type":"AssistantMessage","turn":"t1","generation":"g2","step":2,"finish":"tool_calls","message":{"role":"assistant","parts":[{"kind":"call","call":"c3","provider_id":"call_0","name":"f"}]}}],"state":{"phase":"calling"}}
			call.c3 {"type":"ToolStarted","call":"c3","attempt":"w","tool":"f"}
			call.c3 {"type":"ToolResult","call":"c3","attempt":"w","status":"ok","content":"three"}`,
			answered + "tool result c1 ok one\ntool result c2 ok two\nassistant call c3 call_0 f\ntool result c3 ok three"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, m := range history(t, test.log).Transcript.Messages() {
				got = append(got, string(m.Role)+" "+short(m))
			}
			if diff := cmp.Diff(test.want, strings.Join(got, "\n")); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestResultsCarryWhatTheirCallIsKnownBy(t *testing.T) {
	c := history(t, running+`
		call.c1 {"type":"ToolResult","call":"c1","attempt":"w","tool":"liar","status":"ok","content":"preview","object":{"bucket":"b","name":"n","size":9,"sha256":"x"}}`)
	r := c.Transcript.Messages()[2].Parts[0]
	if r.Name != "f" || r.ProviderID != "call_0" || r.Object == nil {
		t.Errorf("the result does not name its call or object: %+v", r)
	}
	if got := c.Transcript.Arguments("c1"); got != "{}" {
		t.Errorf("arguments of c1: %q", got)
	}
	if got := c.Transcript.Arguments("c9"); got != "" {
		t.Errorf("arguments of a call that is not there: %q", got)
	}
}
