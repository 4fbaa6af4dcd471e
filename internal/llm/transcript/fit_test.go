package transcript

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

func text(s string) events.Part { return events.Part{Kind: events.PartText, Text: s} }

func thought(s string) events.Part {
	return events.Part{Kind: events.PartReasoning, Text: s, Carry: json.RawMessage(`{"signature":"` + s + `"}`)}
}

func call(id string) events.Part {
	return events.Part{Kind: events.PartCall, Call: id, ProviderID: "toolu_" + id, Name: "f", Arguments: "{}", Carry: json.RawMessage(`{"c":1}`)}
}

func user(s string) events.Message {
	return events.Message{Role: events.RoleUser, Parts: []events.Part{text(s)}}
}

func by(full string, parts ...events.Part) events.Message {
	provider, model, _ := strings.Cut(full, "/")
	return events.Message{Role: events.RoleAssistant, Provider: provider, Model: model, Parts: parts}
}

func without(o events.Omission, m events.Message) events.Message { m.Omitted = o; return m }

func result(id string) events.Message {
	return events.Message{Role: events.RoleTool, Parts: []events.Part{{Kind: events.PartResult, Call: id, ProviderID: "toolu_" + id, Text: "4"}}}
}

// short writes messages as "user(text) p:assistant(thought* call*) tool(id)": the
// provider is written if it may get its own data back, a star is a carry.
func short(messages []events.Message) string {
	var out []string
	for _, m := range messages {
		var parts []string
		for _, p := range m.Parts {
			s := p.Text
			switch p.Kind {
			case events.PartReasoning:
				s = "thought " + s
			case events.PartCall:
				s = "call " + p.Call
			case events.PartResult:
				s = p.Call
			}
			if len(p.Carry) > 0 {
				s += "*"
			}
			parts = append(parts, s)
		}
		who := string(m.Role)
		if m.Role == events.RoleAssistant && m.Provider != "" {
			who = m.Provider + ":" + who
		}
		out = append(out, fmt.Sprintf("%s(%s)", who, strings.Join(parts, ", ")))
	}
	return strings.Join(out, " ")
}

func TestFit(t *testing.T) {
	strict := Rules{Join: true, Bridge: true}
	turns := []events.Message{user("1"), by("p/m", thought("a"), call("x")), result("x"), by("p/m", thought("b"), text("B")),
		user("2"), by("p/m", thought("c"), call("y")), result("y")}
	for _, c := range []struct {
		name     string
		messages []events.Message
		rules    Rules
		omit     events.Omission
		tell     bool
		want     string
	}{
		{name: "the model's own history goes back whole", messages: turns,
			want: "user(1) p:assistant(thought a*, call x*) tool(x) p:assistant(thought b*, B) user(2) p:assistant(thought c*, call y*) tool(y)"},
		{name: "carries of another model of the provider stay out", messages: []events.Message{user("1"), by("p/other", thought("a"), text("A"), call("x")), result("x")},
			want: "user(1) assistant(A, call x) tool(x)"},
		{name: "carries of another provider with a model of the same name stay out", messages: []events.Message{user("1"), by("q/m", thought("a"), call("x")), result("x")},
			want: "user(1) assistant(call x) tool(x)"},
		{name: "reasoning of others becomes text on request", tell: true, messages: []events.Message{user("1"), by("q/m", thought("a"), text("A"))},
			want: "user(1) assistant([reasoning of q/m]\na\n[end of the reasoning]\n\n, A)"},
		{name: "own reasoning does not", tell: true, messages: []events.Message{user("1"), by("p/m", thought("a"), text("A"))},
			want: "user(1) p:assistant(thought a*, A)"},
		{name: "an answer of white space leaves nothing behind", rules: strict, messages: []events.Message{user("1"), by("p/m", text("\n\n")), user("2")},
			want: "user(1, 2)"},
		{name: "an answer of reasoning alone of another leaves nothing behind", rules: strict, messages: []events.Message{user("1"), by("q/m", thought("a")), user("2")},
			want: "user(1, 2)"},
		{name: "an answer of own reasoning alone does, too", rules: strict, messages: []events.Message{user("1"), by("p/m", thought("a"), text(" ")), user("2")},
			want: "user(1, 2)"},
		{name: "failed turns are joined", rules: strict, messages: []events.Message{user("1"), user("2"), user("3")}, want: "user(1, 2, 3)"},
		{name: "a host without such demands gets them as they are", messages: []events.Message{user("1"), user("2")}, want: "user(1) user(2)"},
		{name: "a turn that ended after a call gets an answer", rules: strict, messages: []events.Message{user("1"), by("p/m", call("x")), result("x"), user("2")},
			want: "user(1) p:assistant(call x*) tool(x) assistant(" + unanswered + ") user(2)"},
		{name: "neighbouring answers are joined", rules: strict, messages: []events.Message{user("1"), by("q/m", text("a")), by("q/m", text("b")), user("2")},
			want: "user(1) assistant(a, \n\n, b) user(2)"},
		{name: "but not across calls", rules: strict, messages: []events.Message{user("1"), by("p/m", call("x")), by("p/m", text("b"))},
			want: "user(1) p:assistant(call x*) p:assistant(b)"},
		{name: "an empty last message says that it is empty", messages: []events.Message{user("1"), by("p/m", text("a")), user(" ")}, want: "user(1) p:assistant(a) user((empty message))"},
		{name: "without carries", omit: events.OmitCarries, messages: turns,
			want: "user(1) assistant(call x) tool(x) assistant(B) user(2) assistant(call y) tool(y)"},
		{name: "without earlier calls the current turn keeps its own", omit: events.OmitCalls, messages: turns,
			want: "user(1) assistant(B) user(2) assistant(call y) tool(y)"},
		{name: "without earlier turns", omit: events.OmitTurns, messages: turns, want: "user(2) assistant(call y) tool(y)"},
		{name: "messages that wait together are the current turn", omit: events.OmitTurns, messages: append(turns, by("p/m", text("C")), user("3"), user("4")),
			want: "user(3) user(4)"},
		{name: "what the model did not see stays out: its answer is bound to it", messages: []events.Message{user("1"), by("p/m", thought("a"), text("A")),
			user("2"), without(events.OmitCarries, by("p/m", thought("b"), call("x"))), result("x"), by("p/m", thought("c"), text("C")), user("3")},
			want: "user(1) assistant(A) user(2) p:assistant(thought b*, call x*) tool(x) p:assistant(thought c*, C) user(3)"},
		{name: "in the middle of a turn, too", messages: []events.Message{user("1"), by("p/m", thought("a"), call("x")), result("x"),
			without(events.OmitCarries, by("p/m", thought("b"), text("B"))), user("2")},
			want: "user(1) assistant(call x) tool(x) p:assistant(thought b*, B) user(2)"},
		{name: "turns that a model did not see", messages: []events.Message{user("1"), by("p/m", text("A")), user("2"),
			without(events.OmitTurns, by("p/m", text("B"))), user("3"), by("p/m", text("C")), user("4")},
			want: "user(2) p:assistant(B) user(3) p:assistant(C) user(4)"},
		{name: "what another model did not see goes to this one", messages: []events.Message{user("1"), by("p/m", thought("a"), text("A")), user("2"),
			without(events.OmitTurns, by("q/m", text("B"))), user("3")},
			want: "user(1) p:assistant(thought a*, A) user(2) assistant(B) user(3)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			req := llm.Request{Model: "m", Messages: c.messages, Omit: c.omit, TellReasoning: c.tell}
			before := short(c.messages)
			if got := short(Fit("p", req, c.rules)); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if short(c.messages) != before {
				t.Errorf("the transcript was changed: %s", short(c.messages))
			}
			req.Messages = Fit("p", req, Rules{})
			if got := short(Fit("p", req, c.rules)); got != c.want {
				t.Errorf("what was fitted once is fitted again as\n%s\nwant %s", got, c.want)
			}
		})
	}
}

func TestHalfSurrogatePairsStayHere(t *testing.T) {
	m := by("p/m", text("A"))
	m.Parts[0].Carry = json.RawMessage(`{"a":"\ud83d"}`)
	got := Fit("p", llm.Request{Model: "m", Messages: []events.Message{m}}, Rules{})
	if string(got[0].Parts[0].Carry) != `{"a":"\ufffd"}` {
		t.Errorf("the carry is %s", got[0].Parts[0].Carry)
	}
	c, custom := call("x"), call("y")
	c.Arguments, custom.Arguments, custom.Custom = `{"a":"\ud83d"}`, `/[\ud83d]/`, true
	got = Fit("p", llm.Request{Model: "m", Messages: []events.Message{by("q/m", c, custom)}}, Rules{})
	if a := got[0].Parts[0].Arguments; a != `{"a":"\ufffd"}` {
		t.Errorf("the arguments are %s", a)
	}
	if a := got[0].Parts[1].Arguments; a != custom.Arguments {
		t.Errorf("the free text is %s", a)
	}
}

func TestReduce(t *testing.T) {
	refusal := func(status int, class events.ErrorClass, message string) *events.Error {
		return &events.Error{Class: class, HTTPStatus: status, Message: message}
	}
	whole := []events.Message{user("1"), by("p/m", thought("a"), call("x")), result("x"), by("p/m", text("B")), user("2")}
	signature := refusal(400, events.ErrInvalidRequest, "messages.1.content.0: Invalid `signature` in `thinking` block")
	for _, c := range []struct {
		name     string
		messages []events.Message
		refusal  *events.Error
		want     string // the steps
	}{
		{"more and more is left out", whole, signature, "carries calls turns"},
		{"a field is tried first, and four requests are the most", whole,
			refusal(400, events.ErrInvalidRequest, "The `reasoning_content` in the thinking mode must be passed back to the API."), "+reasoning_content carries turns"},
		{"leniency", whole, refusal(400, events.ErrInvalidRequest, `Remove the block, or set thinking.block_binding.prefix_mismatch_behavior to "drop_block"`), "+block_binding carries turns"},
		{"a step that changes nothing is left out", []events.Message{user("1"), by("q/m", text("A")), user("2")}, signature, "turns"},
		{"a first message has no history", []events.Message{user("1")}, signature, ""},
		{"a template's error under 500", whole, refusal(500, events.ErrOverloaded, "Jinja Exception: Conversation roles must alternate"), "carries calls turns"},
		{"an overloaded host", whole, refusal(503, events.ErrOverloaded, "overloaded"), ""},
		{"a tool's schema", whole, refusal(400, events.ErrInvalidRequest, "Invalid schema for function 'f': array schema missing items."), ""},
		{"a parameter", whole, refusal(400, events.ErrInvalidRequest, "Unsupported parameter: 'max_tokens' is not supported with this model."), ""},
		{"a model that does not exist", whole, refusal(404, events.ErrInvalidRequest, "not found"), ""},
		{"a key", whole, refusal(400, events.ErrAuth, "API key not valid"), ""},
		{"a full window", whole, refusal(400, events.ErrContextLength, "prompt is too long"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, again := llm.Request{Model: "m", Messages: c.messages}, true
			var steps []string
			for tried := 0; ; tried++ {
				was := req
				if req, again = Reduce("p", req, c.refusal, llm.MostRequests-1-tried); !again {
					break
				}
				if req.Omit != was.Omit {
					steps = append(steps, string(req.Omit))
				}
				if req.Demand != was.Demand {
					steps = append(steps, "+"+req.Demand)
				}
			}
			if got := strings.Join(steps, " "); got != c.want {
				t.Errorf("the steps are %q, want %q", got, c.want)
			}
		})
	}
}
