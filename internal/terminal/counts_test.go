package terminal

import (
	"slices"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/events"
)

// logged is a message of a log.
type logged struct {
	channel events.Channel
	call    string
	event   string
}

// A turn whose call c1 runs, and the two results that may follow a cancel.
const (
	askedTurn  = `{"type":"Decision","events":[{"type":"TurnStarted","turn":"t1","inputs":["u1"],"at_ms":1},{"type":"InputAnswered","input":"u1","answer":"accepted","turn":"t1"},{"type":"GenerationRequested","turn":"t1","generation":"g1","step":1,"route":"p/m","try":1}],"state":{"phase":"generating"}}`
	askedCall  = `{"type":"Decision","events":[{"type":"AssistantMessage","turn":"t1","generation":"g1","step":1,"finish":"tool_calls","message":{"role":"assistant","parts":[{"kind":"call","call":"c1","name":"f","arguments":"{}"}]}},{"type":"ToolCallRequested","turn":"t1","step":1,"call":"c1","tool":"f","effect":"pure"}],"state":{"phase":"calling"}}`
	cancelled  = `{"type":"Decision","events":[{"type":"InputAnswered","input":"x","answer":"accepted","turn":"t1"},{"type":"ToolCallRefused","turn":"t1","call":"c1","tool":"f","status":"cancelled","content":"stopped by a person"}],"state":{"phase":"calling"}}`
	started    = `{"type":"ToolStarted","call":"c1","attempt":"w","tool":"f"}`
	resultOfIt = `{"type":"ToolResult","call":"c1","attempt":"w","tool":"f","status":"ok","content":"done by the tool"}`
	foreign    = `{"type":"ToolResult","call":"c1","attempt":"v","tool":"f","status":"ok","content":"done by a stranger"}`
)

// TestEveryReaderAgreesWhichResultCounts compares the fold of the whole log, the
// fold of the facts alone (for "parley show"), and a renderer that follows.
func TestEveryReaderAgreesWhichResultCounts(t *testing.T) {
	in := func(e string) logged { return logged{events.ChannelIn, "", e} }
	turn := func(e string) logged { return logged{events.ChannelTurn, "", e} }
	call := func(e string) logged { return logged{events.ChannelCall, "c1", e} }
	begin := []logged{in(`{"type":"UserMessage","id":"u1","text":"go"}`), turn(askedTurn),
		{events.ChannelGen, "", `{"type":"GenerationStarted","attempt":"A","index":0,"generation":"g1","turn":"t1","step":1,"provider":"p","model":"m"}`},
		turn(askedCall), call(started)}
	cancel := in(`{"type":"Cancel","id":"x","scope":"call","call":"c1"}`)
	for _, c := range []struct {
		name  string
		after []logged
		want  string
	}{
		{"the result alone", []logged{call(resultOfIt)}, "done by the tool"},
		{"a result of another attempt, and the result", []logged{call(foreign), call(resultOfIt)}, "done by the tool"},
		{"the cancel, the decision, the result", []logged{cancel, turn(cancelled), call(resultOfIt)}, "stopped by a person"},
		{"the cancel, the result, the decision", []logged{cancel, call(resultOfIt), turn(cancelled)}, "stopped by a person"},
		{"the result, the cancel, a decision that did not know the result", []logged{call(resultOfIt), cancel, turn(cancelled)}, "stopped by a person"},
		{"a result behind a cancel without an answer", []logged{cancel, call(resultOfIt)}, "done by the tool"},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := slices.Concat(begin, c.after)
			facts := slices.DeleteFunc(slices.Clone(log), func(m logged) bool { return m.channel == events.ChannelGen })
			for name, log := range map[string][]logged{"the log": log, "the facts": facts} {
				if got := resultOf(t, log); got != c.want {
					t.Errorf("the fold of %s has the result %q, want %q", name, got, c.want)
				}
				if got := lastShown(t, log); !strings.Contains(got, c.want) {
					t.Errorf("a view of %s shows last %q, want %q", name, got, c.want)
				}
			}
		})
	}
}

func decoded(t *testing.T, m logged) events.Line {
	t.Helper()
	line, err := events.DecodeLine([]byte(m.event))
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// resultOf returns the result of c1 in the fold of a log.
func resultOf(t *testing.T, log []logged) string {
	t.Helper()
	c := accumulator.Conversation{Transcript: accumulator.NewTranscript()}
	for i, m := range log {
		c.Apply(accumulator.Message{Channel: m.channel, Call: m.call, Sequence: uint64(i + 1), Lines: []events.Line{decoded(t, m)}})
	}
	c.Drain()
	got, _ := c.Transcript.Call("c1")
	return got.Content
}

// lastShown returns the last line that a renderer writes about the result of c1.
func lastShown(t *testing.T, log []logged) string {
	t.Helper()
	var b strings.Builder
	r := New(&b, Profile{Width: 120}, Options{})
	for _, m := range log {
		if err := r.Show(Entry{Channel: m.channel, Line: decoded(t, m)}); err != nil {
			t.Fatal(err)
		}
	}
	last := ""
	for line := range strings.Lines(b.String()) {
		if strings.Contains(line, "done by") || strings.Contains(line, "stopped by") {
			last = line
		}
	}
	return last
}
