package accumulator

import (
	"errors"
	"fmt"
	"testing"

	"github.com/parleybus/parley/internal/events"
)

// started is a turn whose generation g1 the attempt A has started.
const started = asked + `
	gen {"type":"GenerationStarted","attempt":"A","index":0,"generation":"g1","turn":"t1","step":1,"provider":"p","model":"m"}
`

// ending says how the open generation ended.
func ending(c *Conversation) string {
	if c.Open == nil || c.Open.Ended == nil {
		return "open"
	}
	end := c.Open.Ended
	if end.Error == nil {
		return string(end.Finish)
	}
	return fmt.Sprintf("%s %s: %s", end.Finish, end.Error.Class, end.Error.Message)
}

func TestAnAnswerWhoseEventsAreNotAllThereIsNotUsed(t *testing.T) {
	const done = `{"type":"GenerationEnded","attempt":"A","index":2,"generation":"g1","finish":"stop","terminated":true,"usage":{"input_tokens":3},"event_count":3}`
	for _, c := range []struct{ name, log, want string }{
		{"all are there", started + `
			gen {"type":"TextChunk","attempt":"A","index":1,"text":"hi"}
			gen ` + done, "stop"},
		{"all are there, one of a type that is not known", started + `
			gen {"type":"Sparkle","attempt":"A","index":1}
			gen ` + done, "stop"},
		{"a worker that does not count", started + `
			gen {"type":"GenerationEnded","attempt":"A","index":7,"generation":"g1","finish":"stop","terminated":true}`, "stop"},
		{"one is missing", started + `
			gen ` + done, "error cut: 1 of the answer's 3 events are missing from the log"},
		{"the failure of the answer is what counts", started + `
			gen {"type":"GenerationEnded","attempt":"A","index":7,"generation":"g1","finish":"error","terminated":false,"event_count":8,"error":{"class":"auth","message":"no"}}`,
			"error auth: no"},
		{"the start is missing", asked + `
			gen {"type":"TextChunk","attempt":"A","index":1,"text":"hi"}
			gen ` + done, "error cut: the beginning of the answer is missing from the log"},
		{"the start of the attempt that took over is missing", started + `
			gen {"type":"GenerationEnded","attempt":"B","index":2,"generation":"g1","finish":"stop","terminated":true,"event_count":3}`,
			"error cut: the beginning of the answer is missing from the log"},
		{"an attempt that was replaced ends", started + `
			gen {"type":"GenerationStarted","attempt":"B","index":0,"generation":"g1","turn":"t1","step":1,"provider":"p","model":"m"}
			gen ` + done, "open"},
		{"another generation ends", started + `
			gen {"type":"GenerationEnded","attempt":"Z","index":2,"generation":"g0","finish":"stop","terminated":true,"event_count":3}`, "open"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := history(t, c.log)
			if ending(got) != c.want {
				t.Errorf("%s, want %s", ending(got), c.want)
			}
		})
	}
}

func TestEventsWithoutTheirIDsFailTheAnswer(t *testing.T) {
	const without = "error internal: a worker wrote a %s without %q, so the answer cannot be used: correct the worker"
	for _, c := range []struct{ name, log, want string }{
		{"a start without an attempt", asked + `
			gen {"type":"GenerationStarted","index":0,"generation":"g1","turn":"t1","step":1,"provider":"p","model":"m"}
			gen {"type":"TextChunk","index":1,"text":"hi"}`, fmt.Sprintf(without, "GenerationStarted", "attempt")},
		{"a start without a generation", asked + `
			gen {"type":"GenerationStarted","attempt":"A","index":0,"turn":"t1","step":1,"provider":"p","model":"m"}`, fmt.Sprintf(without, "GenerationStarted", "generation")},
		{"a chunk without an attempt", started + `
			gen {"type":"TextChunk","index":1,"text":"hi"}`, fmt.Sprintf(without, "TextChunk", "attempt")},
		{"a chunk without an attempt, and no start", asked + `
			gen {"type":"TextChunk","index":1,"text":"hi"}`, fmt.Sprintf(without, "TextChunk", "attempt")},
		{"an end without an attempt", started + `
			gen {"type":"GenerationEnded","index":1,"generation":"g1","finish":"stop","terminated":true}`, fmt.Sprintf(without, "GenerationEnded", "attempt")},
		{"a call without an id", started + `
			gen {"type":"ToolCallStart","attempt":"A","index":1,"name":"f"}`, fmt.Sprintf(without, "ToolCallStart", "call")},
		{"a call without an id of an attempt that does not run", started + `
			gen {"type":"ToolCallStart","attempt":"B","index":1,"name":"f"}`, "open"},
		{"an index twice", started + `
			gen {"type":"TextChunk","attempt":"A","index":0,"text":"hi"}`,
			`error internal: a worker wrote a TextChunk with "index" 0 after an event with "index" 0: the events of an attempt are numbered from 0 without gaps; correct the worker`},
		{"what was written before the generation was asked for", `
			gen {"type":"TextChunk","index":1,"text":"hi"}` + started, "open"},
		{"a finish that is not known", started + `
			gen {"type":"GenerationEnded","attempt":"A","index":1,"generation":"g1","finish":"exhausted","terminated":true}`, "other"},
		{"a class of errors that is not known", started + `
			gen {"type":"GenerationEnded","attempt":"A","index":1,"generation":"g1","finish":"error","terminated":false,"error":{"class":"bad_hair_day","message":"no"}}`, "error internal: no"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := ending(history(t, c.log)); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestWhatCannotBeReadCutsTheOpenAnswer(t *testing.T) {
	bad := Message{Channel: events.ChannelGen, Sequence: 99, Bad: errors.New("no JSON")}
	for _, c := range []struct{ name, log, want string }{
		{"as it streams", started, "error cut: a part of the answer cannot be read: no JSON"},
		{"before its start", asked, "error cut: a part of the answer cannot be read: no JSON"},
		{"between turns", "", "open"},
		{"when it has ended", started + `
			gen {"type":"GenerationEnded","attempt":"A","index":1,"generation":"g1","finish":"stop","terminated":true}`, "stop"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := history(t, c.log)
			got.Apply(bad)
			if ending(got) != c.want {
				t.Errorf("%s, want %s", ending(got), c.want)
			}
			// The next try, and the end of the turn, use the answer that failed.
			for _, l := range read(t, `{"type":"GenerationRequested","turn":"t1","generation":"g2","step":1,"route":"r/m","try":2}`) {
				got.Clone().ApplyDecided(l.Event)
			}
		})
	}
}
