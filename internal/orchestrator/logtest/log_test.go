package logtest_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/orchestrator/logtest"
)

var update = flag.Bool("update", false, "rewrite the golden files; what they say must not change")

// TestDecisionsAreTheSame: from what its owner knew, each Decision is decided again
// with the same bytes.
func TestDecisionsAreTheSame(t *testing.T) {
	each(t, func(t *testing.T, l *logtest.Log) {
		decisions := 0
		for i, m := range l.Messages {
			made, err := l.Decision(i)
			if err != nil {
				t.Fatal(err)
			}
			if made == nil {
				continue
			}
			decisions++
			got, err := l.Again(i, m.Known)
			if err != nil {
				t.Fatal(err)
			}
			want, err := m.Frame()
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(want, []byte(`"try":4,`)) && bytes.Contains(got, []byte(`"reason":"cut"`)) {
				continue // a cut answer has three requests instead of four
			}
			if got = withoutBudget(asRecorded(t, got)); !bytes.Equal(got, withoutBudget(want)) {
				t.Errorf("the Decision at %d is another\ngot  %s\nwant %s", m.Sequence, got, want)
			}
		}
		if decisions == 0 {
			t.Error("the log has no Decisions")
		}
	})
}

// TestFoldAndEncodingAreTheSame compares with the golden files: the state after
// each Decision as a digest, the state at the end, and the lines whose encoding is
// not the bytes that came, because a stranger wrote them.
func TestFoldAndEncodingAreTheSame(t *testing.T) {
	each(t, func(t *testing.T, l *logtest.Log) {
		var out strings.Builder
		c := &accumulator.Conversation{ID: l.Conversation, Transcript: accumulator.NewTranscript()}
		for i := range l.Messages {
			m, err := l.Messages[i].Folded()
			if err != nil {
				t.Fatal(err)
			}
			encodings(&out, m)
			c.Apply(m)
			if m.Channel == events.ChannelTurn {
				fmt.Fprintf(&out, "%d known %d state %x\n", m.Sequence, l.Messages[i].Known, sha256.Sum256(asRecorded(t, view(t, c))))
			}
		}
		out.WriteString(logtest.Elide(string(asRecorded(t, view(t, c)))))
		file := "testdata/" + l.Name + ".golden"
		if *update {
			if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := out.String(); got != string(want) {
			t.Errorf("the fold of the log is another\ngot\n%s\nwant\n%s", got, want)
		}
	})
}

func each(t *testing.T, test func(*testing.T, *logtest.Log)) {
	files, err := logtest.Files("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		l, err := logtest.Read(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(l.Name, func(t *testing.T) { t.Parallel(); test(t, l) })
	}
}

// asRecorded replaces texts that were made plain since the logs were written by what
// they were then: testdata/texts.json lists them, as pairs of what they were and are.
func asRecorded(t *testing.T, got []byte) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/texts.json")
	if err != nil {
		t.Fatal(err)
	}
	var texts [][2]string
	if err := json.Unmarshal(data, &texts); err != nil {
		t.Fatal(err)
	}
	for _, text := range texts {
		for i, s := range text {
			quoted, err := events.Append(nil, &events.TextChunk{Text: s})
			if err != nil {
				t.Fatal(err)
			}
			_, rest, _ := strings.Cut(string(quoted), `"text":"`)
			text[i] = strings.TrimSuffix(rest, `"}`)
		}
		got = bytes.ReplaceAll(got, []byte(text[1]), []byte(text[0]))
	}
	return got
}

// withoutBudget returns a Decision without what is new since the logs were written
// (arguments_text), and without what ADR 66 has changed: the length of waits, and the estimated usage of answers that did not reach
// their end. A turn whose model refused was completed then.
func withoutBudget(frame []byte) []byte {
	for _, r := range [][2]string{
		{`"not_before_ms":\d+`, `"not_before_ms":0`},
		{`("not_before_ms":0),"usage":\{[^{}]*\}`, `$1`},
		{`,"usage":\{[^{}]*"estimated":true\}`, ``},
		{`"outcome":"failed","reason":"content_filter","error":\{[^{}]*\}`, `"outcome":"completed","reason":"stop"`},
		{`,"arguments_text":"(?:[^"\\]|\\.)*"`, ``},
		{`,"spent":\{"[^"]*":\{[^{}]*"estimated":true\}\}`, ``},
	} {
		frame = regexp.MustCompile(r[0]).ReplaceAll(frame, []byte(r[1]))
	}
	return frame
}

// encodings writes the events that are not encoded as they came.
func encodings(out *strings.Builder, m accumulator.Message) {
	if m.Bad != nil {
		fmt.Fprintf(out, "%s cannot be read: %v\n", m.Position, m.Bad)
	}
	for i, line := range m.Lines {
		lines := []events.Line{line}
		if d, ok := line.Event.(*events.Decision); ok {
			lines = append(lines, d.Events...)
		}
		for _, l := range lines {
			got, err := events.Append(nil, l.Event)
			if err != nil || !bytes.Equal(asCounted(got), l.Raw) {
				fmt.Fprintf(out, "%d-%d %s is encoded as %s %v\n", m.Sequence, i, l.Raw, got, err)
			}
		}
	}
}

// asCounted returns an event with the name that GenerationEnded had for its count of
// events when the logs were written.
func asCounted(encoded []byte) []byte {
	if !bytes.HasPrefix(encoded, []byte(`{"type":"GenerationEnded"`)) {
		return encoded
	}
	return bytes.Replace(encoded, []byte(`,"event_count":`), []byte(`,"events":`), 1)
}

// view is all of a conversation that a decision, a request to a model or a viewer
// depends on. Its names are those of the golden files.
func view(t *testing.T, c *accumulator.Conversation) []byte {
	t.Helper()
	v := struct {
		State     events.State         `json:"state"`
		TurnLane  uint64               `json:"turn_lane"`
		In        uint64               `json:"in"`
		Inputs    []string             `json:"inputs"`
		Open      *events.Message      `json:"open"`
		Begun     map[string]bool      `json:"begun"`
		Requested string               `json:"requested"`
		Asked     int                  `json:"asked"`
		Settings  events.Settings      `json:"settings"`
		Document  accumulator.Document `json:"document"`
		CallLines []string             `json:"calls"`
		Messages  []events.Message     `json:"messages"`
	}{State: c.State, TurnLane: c.TurnLane, In: c.In, Begun: c.Started, Asked: len(c.RequestedCalls), Settings: c.Transcript.Settings, Document: c.Transcript.Document, Messages: c.Transcript.Messages()}
	for _, in := range c.Inputs {
		v.Inputs = append(v.Inputs, in.ID)
	}
	if c.Open != nil {
		m := c.Open.Message()
		v.Open = &m
	}
	if c.Requested != nil {
		v.Requested = c.Requested.Generation
	}
	for _, k := range c.Transcript.Calls("") {
		v.CallLines = append(v.CallLines, fmt.Sprintf("%s %s %s %s edited %q begun %t answered %t by %q: %s", k.Call, k.Tool, k.Arguments, k.Status, k.Edited, k.Started, k.Answered, k.By, k.Content))
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}
