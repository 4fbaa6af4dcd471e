package parley_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/broker/brokertest"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/topology"
)

// fuzzedLog is a log that grows and expires while viewers read it.
type fuzzedLog struct {
	*scribe
	reference
	client *parley.Client // whose connection does not fail
	server *broker.Broker
	purges atomic.Uint64 // sequence up to which the log may be purged
}

const lastWord = "the end"

// serve starts a server without orchestrator and workers.
func serve(t *testing.T) *broker.Broker {
	t.Helper()
	server, err := broker.Start(broker.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	return server
}

func newFuzzedLog(t *testing.T, seed uint64) *fuzzedLog {
	t.Helper()
	server := serve(t)
	b, err := bus.Connect(t.Context(), bus.Config{URL: server.URL()}, &topology.Plan{Shards: 1 + int(seed%2)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return &fuzzedLog{server: server, client: connect(t, server.URL()),
		scribe: &scribe{T: t, Rand: rand.New(rand.NewPCG(seed, 2)), bus: b, conv: parley.NewID(), lanes: map[topology.Address]uint64{}}}
}

func connect(t *testing.T, url string) *parley.Client {
	t.Helper()
	c, err := parley.Connect(t.Context(), parley.Config{URL: url,
		Options: []nats.Option{nats.ReconnectWait(5 * time.Millisecond), nats.ReconnectJitter(time.Millisecond, time.Millisecond), nats.Timeout(10 * time.Second)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// expire purges the log up to a random message, as MaxAge does, once HISTORY has
// copies of its facts.
func (l *fuzzedLog) expire() {
	l.Helper()
	ctx := l.Context()
	l.read(ctx, l.T, l.scribe.bus, l.conv)
	for behind := true; behind; {
		shards, err := l.scribe.bus.Deployment().HistoryBehind(ctx)
		if err != nil {
			l.Fatal(err)
		}
		behind = false
		for _, s := range shards {
			behind = behind || s.Copied < s.Fact
		}
	}
	if l.end == l.purged {
		return
	}
	upTo := l.purged + 1 + l.Uint64N(l.end-l.purged)
	l.purges.Store(upTo) // before: a viewer may notice at once
	_, js := l.scribe.bus.Raw()
	s, err := js.Stream(ctx, topology.ConvStream(topology.ShardOf(l.conv, l.scribe.bus.Shards())))
	if err == nil {
		err = s.Purge(ctx, jetstream.WithPurgeSequence(upTo+1))
	}
	if err != nil {
		l.Fatal(err)
	}
	l.purged = upTo
}

// viewed is what a viewer got: an event, or the position at which to resume.
type viewed struct {
	event  parley.Event
	resume *parley.CursorExpiredError
	purged uint64 // when it got that error
}

// fuzzedViewer reads a conversation through a proxy, breaks off at random, and
// continues behind the last event.
type fuzzedViewer struct {
	*rand.Rand
	conv   *parley.Conversation
	proxy  *brokertest.Proxy
	purged *atomic.Uint64
	got    []viewed
	err    error
}

func (v *fuzzedViewer) view(ctx context.Context) {
	var cursor parley.Cursor
	for v.err == nil {
		left := 1 + v.IntN(80)
		for e, err := range v.conv.Events(ctx, parley.From{After: cursor}) {
			var gone *parley.CursorExpiredError
			if errors.As(err, &gone) && !gone.OtherLog {
				v.got = append(v.got, viewed{resume: gone, purged: v.purged.Load()})
				cursor = gone.Resume
				break
			}
			if v.err = cmp.Or(err, e.Err); v.err != nil {
				return
			}
			v.got = append(v.got, viewed{event: e})
			cursor = e.Cursor
			if m, ok := e.Body.(*parley.UserMessage); ok && m.Text == lastWord {
				return
			}
			if left--; left == 0 {
				// Through its text, as a program stores it.
				if cursor, v.err = parley.ParseCursor(cursor.String()); v.err != nil {
					return
				}
				break
			}
		}
	}
}

// readAll reads the log to its end, over and over, through the viewer's connection:
// what does not fail is complete.
func (l *fuzzedLog) readAll(ctx context.Context, v *fuzzedViewer) {
	for ctx.Err() == nil {
		due, last := l.stored.Load(), uint64(0)
		var failed error
		for e, err := range v.conv.Events(ctx, parley.From{NoFollow: true, Remaining: true}) {
			failed = err
			last = max(last, e.Cursor.Sequence)
		}
		if failed == nil && ctx.Err() == nil && last < due && l.purges.Load() < due {
			l.Errorf("a complete read ended at %d without an error, the log is at %d", last, due)
			return
		}
	}
}

// check compares what the viewer got with the reference.
func (v *fuzzedViewer) check(r *reference) error {
	if v.err != nil {
		return fmt.Errorf("after %d events: %w", len(v.got), v.err)
	}
	due := r.all
	var cursor parley.Cursor
	for n, g := range v.got {
		if g.resume != nil {
			if cursor.Sequence > g.purged || g.resume.Resume.Sequence > g.purged {
				return fmt.Errorf("event %d: %w: the log was purged up to %d", n, g.resume, g.purged)
			}
			if g.resume.Resume.Sequence >= cursor.Sequence {
				cursor = g.resume.Resume
			}
			due = r.after(cursor)
			continue
		}
		if err := r.same(g.event, due); err != nil {
			// A viewer that broke off inside a Decision gets all of it again.
			if due = r.after(cursor); r.same(g.event, due) != nil {
				return fmt.Errorf("event %d, after %s: %w", n, cursor, err)
			}
		}
		due, cursor = due[1:], g.event.Cursor
	}
	if len(due) > 0 {
		return fmt.Errorf("%d events are missing at the end", len(due))
	}
	return nil
}

// same reports how an event differs from the first that is due. What an attempt whose
// start has expired had to do with it is not known any more.
func (r *reference) same(e parley.Event, due []expected) error {
	if len(due) == 0 {
		return fmt.Errorf("%s came after the end", e.Raw)
	}
	want := due[0]
	if want.since <= r.purged && !e.Superseded && e.Supersedes == "" {
		want.superseded, want.supersedes = false, ""
	}
	switch {
	case string(e.Raw) != want.raw || e.Decided != want.decided:
		return fmt.Errorf("got %s, want %d-%d %s", e.Raw, want.sequence, want.index, want.raw)
	case e.Superseded != want.superseded:
		return fmt.Errorf("superseded=%t of %d-%d %s", e.Superseded, want.sequence, want.index, want.raw)
	case e.Supersedes != want.supersedes:
		return fmt.Errorf("supersedes=%q of %d-%d %s, want %q", e.Supersedes, want.sequence, want.index, want.raw, want.supersedes)
	case !want.decided && (e.Cursor.Sequence != want.sequence || e.Cursor.Index != want.index):
		return fmt.Errorf("cursor %s of %d-%d", e.Cursor, want.sequence, want.index)
	}
	return nil
}

// TestAttachFuzz: what viewers get through connections that fail, with cursors of
// any event, while the log expires, is the log; what has expired is named.
func TestAttachFuzz(t *testing.T) {
	t.Parallel()
	brokertest.Seeds(t, 4, func(t *testing.T, seed uint64) {
		l := newFuzzedLog(t, seed)
		var viewing, reading sync.WaitGroup
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		var viewers []*fuzzedViewer
		for n := range 3 {
			p, err := brokertest.StartProxy(l.server.URL())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.Close)
			v := &fuzzedViewer{Rand: rand.New(rand.NewPCG(seed, 10+uint64(n))), conv: connect(t, p.URL()).Conversation(l.conv), proxy: p, purged: &l.purges}
			viewers = append(viewers, v)
			viewing.Go(func() { v.view(ctx) })
			for range 4 {
				reading.Go(func() { l.readAll(ctx, v) })
			}
		}
		defer reading.Wait()
		defer viewing.Wait()
		defer cancel()
		for range 300 {
			l.disturb(viewers[l.IntN(len(viewers))].proxy)
			l.next()
		}
		for _, v := range viewers {
			v.proxy.Heal()
		}
		l.say(l.conv, lastWord)
		viewing.Wait()
		cancel()
		reading.Wait()
		l.read(t.Context(), t, l.scribe.bus, l.conv)
		for n, v := range viewers {
			if err := v.check(&l.reference); err != nil {
				t.Errorf("viewer %d: %v", n, err)
			}
		}
		l.cursors()
	})
}

// disturb does something to a viewer's connection, or to the log, or nothing.
func (l *fuzzedLog) disturb(p *brokertest.Proxy) {
	l.Helper()
	wait := time.Duration(l.IntN(10)) * time.Millisecond
	switch l.IntN(30) {
	case 0, 1:
		p.Cut()
	case 2:
		p.Hang(brokertest.ToClient)
	case 3:
		p.Hang(brokertest.BothWays)
	case 4:
		p.Delay(wait)
	case 5:
		p.Refuse()
		p.Cut()
	case 6, 7, 8, 9, 10:
		p.Heal()
	case 11, 12, 13, 14:
		bus.Pause(l.Context(), wait)
	case 15:
		if l.IntN(3) == 0 {
			l.expire()
		}
	}
}

// cursors reads with cursors of all kinds. Each gives what follows it or is refused
// with the documented error.
func (l *fuzzedLog) cursors() {
	l.Helper()
	conv := l.client.Conversation(l.conv)
	var epoch string
	for e, err := range conv.Events(l.Context(), parley.From{NoFollow: true, Remaining: true}) {
		if err != nil {
			l.Fatal(err)
		}
		epoch = e.Cursor.Epoch
	}
	for range 60 {
		c := parley.Cursor{Sequence: l.Uint64N(l.end + 1), Index: l.IntN(6), Epoch: epoch}
		other := false
		switch l.IntN(8) {
		case 0:
			c.Sequence, other = l.end+1+l.Uint64N(1000), true
		case 1:
			c.Epoch, other = "mii4k1c0", true
		case 2:
			c.Epoch = ""
		case 3:
			c.Index = parley.WholeMessage
		case 4:
			l.garbage(c.String())
			continue
		}
		l.cursor(conv, c, other)
	}
}

// garbage changes the text of a cursor. It is refused, or is a cursor.
func (l *fuzzedLog) garbage(text string) {
	l.Helper()
	b := []byte(text)
	for range 1 + l.IntN(3) {
		b[l.IntN(len(b))] = "0123456789abz@-. >*\x00\xff"[l.IntN(20)]
	}
	c, err := parley.ParseCursor(string(b))
	if err != nil {
		if parley.CodeOf(err) != parley.CodeInvalid {
			l.Errorf("cursor %q: code %s, %v", b, parley.CodeOf(err), err)
		}
		return
	}
	if again, err := parley.ParseCursor(c.String()); err != nil || again != c {
		l.Errorf("cursor %q is %v and then %v, %v", b, c, again, err)
	}
	for _, err := range l.client.Conversation(l.conv).Events(l.Context(), parley.From{After: c, NoFollow: true}) {
		if err != nil && parley.CodeOf(err) != parley.CodeCursorExpired {
			l.Errorf("cursor %q: code %s, %v", b, parley.CodeOf(err), err)
		}
	}
}

// cursor reads what follows a cursor, which is of another log or of this one.
func (l *fuzzedLog) cursor(conv *parley.Conversation, c parley.Cursor, other bool) {
	l.Helper()
	for _, remaining := range []bool{false, true} {
		due, lost := l.after(c), 0
		for lost < len(due) && due[lost].sequence <= l.purged {
			lost++
		}
		var got []parley.Event
		var failed error
		for e, err := range conv.Events(l.Context(), parley.From{After: c, NoFollow: true, Remaining: remaining}) {
			if failed = err; err == nil {
				got = append(got, e)
			}
		}
		gone, expired := errors.AsType[*parley.CursorExpiredError](failed)
		switch {
		case remaining:
			if due = due[lost:]; other {
				due = l.after(parley.Cursor{Sequence: l.purged, Index: parley.WholeMessage})
			}
			if failed != nil {
				l.Errorf("cursor %s, with what remains: %v", c, failed)
			}
		case expired:
			switch {
			case len(got) > 0 || parley.CodeOf(failed) != parley.CodeCursorExpired || !strings.HasPrefix(failed.Error(), "cursor_expired: "):
				l.Errorf("cursor %s: %d events, then code %s: %v", c, len(got), parley.CodeOf(failed), failed)
			case gone.OtherLog != other:
				l.Errorf("cursor %s: %v, of another log: %t", c, failed, other)
			case !other && (c.Sequence > l.purged || gone.Resume.Sequence != l.purged):
				l.Errorf("cursor %s: %v, the log was purged up to %d", c, failed, l.purged)
			}
			continue
		case failed != nil || other:
			l.Errorf("cursor %s: %d events, %v", c, len(got), failed)
			continue
		case lost > 0:
			l.Errorf("cursor %s: %d events that have expired, from %d-%d on, are skipped silently", c, lost, due[0].sequence, due[0].index)
			continue
		}
		if len(got) != len(due) {
			l.Errorf("cursor %s, remaining %t: %d events, want %d", c, remaining, len(got), len(due))
			continue
		}
		for i, e := range got {
			if err := l.same(e, due[i:]); err != nil {
				l.Errorf("cursor %s, remaining %t: event %d: %v", c, remaining, i, err)
				break
			}
		}
	}
}

// TestAViewerThatResumesIsToldWhatIsSuperseded: the attempt that is taken over began
// before the cursor.
func TestAViewerThatResumesIsToldWhatIsSuperseded(t *testing.T) {
	t.Parallel()
	l := newFuzzedLog(t, 1)
	for l.attempt == "" {
		l.next()
	}
	first := l.attempt
	chunk := func(attempt, text string) *parley.TextChunk {
		return &parley.TextChunk{Origin: parley.Origin{Attempt: attempt}, Text: text}
	}
	l.append(l.gen(), chunk(first, "one"), chunk(first, "two"))
	at := l.lanes[l.gen()]
	l.append(l.gen(), &parley.GenerationStarted{Origin: parley.Origin{Attempt: "second"}, Generation: l.state.Generation, Turn: l.state.Turn, Step: 1})
	l.append(l.gen(), chunk("second", "three"), chunk(first, "stale"))
	for _, index := range []int{0, parley.WholeMessage} {
		marks := map[string]bool{}
		for e, err := range l.client.Conversation(l.conv).Events(t.Context(), parley.From{After: parley.Cursor{Sequence: at, Index: index}, NoFollow: true}) {
			if err != nil {
				t.Fatal(err)
			}
			switch body := e.Body.(type) {
			case *parley.GenerationStarted:
				if e.Supersedes != first {
					t.Errorf("index %d: it supersedes %q, want %q", index, e.Supersedes, first)
				}
			case *parley.TextChunk:
				marks[body.Text] = e.Superseded
			}
		}
		if marks["three"] || !marks["stale"] || marks["two"] {
			t.Errorf("index %d: superseded: %v", index, marks)
		}
	}
}
