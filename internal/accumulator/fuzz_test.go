package accumulator

import (
	"bytes"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
)

// FuzzFold reads bytes as a log (each line begins with a letter for its channel)
// and folds it. Whatever comes, nothing panics, every assistant message with
// calls is followed by exactly its results, and a log given again changes
// nothing.
func FuzzFold(f *testing.F) {
	for _, log := range []string{asked, twoCalls} {
		var seed []byte
		for _, m := range messages(f, log) {
			seed = append(append(append(seed, m.Channel[0]), m.Lines[0].Raw...), '\n')
		}
		f.Add(seed, "")
	}
	for _, g := range generations {
		seed := []byte("i{\"type\":\"UserMessage\",\"id\":\"u1\",\"text\":\"go\"}\n")
		for _, l := range read(f, g.events) {
			seed = append(append(append(seed, 'g'), l.Raw...), '\n')
		}
		f.Add(seed, "m")
	}
	f.Add([]byte("i{\"type\":\"Settings\",\"id\":\"s\",\"limits\":{\"calls\":{\"f\":1}},\"later\":[null]}\ni{\"type\":\"Settings\",\"id\":\"r\",\"limits\":null,\"add_rules\":[{\"action\":\"auto\"}]}\n"+
		"t{\"type\":\"Decision\",\"events\":[{\"type\":\"InputAnswered\",\"input\":\"s\",\"answer\":\"accepted\"},{\"type\":\"InputAnswered\",\"input\":\"r\",\"answer\":\"accepted\"}],\"state\":{}}\ni{\"id\":\"s\"}\n"), strings.Repeat("x", 300))
	f.Add([]byte("i{]\ni\xff\nt{\"type\":\"Decision\",\"events\":[null],\"state\":{}}\nc{\"type\":\"ToolResult\"}\n"), "m")
	f.Fuzz(func(t *testing.T, data []byte, id string) {
		log := fuzzed(data, id)
		c := &Conversation{ID: "c", Transcript: NewTranscript()}
		var alone Generation
		for _, m := range log {
			c.Apply(m)
			for _, l := range m.Lines {
				alone.Apply(l.Event)
			}
		}
		alone.Result()
		named(t, c.Inputs)
		c.Clone().Drain()
		paired(t, c.Transcript.Messages())
		before := summary(c)
		for _, m := range log {
			c.Apply(m)
		}
		if after := summary(c); after != before && !c.reopened(log) {
			t.Errorf("given again the log changed\n%s\nto\n%s", before, after)
		}
	})
}

// reopened reports whether a call's lane could have been read before its call
// was made: such a result was ignored, and ends the call the second time.
func (c *Conversation) reopened(log []Message) bool {
	for _, m := range log {
		if m.Channel == events.ChannelCall {
			return true
		}
	}
	return false
}

// named checks that inputs have names of their own, of bounded length.
func named(t *testing.T, all []Input) {
	t.Helper()
	seen := map[string]bool{}
	for _, in := range all {
		if in.ID == "" || seen[in.ID] || len(in.ID) > longestID+20 {
			t.Fatalf("input at %d is called %q", in.Sequence, in.ID)
		}
		seen[in.ID] = true
	}
}

// fuzzed is a log whose messages all came with a message id.
func fuzzed(data []byte, id string) []Message {
	var log []Message
	for row := range bytes.Lines(data) {
		m := Message{Sequence: uint64(len(log) + 1), Position: "end", ID: id, Channel: events.ChannelIn}
		switch row[0] {
		case 't':
			m.Channel = events.ChannelTurn
		case 'g':
			m.Channel = events.ChannelGen
		case 'c':
			m.Channel, m.Call = events.ChannelCall, "c1"
		}
		m.Lines, m.Bad = events.DecodeFrame(row[1:])
		log = append(log, m)
	}
	return log
}

// paired checks what every strict provider checks.
func paired(t *testing.T, all []events.Message) {
	t.Helper()
	for i := 0; i < len(all); i++ {
		if all[i].Role == events.RoleTool {
			t.Fatalf("message %d is a result that follows no call", i)
		}
		for _, p := range all[i].Parts {
			if p.Kind != events.PartCall {
				continue
			}
			i++
			if i == len(all) || all[i].Role != events.RoleTool || all[i].Parts[0].Call != p.Call || all[i].Parts[0].Status == "" {
				t.Fatalf("call %q has no result in its place, message %d", p.Call, i)
			}
		}
	}
}
