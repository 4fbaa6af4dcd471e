package accumulator

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/parleybus/parley/internal/events"
)

// summary writes a conversation's small state for a person.
func summary(c *Conversation) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s turn=%s generation=%s step=%d try=%d", c.Phase, c.Turn, c.Generation, c.Step, c.Try)
	for _, call := range c.Calls {
		fmt.Fprintf(&b, " %s=%s", call.Call, call.Status)
	}
	if c.Open != nil {
		fmt.Fprintf(&b, " open=%q", c.Open.Text())
	}
	for _, in := range c.Inputs {
		fmt.Fprintf(&b, " input=%s", in.ID)
	}
	for _, id := range c.Queue {
		fmt.Fprintf(&b, " queued=%s", id)
	}
	if c.Usage != nil {
		fmt.Fprintf(&b, " tokens=%d", c.Usage.Total())
	}
	return b.String()
}

const asked = `
	in {"type":"UserMessage","id":"u1","text":"go"}
	turn {"type":"Decision","events":[{"type":"TurnStarted","turn":"t1","inputs":["u1"],"at_ms":1},{"type":"InputAnswered","input":"u1","answer":"accepted","turn":"t1"},{"type":"GenerationRequested","turn":"t1","generation":"g1","step":1,"route":"r/m","try":1}],"state":{"phase":"generating"}}
`

func TestConversation(t *testing.T) {
	tests := []struct{ name, log, want string }{
		{"an input waits until it is answered", `
			in {"type":"UserMessage","id":"u1","text":"go"}`, " turn= generation= step=0 try=0 input=u1"},
		{"an input published twice waits once", `
			in {"type":"UserMessage","id":"u1","text":"go"}
			in {"type":"UserMessage","id":"u1","text":"go"}`, " turn= generation= step=0 try=0 input=u1"},
		{"a first Decision leaves a phase that the schema knows", `
			in {"type":"Settings","id":"s1"}
			turn {"type":"Decision","events":[{"type":"InputAnswered","input":"s1","answer":"accepted"}],"state":{"phase":"idle"}}`,
			"idle turn= generation= step=0 try=0"},
		{"a turn asks a model", asked, "generating turn=t1 generation=g1 step=1 try=1"},
		{"the answer accumulates as it streams", asked + `
			gen {"type":"GenerationStarted","attempt":"A","index":0,"generation":"g1","turn":"t1","step":1,"provider":"p","model":"m"}
			gen {"type":"TextChunk","attempt":"A","index":1,"text":"Hel"}
			gen {"type":"TextChunk","attempt":"A","index":2,"text":"lo"}`, `generating turn=t1 generation=g1 step=1 try=1 open="Hello"`},
		{"what a generation nobody waits for writes does not exist", asked + `
			gen {"type":"GenerationStarted","attempt":"Z","index":0,"generation":"g0","turn":"t0","step":1,"provider":"p","model":"m"}
			gen {"type":"TextChunk","attempt":"Z","index":1,"text":"old"}`, "generating turn=t1 generation=g1 step=1 try=1"},
		{"chunks before a start do not exist", asked + `
			gen {"type":"TextChunk","attempt":"A","index":1,"text":"early"}`, "generating turn=t1 generation=g1 step=1 try=1"},
		{"a retry drops the failed answer", asked + `
			gen {"type":"GenerationStarted","attempt":"A","index":0,"generation":"g1","turn":"t1","step":1,"provider":"p","model":"m"}
			gen {"type":"TextChunk","attempt":"A","index":1,"text":"Hel"}
			turn {"type":"Decision","events":[{"type":"GenerationRequested","turn":"t1","generation":"g2","step":1,"route":"r/m","try":2}],"state":{"phase":"generating"}}
			gen {"type":"TextChunk","attempt":"A","index":2,"text":"lo"}`, "generating turn=t1 generation=g2 step=1 try=2"},
		{"results end calls", running + `
			call.c2 {"type":"ToolResult","call":"c2","attempt":"w","status":"failed","content":"x"}`,
			"calling turn=t1 generation= step=1 try=1 c1= c2=failed"},
		{"a result without a status ends its call, too", running + `
			call.c1 {"type":"ToolResult","call":"c1","attempt":"w","content":"x"}`,
			"calling turn=t1 generation= step=1 try=1 c1=unknown c2="},
		{"a result of a call that nobody made changes nothing", running + `
			call.c9 {"type":"ToolResult","call":"c9","attempt":"w","status":"ok","content":"x"}`,
			"calling turn=t1 generation= step=1 try=1 c1= c2="},
		{"the end of a turn drops its work", running + `
			turn {"type":"Decision","events":[{"type":"TurnEnded","turn":"t1","outcome":"cancelled","steps":1}],"state":{"phase":"idle"}}
			call.c1 {"type":"ToolResult","call":"c1","attempt":"w","status":"ok","content":"x"}`,
			"idle turn= generation= step=0 try=0"},
		{"a queued message waits for the next turn, and published again for an answer", asked + `
			in {"type":"UserMessage","id":"u2","text":"and"}
			turn {"type":"Decision","events":[{"type":"InputAnswered","input":"u2","answer":"queued"}],"state":{"phase":"generating"}}
			in {"type":"UserMessage","id":"u2","text":"and"}`, "generating turn=t1 generation=g1 step=1 try=1 input=u2 queued=u2"},
		{"unknown types are skipped, but an input of one wants an answer, by its cursor", asked + `
			gen {"type":"Sparkle"}
			turn {"type":"Sparkle"}
			call.c1 {"type":"Sparkle"}
			in {"type":"Sparkle"}`, "generating turn=t1 generation=g1 step=1 try=1 input=6-0"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, summary(history(t, test.log))); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
		t.Run(test.name+"; given again it changes nothing", func(t *testing.T) {
			c := &Conversation{ID: "c", Transcript: NewTranscript()}
			all := messages(t, test.log)
			for i, m := range all {
				c.Apply(m)
				for _, again := range all[:i+1] {
					c.Apply(again)
				}
			}
			if diff := cmp.Diff(test.want, summary(c)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestInputsWithoutAnIDAreNamedByTheirPosition(t *testing.T) {
	var c Conversation
	c.Apply(Message{Channel: events.ChannelIn, Sequence: 7, Position: "7-2", Bad: errors.New("no JSON"),
		Lines: read(t, `{"type":"UserMessage","id":"","text":"a"}
			{"type":"Sparkle"}`)})
	if got, want := summary(&c), " turn= generation= step=0 try=0 input=7-0 input=7-1 input=7-2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if in := c.Inputs[2]; in.Bad == nil || in.Event != nil {
		t.Errorf("what cannot be read is not an input of its own: %+v", in)
	}
	if c.Quiet() {
		t.Error("a conversation with inputs that wait is called quiet")
	}
}

func TestDecidingOnACloneLeavesTheOriginalAlone(t *testing.T) {
	c := history(t, running+`
		in {"type":"UserMessage","id":"u2","text":"and"}
		in {"type":"Cancel","id":"x1"}
		turn {"type":"Decision","events":[{"type":"InputAnswered","input":"u2","answer":"queued"}],"state":{"phase":"calling"}}`)
	before := summary(c)
	d := c.Clone()
	for _, l := range read(t, `
		{"type":"InputAnswered","input":"x1","answer":"accepted"}
		{"type":"ToolCallRefused","turn":"t1","call":"c1","tool":"f","status":"cancelled","content":""}
		{"type":"TurnEnded","turn":"t1","outcome":"cancelled","steps":1}
		{"type":"TurnStarted","turn":"t2","inputs":["u2"],"at_ms":2}`) {
		d.ApplyDecided(l.Event)
	}
	if after := summary(c); after != before {
		t.Errorf("the original changed from %s to %s", before, after)
	}
}

func TestResumeBeginsWhereADecisionLeftOff(t *testing.T) {
	state := events.State{Phase: events.PhaseIdle, Turns: 3, GenLane: 9, Calls: []events.CallState{{Call: "c1"}}}
	c := Resume("c", state, 12)
	c.Apply(Message{Channel: events.ChannelTurn, Sequence: 12, Lines: read(t, `{"type":"Decision","events":[{"type":"TurnStarted","turn":"t","inputs":[],"at_ms":1}],"state":{"phase":"idle"}}`)})
	if c.Turn != "" || c.TurnLane != 12 || c.GenLane != 9 {
		t.Errorf("the Decision it was resumed from was folded again: %+v", c.State)
	}
	c.Calls[0].Status = events.StatusOK
	if state.Calls[0].Status != "" {
		t.Error("it shares memory with the Decision's state")
	}
}
