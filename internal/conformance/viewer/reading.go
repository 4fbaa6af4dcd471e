package viewer

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/conformance"
	"github.com/parleybus/parley/internal/events"
)

func showsHistory(s *stage) {
	l := s.newLog()
	l.message("hello")
	p := l.view()
	l.shows(p, l.wants(0))
	l.message("again")
	l.shows(p, l.wants(0))
}

// signsIn views on servers without accounts, which want a token, or a user and a
// password.
func signsIn(s *stage) {
	for _, login := range []*url.Userinfo{url.User("t0ken"), url.UserPassword("somebody", "s3cr3t")} {
		for _, inURL := range []bool{true, false} {
			showsHistory(newStage(s.Check, conformance.Setup{Login: login, InURL: inURL}))
		}
	}
}

// showsFrames writes messages with one event and with several, with empty lines between
// them, and a Decision with events in it, which is one event.
func showsFrames(s *stage) {
	l := s.newLog()
	l.message("hello")
	l.put(events.ChannelTurn, `{"type":"Decision","owner":"rule","events":[{"type":"TurnStarted","turn":"t","inputs":[],"at_ms":1},{"type":"TurnEnded","turn":"t","outcome":"completed","steps":1}],"state":{"phase":"idle"}}`)
	attempt := conformance.NewID()
	index := l.answer(attempt, 20, 7)
	l.put(events.ChannelGen, "", chunk(attempt, index)+"\r", "", chunk(attempt, index+1), "")
	call := conformance.NewID()
	l.putTo(l.subject(events.ChannelCall, call), fmt.Sprintf(`{"type":"ToolStarted","call":%q,"attempt":"a","tool":"t","worker":"w"}`, call))
	l.putTo(l.subject(events.ChannelOut, call), fmt.Sprintf(`{"type":"ToolOutput","call":%q,"attempt":"a","index":0,"text":"out"}`, call))
	l.decide()
	l.shows(l.view(), l.wants(0))
}

func showsLive(s *stage) {
	l := s.newLog()
	l.message("hello")
	p := l.view()
	l.shows(p, l.wants(0))
	attempt := conformance.NewID()
	index := l.answer(attempt, 0, 0)
	for range 5 {
		index = l.more(attempt, index, 3)
		before := time.Now()
		l.waits(p, len(l.wants(0)), conformance.Soon)
		if took := time.Since(before); took > 3*time.Second {
			l.Errorf("a live event was printed after %v, expected as it comes", took.Round(time.Millisecond))
		}
	}
	l.shows(p, l.wants(0))
}

// splices starts viewers while messages of all channels are written, until each of them
// has printed something and for a while after that.
func splices(s *stage) {
	l := s.newLog()
	attempt := conformance.NewID()
	index := l.answer(attempt, 50, 3)
	var all []*conformance.Process
	for range 3 {
		all = append(all, l.view())
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	for n, rest := 0, 150; rest > 0; n++ {
		if n%20 == 19 {
			l.decide()
			l.message("more")
			<-tick.C // the others come as fast as they can be written
		}
		index = l.more(attempt, index, 1+n%5)
		if silent := slices.ContainsFunc(all, func(p *conformance.Process) bool { return len(p.Lines()) == 0 }); silent && time.Since(began) < conformance.Soon {
			<-tick.C
			<-tick.C
		} else {
			rest--
		}
	}
	want := l.wants(0)
	for _, p := range all {
		l.showsWithin(p, want, 2*conformance.Soon)
	}
}

// resumes starts behind an event that is the last of its message, in the middle of a
// message, behind a whole message without an index, and at the end.
func resumes(s *stage) {
	l := s.newLog()
	l.message("hello")
	l.answer(conformance.NewID(), 6, 5)
	all := l.wants(0)
	seq, _, _ := strings.Cut(all[9].Cursor, "-")
	for _, cursor := range []string{all[0].Cursor, all[8].Cursor, seq + "@" + l.epoch(), all[len(all)-1].Cursor} {
		l.resume(cursor)
	}
}

// resume checks what a viewer prints that begins behind a cursor, then what comes live,
// and stops it.
func (l *log) resume(cursor string) {
	p := l.view(cursor)
	l.shows(p, l.behind(cursor))
	l.message("live behind " + cursor)
	l.shows(p, l.behind(cursor))
	p.Stop()
}

// behind returns what a viewer prints behind a cursor.
func (l *log) behind(cursor string) []line {
	from, err := bus.ParseCursor(cursor)
	if err != nil {
		l.Fatalf("cursor %q: %v", cursor, err)
	}
	return slices.DeleteFunc(l.wants(from.Sequence-1), func(w line) bool {
		at, err := bus.ParseCursor(w.Cursor)
		return err == nil && at.Sequence == from.Sequence && at.Index <= from.Index
	})
}

func passesOnUnknown(s *stage) {
	l := s.newLog()
	l.put(events.ChannelIn, `{"type":"UserMessage","id":"i","text":"hello","x_mood":{"good":[1,null,true]},"later":"field"}`)
	l.put(events.ChannelGen, `{"type":"x_Weather","degrees":-3.5,"where":{"city":"Oslo"}}`, `{"type":"FromTheFuture","attempt":"a","index":7}`)
	p := l.view()
	l.shows(p, l.wants(0))
	l.put(events.ChannelTurn, `{"type":"Judgement","x_of":"live"}`)
	l.shows(p, l.wants(0))
}

// reportsUnreadable writes messages that are no JSON, from a line on or whole, in the log
// and live.
func reportsUnreadable(s *stage) {
	l := s.newLog()
	l.message("before")
	l.put(events.ChannelGen, chunk("a", 1), `{"type":"TextChunk","att`)
	l.put(events.ChannelIn, "no JSON at all")
	l.message("between")
	p := l.view()
	l.waits(p, 5, 2*conformance.Soon)
	l.put(events.ChannelTurn, `["no object"]`)
	l.message("after")
	l.waits(p, 7, 2*conformance.Soon)
	p.Running()
	var shown []line
	failed := map[string]bool{}
	for _, one := range l.printed(p) {
		if one.Error == nil {
			shown = append(shown, one)
			continue
		}
		if one.Error.Code != "unreadable" || one.Error.Message == "" {
			l.Errorf("it reports code %q and message %q, expected unreadable and a text", one.Error.Code, one.Error.Message)
		}
		seq, _, _ := strings.Cut(strings.Split(one.Cursor, "@")[0], "-")
		failed[seq] = true
	}
	var want []line
	for _, w := range l.wants(0) {
		seq, _, _ := strings.Cut(w.Cursor, "-")
		switch {
		case w.Event[0] == '{' && sameJSON(w.Event, w.Event):
			want = append(want, w)
		case !failed[seq]:
			l.Errorf("it does not report that message %s cannot be read, expected {\"cursor\":%q,\"error\":{\"code\":\"unreadable\",…}}", seq, w.Cursor)
		}
	}
	l.compare(shown, want)
}

func leaves(s *stage) {
	l := s.newLog()
	l.message("hello")
	p := l.view()
	l.shows(p, l.wants(0))
	p.Stop()
	l.compare(l.printed(p), l.wants(0))
}
