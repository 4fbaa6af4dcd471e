package viewer

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/parleybus/parley/internal/conformance"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// silenceMost is how long a viewer may take to find that the last message was lost: no
// later one shows it.
const silenceMost = 30 * time.Second

// lose drops live messages with a text on their way to the viewer, and counts them.
func (l *log) lose(texts ...string) *atomic.Int64 {
	lost := new(atomic.Int64)
	l.Proxy.Lose(func(f conformance.Frame) bool {
		if f.ToServer || !strings.HasPrefix(f.Subject, string(topology.Live)+".") {
			return false
		}
		for _, text := range texts {
			if bytes.Contains(f.Data, []byte(text)) {
				lost.Add(1)
				return true
			}
		}
		return false
	})
	return lost
}

// subscribed writes live until the viewer prints it as it comes, so that what is lost
// from now on would have come live.
func (l *log) subscribed(p *conformance.Process) {
	l.shows(p, l.wants(0))
	l.message("live")
	l.shows(p, l.wants(0))
}

// streaming starts a viewer on a conversation with the beginning of an answer, and waits
// until it follows live. It returns the answer's attempt and next index.
func (s *stage) streaming(frames, pieces int) (l *log, p *conformance.Process, attempt string, index int) {
	l, attempt = s.newLog(), conformance.NewID()
	index = l.answer(attempt, frames, pieces)
	p = l.view()
	l.subscribed(p)
	return l, p, attempt, index
}

// healsAHole loses messages of a lane; the next one of the lane shows it.
func healsAHole(s *stage) {
	l, p, attempt, _ := s.streaming(2, 2)
	lost := l.lose(`"piece 5 "`, `"piece 9 "`, `"piece 10 "`)
	for i := 5; i < 13; i++ {
		l.more(attempt, i, 1)
	}
	l.shows(p, l.wants(0))
	if lost.Load() == 0 {
		l.Errorf("the viewer did not subscribe to live.<shard>.<conversation>.>: nothing could be lost, expected a live subscription")
	}
	l.Proxy.Lose(nil)
	l.more(attempt, 13, 2)
	l.shows(p, l.wants(0))
}

// healsAcrossChannels loses a message of a lane; another channel's message comes before
// the lane's next one. What was lost may come behind that of the other channel, but each
// channel is in order.
func healsAcrossChannels(s *stage) {
	l, p, attempt, _ := s.streaming(1, 2)
	l.lose(`"piece 3 "`)
	l.more(attempt, 3, 1)
	l.message("not lost")
	l.more(attempt, 4, 1)
	want := l.wants(0)
	l.waits(p, len(want), conformance.Soon)
	l.Never(lateMost, "after the last event it printed more", func() bool { return len(p.Lines()) > len(want) })
	got := l.printed(p)
	subjects := map[string]string{}
	for _, w := range want {
		subjects[w.Cursor] = w.subject
	}
	channels := map[string][2][]line{}
	for _, w := range want {
		both := channels[w.subject]
		both[1] = append(both[1], w)
		channels[w.subject] = both
	}
	for _, g := range got {
		both := channels[subjects[g.Cursor]]
		both[0] = append(both[0], g)
		channels[subjects[g.Cursor]] = both
	}
	for _, both := range channels {
		l.compare(both[0], both[1])
	}
}

func healsTheEnd(s *stage) {
	l, p, attempt, _ := s.streaming(1, 2)
	l.lose(`"piece 3 "`)
	l.more(attempt, 3, 1)
	l.showsWithin(p, l.wants(0), silenceMost)
}

// reconnects cuts the connection three times: while nothing is written, with messages
// written meanwhile, and in the middle of writing.
func reconnects(s *stage) {
	l, p, attempt, index := s.streaming(3, 2)
	l.Proxy.Cut(false)
	index = l.more(attempt, index, 2)
	l.shows(p, l.wants(0))
	l.Proxy.Cut(true)
	for range 10 {
		index = l.more(attempt, index, 2)
	}
	l.message("while it was away")
	l.Proxy.Accept()
	l.shows(p, l.wants(0))
	for n := range 300 {
		if n == 100 || n == 200 {
			l.Proxy.Cut(false)
		}
		index = l.more(attempt, index, 2)
	}
	l.showsWithin(p, l.wants(0), 2*conformance.Soon)
}

func survivesRestart(s *stage) {
	l, p, attempt, index := s.streaming(3, 2)
	index = l.more(attempt, index, 3)
	l.Server.Stop()
	l.Must(l.Server.Start())
	l.Eventually(2*conformance.Soon, "the rule's own connection is back", func() bool {
		ctx, stop := context.WithTimeout(l.Context(), time.Second)
		defer stop()
		_, err := l.JS.Publish(ctx, l.subject(events.ChannelIn, ""), fmt.Appendf(nil, `{"type":"UserMessage","id":%q,"text":"back"}`, conformance.NewID()))
		return err == nil
	})
	l.more(attempt, index, 3)
	l.showsWithin(p, l.wants(0), 2*conformance.Soon)
}
