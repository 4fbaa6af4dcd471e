package viewer

import (
	"fmt"
	"strings"

	"github.com/parleybus/parley/internal/conformance"
	"github.com/parleybus/parley/internal/events"
)

// claimed stores a claim of a frame that was put into the object store.
func (l *log) claimed(channel events.Channel, object *events.Object) {
	frame, err := events.AppendFrame(nil, &events.Claim{Of: "TextChunk", Object: *object, Preview: "piece"})
	l.Must(err)
	l.put(channel, string(frame))
}

// large is a frame of two events that needs several chunks of an object.
func large(text string) []byte {
	return fmt.Appendf(nil, "%s\n{\"type\":\"TextChunk\",\"attempt\":\"a\",\"index\":2,\"text\":%q}", chunk("a", 1), strings.Repeat(text, 300<<10))
}

func resolvesClaims(s *stage) {
	l := s.newLog()
	l.message("hello")
	l.claimed(events.ChannelGen, l.Put(l.id, large("x")))
	l.decide()
	p := l.view()
	l.shows(p, l.wants(0))
	l.claimed(events.ChannelIn, l.Put(l.id, []byte(`{"type":"UserMessage","id":"i","text":"live"}`)))
	l.shows(p, l.wants(0))
	// In the middle of what it refers to, too.
	l.resume(l.wants(0)[1].Cursor)
}

func ignoresForgeries(s *stage) {
	l := s.newLog()
	l.claimed(events.ChannelGen, l.Forge(l.id, large("x"), large("y")))
	l.shows(l.view(), l.wants(0))
}

// marksSuperseded has three attempts at an answer and two at a call. A late event of the
// first attempt is in the log behind the start of the second.
func marksSuperseded(s *stage) {
	l := s.newLog()
	l.message("hello")
	first, second, third := conformance.NewID(), conformance.NewID(), conformance.NewID()
	generation := conformance.NewID()
	start := func(attempt string) string {
		return fmt.Sprintf(`{"type":"GenerationStarted","attempt":%q,"index":0,"generation":%q,"turn":"t","step":1,"provider":"rule","model":"m"}`, attempt, generation)
	}
	supersedes, superseded := map[string]string{}, map[string]bool{}
	l.put(events.ChannelGen, start(first), chunk(first, 1))
	supersedes[l.cursor(l.put(events.ChannelGen, start(second), chunk(second, 1)), 0)] = first
	superseded[l.cursor(l.put(events.ChannelGen, chunk(first, 2)), 0)] = true
	p := l.view()
	l.shows(p, l.wants(0))
	l.put(events.ChannelGen, chunk(second, 2))
	supersedes[l.cursor(l.put(events.ChannelGen, start(third)), 0)] = second
	superseded[l.cursor(l.put(events.ChannelGen, chunk(second, 3)), 0)] = true
	l.put(events.ChannelGen, chunk(third, 1))
	call := conformance.NewID()
	lane := l.subject(events.ChannelCall, call)
	run := func(attempt string) string {
		return fmt.Sprintf(`{"type":"ToolStarted","call":%q,"attempt":%q,"tool":"t","worker":"w"}`, call, attempt)
	}
	l.putTo(lane, run(first))
	supersedes[l.cursor(l.putTo(lane, run(second)), 0)] = first
	out := fmt.Sprintf(`{"type":"ToolOutput","call":%q,"attempt":%q,"index":0,"text":"late"}`, call, first)
	superseded[l.cursor(l.putTo(l.subject(events.ChannelOut, call), out), 0)] = true
	l.putTo(lane, fmt.Sprintf(`{"type":"ToolResult","call":%q,"attempt":%q,"tool":"t","status":"ok","content":"c"}`, call, second))
	for _, g := range l.shows(p, l.wants(0)) {
		if want := supersedes[g.Cursor]; g.Supersedes != want {
			l.Errorf("event %s (%s) has supersedes %q, expected %q: the attempt that ran before, on a start", g.Cursor, g.Event, g.Supersedes, want)
		}
		if want := superseded[g.Cursor]; g.Superseded != want {
			l.Errorf("event %s (%s) has superseded %v, expected %v: true if another attempt had started before it was stored", g.Cursor, g.Event, g.Superseded, want)
		}
	}
}

// ignoresOthers writes to other conversations of the same shard between the events of the
// conversation, also with its id in their texts.
func ignoresOthers(s *stage) {
	l := s.newLog()
	other := s.newLog()
	for other.shard != l.shard {
		other = s.newLog()
	}
	attempt := conformance.NewID()
	other.message("about " + l.id)
	l.answer(attempt, 3, 2)
	other.answer(conformance.NewID(), 3, 2)
	p := l.view()
	l.shows(p, l.wants(0))
	for i := range 5 {
		other.message("live " + l.id)
		l.more(attempt, 20+i, 2)
		other.decide()
	}
	l.shows(p, l.wants(0))
}

// findsShards views a conversation of each shard.
func findsShards(s *stage) {
	seen := map[int]bool{}
	for len(seen) < s.Shards() {
		l := s.newLog()
		if seen[l.shard] {
			continue
		}
		seen[l.shard] = true
		l.message("hello")
		p := l.view()
		l.shows(p, l.wants(0))
		l.message("live")
		l.shows(p, l.wants(0))
		p.Stop()
	}
}

// endsDeleted has an orchestrator delete the conversation while it is viewed, and views
// what is left of it.
func endsDeleted(s *stage) {
	s.Deploy(conformance.Deployment{})
	l := s.newLog()
	id := conformance.NewID()
	l.PublishInput(l.id, id, &events.UserMessage{ID: id, Text: "to be deleted"})
	p := l.view()
	l.waits(p, 2, 2*conformance.Soon)
	again := conformance.NewID()
	l.PublishInput(l.id, again, &events.Delete{ID: again})
	ends := func(p *conformance.Process) {
		if code := p.Exit(3 * conformance.Soon); code != 0 {
			l.Errorf("it exits with code %d after the deletion, expected 0", code)
		}
		for _, one := range l.printed(p) {
			if strings.Contains(string(one.Event), `"ConversationDeleted"`) {
				return
			}
		}
		l.Errorf("it did not print the Decision with ConversationDeleted, expected it as the last line")
	}
	ends(p)
	ends(l.view())
}
