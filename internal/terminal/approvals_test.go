package terminal

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/events"
)

func TestApprovals(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	golden(t, "approvals", func(t *testing.T, a *archive) ([]string, map[string]string) {
		var rows []ApprovalRow
		for line := range strings.Lines(a.sections["rows"]) {
			conversation, rest, _ := strings.Cut(line, " ")
			age, raw, _ := strings.Cut(rest, " ")
			row := ApprovalRow{Conversation: conversation}
			if seconds, err := strconv.Atoi(age); err != nil {
				t.Fatal(err)
			} else if seconds >= 0 {
				row.Since = now.Add(-time.Duration(seconds) * time.Second)
			}
			if err := json.Unmarshal([]byte(raw), &row.Awaited); err != nil {
				t.Fatal(err)
			}
			rows = append(rows, row)
		}
		shown := map[string]string{}
		for name, p := range map[string]Profile{
			"wide": {Width: 160, Color: true, Unicode: true}, "terminal": {Width: 80, Color: true, Unicode: true}, "narrow": {Width: 20}, "pipe": {},
		} {
			var out bytes.Buffer
			if err := Approvals(&out, p, now, rows); err != nil {
				t.Fatal(err)
			}
			shown[name] = out.String()
			harmless(t, name, shown[name])
		}
		return []string{"wide", "terminal", "narrow", "pipe"}, shown
	})
}

func TestAListOfApprovalsThatCannotBeWritten(t *testing.T) {
	gone := errors.New("broken pipe")
	for _, width := range []int{0, 80, 200} {
		err := Approvals(&writes{err: gone}, Profile{Width: width}, time.Time{}, []ApprovalRow{{Conversation: "c", Awaited: events.Awaited{For: events.WaitApproval}}})
		if !errors.Is(err, gone) {
			t.Errorf("width %d: got %v", width, err)
		}
	}
}

func TestOneAwaitedThingIsOneHarmlessLine(t *testing.T) {
	for _, c := range []struct {
		name string
		a    events.Awaited
		want string
	}{
		{"a call has its arguments, every space of them", events.Awaited{For: events.WaitApproval, Tool: "shell", Arguments: json.RawMessage(`{"cmd": "rm  -rf"}`)}, `shell {"cmd":"rm  -rf"}`},
		{"what does not show is escaped", events.Awaited{For: events.WaitApproval, Tool: "a\x1b[2J\nb", Arguments: json.RawMessage("{\"a\":\"\u202e\"}")}, `a^[[2J b {"a":"\u202e"}`},
		{"no arguments", events.Awaited{For: events.WaitTime, Tool: "later"}, "later"},
		{"a limit", events.Awaited{For: events.WaitLimit, Reason: "steps"}, "may it continue past steps?"},
		{"nothing that is known", events.Awaited{For: "x"}, "?"},
		{"a question", events.Awaited{For: events.WaitAnswer, Tool: "book", Arguments: json.RawMessage(`{"message":"Which\nday?"}`)}, `book "Which day?"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := (Profile{Unicode: true}).Awaited(&c.a); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
