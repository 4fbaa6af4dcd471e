package viewer

import (
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/conformance"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// expire removes all messages of the log before a sequence, as their age does, once
// HISTORY has the facts among them.
func (l *log) expire(before uint64) {
	history, err := l.JS.Stream(l.Context(), topology.StreamHistory)
	l.Must(err)
	facts := 0
	for _, w := range l.wants(0) {
		if strings.HasSuffix(w.subject, ".in") || strings.HasSuffix(w.subject, ".turn") {
			facts++
		}
	}
	l.Eventually(conformance.Soon, "HISTORY has the facts of the log", func() bool {
		info, err := history.Info(l.Context(), jetstream.WithSubjectFilter(topology.Everything(topology.History, l.Shards(), l.id)))
		l.Must(err)
		n := uint64(0)
		for _, count := range info.State.Subjects {
			n += count
		}
		return n >= uint64(facts)
	})
	stream, err := l.JS.Stream(l.Context(), topology.ConvStream(l.shard))
	l.Must(err)
	l.Must(stream.Purge(l.Within(conformance.Soon), jetstream.WithPurgeSequence(before)))
}

// expired checks the error of a viewer that began behind a cursor, and resumes as it says.
func (l *log) expired(cursor string) {
	before, e := l.says(l.view(cursor), "cursor_expired")
	if len(before) > 0 {
		l.Errorf("it printed event %s before it said cursor_expired, expected none", before[0].Cursor)
	}
	if e.Resume == "" {
		l.Fatalf("the error has no \"resume\", expected the cursor to continue behind what has expired: %s", e.Message)
	}
	l.resume(e.Resume)
}

func saysExpired(s *stage) {
	l := s.newLog()
	first := l.message("hello")
	attempt := conformance.NewID()
	index := l.answer(attempt, 5, 2)
	middle := l.message("middle")
	l.more(attempt, index, 2)
	l.decide()
	l.expire(middle)
	l.expired(l.cursor(first, 0))
}

func saysExpiredBeginning(s *stage) {
	l := s.newLog()
	l.message("hello")
	l.decide()
	middle := l.message("middle")
	l.decide()
	l.expire(middle)
	l.expired("")
}

// expiredNothing lets the log begin behind the conversation's last event, with another
// conversation: under a viewer that has printed all, and under one that begins there.
func expiredNothing(s *stage) {
	l := s.newLog()
	l.message("hello")
	last := l.decide()
	p := l.view()
	l.shows(p, l.wants(0))
	before := l.wants(0)
	other := s.newLog()
	for other.shard != l.shard {
		other = s.newLog()
	}
	other.message("of another")
	end := other.message("of another, later")
	l.expire(end)
	late := l.view(l.cursor(last, 0))
	l.Eventually(2*conformance.Soon, "a viewer subscribes to live.<shard>.<conversation>.>, also behind the last event", func() bool {
		late.Running()
		return l.Server.Subscribed(topology.At(l.Shards(), l.id, events.ChannelIn).Subject(topology.Live))
	})
	l.Never(2*time.Second, "a viewer that begins behind the last event printed something, expected it to wait", func() bool {
		late.Running()
		return len(late.Lines()) > 0
	})
	next := l.message("next")
	l.shows(p, append(before, l.wants(next-1)...))
}

// saysOtherLog begins behind cursors that the log never had.
func saysOtherLog(s *stage) {
	l := s.newLog()
	l.message("hello")
	seq := l.decide()
	for _, cursor := range []string{strings.Split(l.cursor(seq, 0), "@")[0] + "@aaaa1111", l.cursor(seq+1000, 0)} {
		before, e := l.says(l.view(cursor), "cursor_expired")
		if len(before) > 0 || e.Resume != "" {
			l.Errorf("with the cursor %s of another log it printed %d events and resume %q, expected neither: it has to begin without a cursor", cursor, len(before), e.Resume)
		}
	}
}

// saysReplaced deletes the log's stream while it is viewed, and makes it again, as an
// administrator may.
func saysReplaced(s *stage) {
	l := s.newLog()
	l.answer(conformance.NewID(), 10, 2)
	p := l.view()
	l.subscribed(p)
	before := len(p.Lines())
	name := topology.ConvStream(l.shard)
	l.Must(l.JS.DeleteStream(l.Within(conformance.Soon), name))
	for _, cfg := range (topology.Plan{Shards: l.Shards()}).Streams() {
		if cfg.Name == name {
			_, err := l.JS.CreateStream(l.Within(conformance.Soon), cfg)
			l.Must(err)
		}
	}
	l.message("in the other log")
	l.message("in the other log, again")
	all, _ := l.says(p, "cursor_expired")
	if len(all) > before {
		l.Errorf("it printed event %s of the other log as if it were the same, expected the error first", all[before].Cursor)
	}
}
