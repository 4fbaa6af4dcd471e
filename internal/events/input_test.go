package events

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestArgumentsTravelCompactAndOtherwiseAsTheyCame(t *testing.T) {
	const (
		given = "{\n  \"path\": \"a b<&>\\u00e9\\u2028\", \"n\": 1.50e3, \"n\": 12345678901234567890,\n\t\"deep\": [ { } , null ] }"
		want  = `{"path":"a b<&>\u00e9\u2028","n":1.50e3,"n":12345678901234567890,"deep":[{},null]}`
	)
	for _, tc := range []struct {
		name  string
		event func(json.RawMessage) Event
		back  func(Event) json.RawMessage
	}{
		{"in Paused",
			func(r json.RawMessage) Event { return &Paused{Awaiting: []Awaited{{}, {Arguments: r}}} },
			func(e Event) json.RawMessage { return e.(*Paused).Awaiting[1].Arguments }},
		{"in ToolCallRequested",
			func(r json.RawMessage) Event { return &ToolCallRequested{Arguments: r} },
			func(e Event) json.RawMessage { return e.(*ToolCallRequested).Arguments }},
		{"in a Verdict",
			func(r json.RawMessage) Event { return &Verdict{Calls: []CallVerdict{{Arguments: r}}} },
			func(e Event) json.RawMessage { return e.(*Verdict).Calls[0].Arguments }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			raw, err := Append(nil, tc.event(json.RawMessage(given)))
			if err != nil {
				t.Fatal(err)
			}
			l, err := DecodeLine(raw)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(tc.back(l.Event)); got != want {
				t.Errorf("arguments\n%s\nwant\n%s", got, want)
			}
			if string(l.Raw) != string(raw) {
				t.Errorf("the line is kept as\n%s\nwant\n%s", l.Raw, raw)
			}
			if _, err := Append(nil, tc.event(json.RawMessage(`{"a":`))); err == nil {
				t.Error("half an object of arguments was encoded")
			}
		})
	}
}

func TestAVerdictOfTheWrongShapeSaysWhatIsWrong(t *testing.T) {
	for _, tc := range []struct{ name, raw, want string }{
		{"calls that are ids, as they were before digests", `{"type":"Verdict","id":"1","calls":["c"],"verdict":"approve"}`,
			`event Verdict: field "calls": an object is expected, not a string`},
		{"calls that are one object", `{"type":"Verdict","id":"1","calls":{"call":"c"},"verdict":"approve"}`,
			`event Verdict: field "calls": a list is expected, not an object`},
		{"a digest that is a number", `{"type":"Verdict","id":"1","calls":[{"call":"c","digest":7}],"verdict":"approve"}`,
			`event Verdict: field "calls.digest": a string is expected, not a number`},
		{"awaited things that are ids, as they were before", `{"type":"Paused","turn":"t","awaiting":["c"]}`,
			`event Paused: field "awaiting": an object is expected, not a string`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := DecodeLine([]byte(tc.raw))
			if err == nil || !strings.HasPrefix(err.Error(), tc.want) {
				t.Errorf("error %v, want %s", err, tc.want)
			}
		})
	}
}

func TestWhatACancelStops(t *testing.T) {
	for _, tc := range []struct {
		name   string
		cancel Cancel
		what   Scope
		turn   bool // stops turn t
		call   bool // stops call c of it
		other  bool // stops call c of another turn
	}{
		{"nothing said is the turn that runs", Cancel{}, ScopeTurn, true, true, true},
		{"a turn named is that turn", Cancel{Turn: "t"}, ScopeTurn, true, true, false},
		{"another turn named is not this one", Cancel{Turn: "u"}, ScopeTurn, false, false, true},
		{"a call named is that call", Cancel{Call: "c"}, ScopeCall, false, true, true},
		{"a call of a turn", Cancel{Call: "c", Turn: "t"}, ScopeCall, false, true, false},
		{"another call", Cancel{Call: "d"}, ScopeCall, false, false, false},
		{"scope call without a call stops nothing", Cancel{Scope: ScopeCall}, ScopeCall, false, false, false},
		{"scope turn wins over a call", Cancel{Scope: ScopeTurn, Call: "d"}, ScopeTurn, true, true, true},
		{"the queue leaves the turn alone", Cancel{Scope: ScopeQueue}, ScopeQueue, false, false, false},
		{"all is the turn too", Cancel{Scope: ScopeAll}, ScopeAll, true, true, true},
		{"a scope of a later version stops nothing", Cancel{Scope: "later"}, "later", false, false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.cancel.What(); got != tc.what {
				t.Errorf("it stops %s, want %s", got, tc.what)
			}
			for _, sub := range []struct {
				turn, call string
				want       bool
			}{{"t", "", tc.turn}, {"t", "c", tc.call}, {"u", "c", tc.other}} {
				if got := tc.cancel.Stops(sub.turn, sub.call); got != sub.want {
					t.Errorf("stops turn %s, call %q: %v, want %v", sub.turn, sub.call, got, sub.want)
				}
			}
		})
	}
}
