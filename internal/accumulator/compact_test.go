package accumulator

import (
	"fmt"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
)

// compactable is a log of three turns with a call each; the results have an image.
func compactable() string {
	var log strings.Builder
	for n := 1; n <= 3; n++ {
		fmt.Fprintf(&log, `in {"type":"UserMessage","id":"u%[1]d","text":"look","parts":[{"kind":"image","name":"a.png","data":"iVBORw0KGgo="}]}
			turn {"type":"Decision","events":[{"type":"TurnStarted","turn":"t%[1]d","inputs":["u%[1]d"],"at_ms":1},{"type":"InputAnswered","input":"u%[1]d","answer":"accepted","turn":"t%[1]d"},{"type":"GenerationRequested","turn":"t%[1]d","generation":"g%[1]d","step":1,"route":"r/m","try":1}],"state":{"phase":"generating"}}
			turn {"type":"Decision","events":[{"type":"AssistantMessage","turn":"t%[1]d","generation":"g%[1]d","step":1,"finish":"tool_calls","message":{"role":"assistant","parts":[{"kind":"call","call":"c%[1]d","name":"f"}]}},{"type":"ToolCallRequested","turn":"t%[1]d","step":1,"call":"c%[1]d","tool":"f","effect":"pure"}],"state":{"phase":"calling"}}
			call.c%[1]d {"type":"ToolStarted","call":"c%[1]d","attempt":"w","tool":"f"}
			call.c%[1]d {"type":"ToolResult","call":"c%[1]d","attempt":"w","status":"ok","content":"seen","attachments":[{"name":"s.png","mime":"image/png","object":{"name":"x/%[1]d","size":900000}}]}
			turn {"type":"Decision","events":[{"type":"TurnEnded","turn":"t%[1]d","outcome":"completed","steps":1}],"state":{"phase":"idle"}}
		`, n)
	}
	return log.String()
}

// TestAnImageWeighsAsMuchAsATextOfAThousandTokens: however many bytes it has, of a
// message as of a result; a result's image is left out with its text.
func TestAnImageWeighsAsMuchAsATextOfAThousandTokens(t *testing.T) {
	c := history(t, compactable()).Transcript
	if tokens := c.Estimate(); tokens < 6*1_000 || tokens > 6*1_000+100 {
		t.Errorf("six images are %d tokens", tokens)
	}
	left := c.Compact("", c.Sent()-2*mediaWeight)
	if left == nil || left.Turns != "" || left.Results == nil || *left.Results != (events.Place{Turn: "t3"}) {
		t.Fatalf("%+v", left)
	}
	c.decided(left, 100)
	for i, m := range c.Prompt() {
		if m.Role != events.RoleTool {
			continue
		}
		brief := len(m.Parts[0].Attachments) == 0 && strings.HasPrefix(m.Parts[0].Text, "[the result had 4 bytes and 1 images or files")
		if last := i > 6; brief == last {
			t.Errorf("message %d: %+v", i, m.Parts[0])
		}
	}
	if n := len(c.Messages()); n != 9 {
		t.Errorf("the transcript has %d messages", n)
	}
	if tokens := c.Estimate(); tokens > 4*1_000+100 {
		t.Errorf("afterwards they are %d tokens", tokens)
	}
}
