package parley_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/parleybus/parley"
)

// exchange is a turn of the conversation: what is said, what is in the transcript of
// it, and how the turn ends.
type exchange struct {
	said    string
	image   bool
	answers string // of the model, without its reasoning, and the results between them
	failed  bool
	stop    string // the event at which the turn is cancelled
}

// exchanges are said to two models in turns.
func exchanges() []exchange {
	const found = "call lookup; result lookup ok; text answer"
	return []exchange{
		{said: "use the tool", answers: found},
		{said: "use many tools", answers: "call lookup, call breaks, call multi_tool_use.parallel; result lookup ok; result breaks failed; result multi_tool_use.parallel unknown_tool; text answer"},
		{said: "look at this", image: true, answers: "text answer"},
		{said: "take a picture", answers: "call shot; result shot ok +1; text answer"},
		{said: "fail", failed: true},
		{said: "be slow", stop: "TextChunk", answers: "text half"},
		// Where the call is complete, it may have run before the turn is cancelled.
		{said: "be slow with a call", stop: "ToolCallDelta", answers: "call lookup; result lookup cancelled" + orOK},
		{said: "use the tool", answers: found},
		{said: "say nothing", failed: true, answers: "text blank"},
		{said: "doom", failed: true, answers: "call doom; result doom ok"},
		{said: "wait", stop: "ToolOutput", answers: "call wait; result wait cancelled"},
		{said: "use many tools", answers: "call lookup, call breaks, call multi_tool_use.parallel; result lookup ok; result breaks failed; result multi_tool_use.parallel unknown_tool; text answer"},
		{said: "hello", answers: "text answer"},
		{said: "fail", failed: true},
		{said: "use the tool", answers: found},
		{said: "bye", answers: "text answer"},
	}
}

// orOK ends an expected result that may also be ok.
const orOK = " or ok"

// sameLines reports whether a transcript is as expected.
func sameLines(got, want []string) bool {
	return slices.EqualFunc(got, want, func(got, want string) bool {
		either, is := strings.CutSuffix(want, orOK)
		return got == either || is && got == strings.TrimSuffix(either, "cancelled")+"ok"
	})
}

func (x exchange) outcome() parley.Outcome {
	switch {
	case x.failed:
		return parley.OutcomeFailed
	case x.stop != "":
		return parley.OutcomeCancelled
	}
	return parley.OutcomeCompleted
}

// transcript returns what the transcript has of the turn, a line for each message.
func (x exchange) transcript(text, model string, w *wire) []string {
	first := "user: text " + text
	if x.image {
		first += ", image chart.png"
	}
	all := []string{first}
	for answer := range strings.SplitSeq(x.answers, "; ") {
		switch {
		case answer == "":
		case strings.HasPrefix(answer, "result "):
			all = append(all, "tool: "+answer)
		case w.silent:
			all = append(all, model+": "+answer)
		case w.plain || strings.Contains(answer, "half") || x.stop == "ToolCallDelta":
			all = append(all, model+": reasoning, "+answer)
		default:
			all = append(all, model+": reasoning, "+answer+", carried")
		}
	}
	return all
}

// lines returns messages of the transcript in the form of an exchange's.
func lines(messages []parley.Message) []string {
	var all []string
	for _, m := range messages {
		var parts []string
		carried := false
		for _, p := range m.Parts {
			carried = carried || len(p.Carry) > 0
			if line := line(p, m.Model); line != "" {
				parts = append(parts, line)
			}
		}
		who := string(m.Role)
		if m.Role == parley.RoleAssistant {
			who = m.Provider + "/" + m.Model
		}
		text := who + ": " + strings.Join(parts, ", ")
		// What belongs to an answer may come at its end, so that one that was cut may
		// lack it.
		if carried && !strings.Contains(text, "half") && !isCut(m) {
			text += ", carried"
		}
		all = append(all, text)
	}
	return all
}

// isCut reports whether a message has a call whose arguments were cut.
func isCut(m parley.Message) bool {
	for _, p := range m.Parts {
		if p.Kind == parley.PartCall && strings.HasPrefix(p.Arguments, `{"q":"half`) {
			return true
		}
	}
	return false
}

func line(p parley.Part, model string) string {
	switch p.Kind {
	case parley.PartText:
		switch {
		case p.Text == "answer of "+model:
			return "text answer"
		case p.Text == "half an answer":
			return "text half"
		case p.Text == "\n\n":
			return "text blank"
		}
		return "text " + p.Text
	case parley.PartReasoning:
		switch p.Text {
		case "":
			return "" // it holds only what belongs to the answer
		case thoughtOf(model):
			return "reasoning"
		}
		return "reasoning " + p.Text
	case parley.PartResult:
		if len(p.Attachments) > 0 {
			return fmt.Sprintf("result %s %s +%d", p.Name, p.Status, len(p.Attachments))
		}
		return fmt.Sprintf("result %s %s", p.Name, p.Status)
	}
	return string(p.Kind) + " " + p.Name
}
