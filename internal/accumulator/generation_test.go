package accumulator

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/parleybus/parley/internal/events"
)

// short writes a message so that a person reads it at a glance.
func short(m events.Message) string {
	var all []string
	for _, p := range m.Parts {
		s := string(p.Kind) + ":" + p.Text
		switch {
		case p.Kind == events.PartCall:
			s = "call " + p.Call + " " + p.ProviderID + " " + p.Name + p.Arguments
			if p.Invalid != "" {
				s += " invalid: " + p.Invalid
			}
		case p.Kind == events.PartResult:
			s = "result " + p.Call + " " + string(p.Status) + " " + p.Text
		case p.Kind == events.PartImage, p.Kind == events.PartFile:
			s = string(p.Kind) + " " + p.Name
			if p.Object != nil {
				s += " " + p.Object.Name
			} else {
				s += fmt.Sprintf(" %s %d", p.MIME, len(p.Data))
			}
		case p.Summary:
			s = "summary:" + p.Text
		}
		if p.Carry != nil {
			s += " carry " + string(p.Carry)
		}
		all = append(all, s)
	}
	return strings.Join(all, "\n")
}

var generations = []struct {
	name, events, want string
}{
	{"pieces of a block make one part", `
		{"type":"TextChunk","index":0,"text":"a"}
		{"type":"TextChunk","index":0,"text":"b"}`, "text:ab"},
	{"a refusal is a part of its own, also in the same block", `
		{"type":"TextChunk","index":0,"text":"Well. "}
		{"type":"TextChunk","index":0,"text":"I will not","refusal":true}`, "text:Well. \nrefusal:I will not"},
	{"reasoning and text of one provider chunk are both kept", `
		{"type":"ReasoningChunk","index":0,"text":"hm"}
		{"type":"TextChunk","index":0,"block":1,"text":"yes"}`, "reasoning:hm\ntext:yes"},
	{"a summary of reasoning is distinguished from reasoning", `
		{"type":"ReasoningChunk","index":0,"text":"in short","summary":true}
		{"type":"ReasoningChunk","index":0,"block":1,"text":"at length"}`, "summary:in short\nreasoning:at length"},
	{"adjacent and redacted thinking blocks stay apart, in order, before the call", `
		{"type":"ReasoningChunk","index":0,"text":"one"}
		{"type":"ReasoningChunk","index":0,"carry":{"s":1}}
		{"type":"ReasoningChunk","index":0,"block":1,"text":"two","carry":{"s":2}}
		{"type":"ReasoningChunk","index":0,"block":2,"carry":{"redacted":"x"}}
		{"type":"ToolCallStart","index":0,"block":3,"call":"c1","provider_id":"p1","name":"now"}
		{"type":"ToolCallEnd","index":0,"block":3,"call":"c1"}`,
		"reasoning:one carry {\"s\":1}\nreasoning:two carry {\"s\":2}\nreasoning: carry {\"redacted\":\"x\"}\ncall c1 p1 now"},
	{"the last carry of a block counts", `
		{"type":"ReasoningChunk","index":0,"text":"a","carry":1}
		{"type":"ReasoningChunk","index":0,"carry":2}
		{"type":"ReasoningChunk","index":0,"text":"b"}`, "reasoning:ab carry 2"},
	{"parallel calls with interleaved pieces get the right arguments", `
		{"type":"ToolCallStart","index":0,"block":0,"call":"c1","name":"f"}
		{"type":"ToolCallStart","index":0,"block":1,"call":"c2","name":"f"}
		{"type":"ToolCallDelta","index":0,"block":1,"arguments":"{\"b\":"}
		{"type":"ToolCallDelta","index":0,"block":0,"arguments":"{\"a\":"}
		{"type":"ToolCallDelta","index":0,"block":1,"arguments":"2}"}
		{"type":"ToolCallDelta","index":0,"block":0,"arguments":"1}"}
		{"type":"ToolCallEnd","index":0,"block":1}
		{"type":"ToolCallEnd","index":0,"block":0,"carry":"sig"}`, "call c1  f{\"a\":1} carry \"sig\"\ncall c2  f{\"b\":2}"},
	{"text between and after calls keeps its place", `
		{"type":"TextChunk","index":0,"block":0,"text":"first"}
		{"type":"ToolCallStart","index":0,"block":1,"call":"c1","name":"f"}
		{"type":"ToolCallEnd","index":0,"block":1}
		{"type":"TextChunk","index":0,"block":2,"text":"between"}
		{"type":"ToolCallStart","index":0,"block":3,"call":"c2","name":"g"}
		{"type":"ToolCallEnd","index":0,"block":3}
		{"type":"TextChunk","index":0,"block":4,"text":"after"}`, "text:first\ncall c1  f\ntext:between\ncall c2  g\ntext:after"},
	{"a call that was not ended is invalid", `
		{"type":"ToolCallStart","index":0,"call":"c1","name":"f"}
		{"type":"ToolCallDelta","index":0,"arguments":"{\"a"}`, "call c1  f{\"a invalid: the call was not completed"},
	{"why a call cannot run is kept", `
		{"type":"ToolCallStart","index":0,"call":"c1","name":"f"}
		{"type":"ToolCallEnd","index":0,"invalid":"cut"}`, "call c1  f invalid: cut"},
	{"a piece or an end of a call that never started changes nothing", `
		{"type":"ToolCallDelta","index":0,"block":7,"arguments":"{}"}
		{"type":"ToolCallEnd","index":0,"block":7}
		{"type":"TextChunk","index":0,"text":"x"}`, "text:x"},
	{"a second start of a call changes nothing", `
		{"type":"ToolCallStart","index":0,"call":"c1","name":"f"}
		{"type":"ToolCallDelta","index":0,"arguments":"{}"}
		{"type":"ToolCallEnd","index":0}
		{"type":"ToolCallStart","index":0,"call":"c9","name":"g"}`, "call c1  f{}"},
	{"arguments that come after a call's end change nothing", `
		{"type":"ToolCallStart","index":0,"call":"c1","name":"f"}
		{"type":"ToolCallDelta","index":0,"arguments":"{}"}
		{"type":"ToolCallEnd","index":0}
		{"type":"ToolCallDelta","index":0,"arguments":"!"}
		{"type":"ToolCallEnd","index":0,"invalid":"late"}`, "call c1  f{}"},
	{"a duplicate index of an attempt changes nothing", `
		{"type":"GenerationStarted","attempt":"A","index":0,"generation":"g","turn":"t","step":1,"provider":"p","model":"m"}
		{"type":"TextChunk","attempt":"A","index":1,"text":"a"}
		{"type":"TextChunk","attempt":"A","index":2,"text":"b"}
		{"type":"TextChunk","attempt":"A","index":1,"text":"a"}
		{"type":"TextChunk","attempt":"A","index":2,"text":"b"}`, "text:ab"},
	{"the same start twice does not begin again", `
		{"type":"GenerationStarted","attempt":"A","index":0,"generation":"g","turn":"t","step":1,"provider":"p","model":"m"}
		{"type":"TextChunk","attempt":"A","index":1,"text":"a"}
		{"type":"GenerationStarted","attempt":"A","index":0,"generation":"g","turn":"t","step":1,"provider":"p","model":"m"}
		{"type":"TextChunk","attempt":"A","index":2,"text":"b"}`, "text:ab"},
	{"after a fallback there is no stutter: the latest attempt is the only one", `
		{"type":"GenerationStarted","attempt":"A","index":0,"generation":"g","turn":"t","step":1,"provider":"p","model":"m"}
		{"type":"TextChunk","attempt":"A","index":1,"text":"Hello wor"}
		{"type":"GenerationStarted","attempt":"B","index":0,"generation":"g","turn":"t","step":1,"provider":"p","model":"m"}
		{"type":"TextChunk","attempt":"A","index":2,"text":"ld"}
		{"type":"TextChunk","attempt":"B","index":1,"text":"Hello there"}`, "text:Hello there"},
	{"a superseded attempt cannot start again", `
		{"type":"GenerationStarted","attempt":"A","index":0,"generation":"g","turn":"t","step":1,"provider":"p","model":"m"}
		{"type":"GenerationStarted","attempt":"B","index":0,"generation":"g","turn":"t","step":1,"provider":"p","model":"m"}
		{"type":"TextChunk","attempt":"B","index":1,"text":"b"}
		{"type":"GenerationStarted","attempt":"A","index":0,"generation":"g","turn":"t","step":1,"provider":"p","model":"m"}
		{"type":"TextChunk","attempt":"A","index":1,"text":"a"}`, "text:b"},
	{"nothing follows the end", `
		{"type":"TextChunk","index":0,"text":"a"}
		{"type":"GenerationEnded","index":0,"finish":"stop","terminated":true}
		{"type":"TextChunk","index":0,"text":"b"}
		{"type":"GenerationStarted","attempt":"B","index":0,"generation":"g","turn":"t","step":1,"provider":"p","model":"m"}`, "text:a"},
	{"an unknown type from a newer producer is skipped", `
		{"type":"TextChunk","index":0,"text":"a"}
		{"type":"Sparkle","index":0,"text":"!"}
		{"type":"Cancel","id":"x"}
		{"type":"TextChunk","index":0,"text":"b"}`, "text:ab"},
}

func TestGeneration(t *testing.T) {
	for _, test := range generations {
		t.Run(test.name, func(t *testing.T) {
			var g Generation
			for _, l := range read(t, test.events) {
				g.Apply(l.Event)
			}
			if diff := cmp.Diff(test.want, short(g.Message())); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestGenerationReportsWhetherAnEventChangedIt(t *testing.T) {
	var g Generation
	start := &events.GenerationStarted{Origin: events.Origin{Attempt: "A"}, Provider: "p", Model: "m"}
	chunk := &events.TextChunk{Origin: events.Origin{Attempt: "A", Index: 1}, Text: "x"}
	end := &events.GenerationEnded{Origin: events.Origin{Attempt: "A", Index: 2}}
	for _, e := range []events.Event{start, chunk, end} {
		if !g.Apply(e) {
			t.Errorf("the first %s changed nothing", e.Type())
		}
		if g.Apply(e) {
			t.Errorf("the second %s changed something", e.Type())
		}
	}
	if m := g.Message(); m.Role != events.RoleAssistant || m.Provider != "p" || m.Model != "m" {
		t.Errorf("the message does not say who wrote it: %+v", m)
	}
}

func TestResult(t *testing.T) {
	tests := []struct{ name, events, want string }{
		{"an answer sums up with the provider's ids and words", `
			{"type":"ReasoningChunk","index":0,"text":"think"}
			{"type":"ReasoningChunk","index":0,"block":1,"text":"sum","summary":true}
			{"type":"TextChunk","index":0,"block":2,"text":"hi"}
			{"type":"ToolCallStart","index":0,"block":3,"call":"c1","provider_id":"call_0","name":"f"}
			{"type":"ToolCallDelta","index":0,"block":3,"arguments":"{ }"}
			{"type":"ToolCallEnd","index":0,"block":3}
			{"type":"GenerationEnded","index":0,"finish":"tool_calls","finish_word":"tool_use","terminated":true,"usage":{"input_tokens":3,"output_tokens":0}}`,
			`{"text":"hi","reasoning":"think","reasoning_summary":"sum","refusal":"","tool_calls":[{"id":"call_0","name":"f","arguments":"{ }"}],"finish_reason":"tool_use","usage":{"input_tokens":3,"output_tokens":0},"error":null,"terminated":true}`},
		{"what the provider did not say is null, not zero", `
			{"type":"GenerationEnded","index":0,"finish":"stop","terminated":true}`,
			`{"text":"","reasoning":"","refusal":"","tool_calls":[],"finish_reason":null,"usage":null,"error":null,"terminated":true}`},
		{"a cut is not an error of the provider", `
			{"type":"TextChunk","index":0,"text":"hal"}
			{"type":"GenerationEnded","index":0,"finish":"error","terminated":false,"error":{"class":"cut","message":"cut"}}`,
			`{"text":"hal","reasoning":"","refusal":"","tool_calls":[],"finish_reason":null,"usage":null,"error":null,"terminated":false}`},
		{"an error in the middle keeps the text before it", `
			{"type":"TextChunk","index":0,"text":"hal"}
			{"type":"GenerationEnded","index":0,"finish":"error","terminated":false,"error":{"class":"overloaded","message":"busy"}}`,
			`{"text":"hal","reasoning":"","refusal":"","tool_calls":[],"finish_reason":null,"usage":null,"error":{"class":"overloaded","message":"busy"},"terminated":false}`},
		{"an answer without an end was not terminated", `
			{"type":"TextChunk","index":0,"text":"no","refusal":true}`,
			`{"text":"","reasoning":"","refusal":"no","tool_calls":[],"finish_reason":null,"usage":null,"error":null,"terminated":false}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var g Generation
			for _, l := range read(t, test.events) {
				g.Apply(l.Event)
			}
			got, err := json.Marshal(g.Result())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, string(got)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
