package accumulator

import (
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
)

// read decodes a frame written as NDJSON; a blank line or "# remark" is nothing.
func read(t testing.TB, ndjson string) []events.Line {
	t.Helper()
	var lines []events.Line
	for row := range strings.Lines(ndjson) {
		row = strings.TrimSpace(row)
		if row == "" || strings.HasPrefix(row, "#") {
			continue
		}
		l, err := events.DecodeLine([]byte(row))
		if err != nil {
			t.Fatalf("%s: %v", row, err)
		}
		lines = append(lines, l)
	}
	return lines
}

// history folds a log in which each row is "channel event", the channel of a
// call being "call.<id>"; a row's sequence is its number.
func history(t testing.TB, log string) *Conversation {
	t.Helper()
	c := &Conversation{ID: "c", Transcript: NewTranscript()}
	for _, m := range messages(t, log) {
		c.Apply(m)
	}
	return c
}

func messages(t testing.TB, log string) []Message {
	t.Helper()
	var all []Message
	for row := range strings.Lines(log) {
		channel, event, ok := strings.Cut(strings.TrimSpace(row), " ")
		if !ok {
			continue
		}
		m := Message{Sequence: uint64(len(all) + 1), Lines: read(t, event)}
		name, call, _ := strings.Cut(channel, ".")
		m.Channel, m.Call = events.Channel(name), call
		all = append(all, m)
	}
	return all
}
