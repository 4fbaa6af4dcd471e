package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// expire empties CONV as its MaxAge does, once HISTORY has its copies.
func expire(t *testing.T, b *bus.Bus) {
	t.Helper()
	ctx := within(t, 20*time.Second)
	for copied := false; !copied; {
		shards, err := b.Deployment().HistoryBehind(ctx)
		if err != nil {
			t.Fatal(err)
		}
		copied = shards[0].Copied >= shards[0].Fact
	}
	_, js := b.Raw()
	s, err := js.Stream(ctx, topology.ConvStream(0))
	if err == nil {
		err = s.Purge(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func attached(t *testing.T, b *bus.Bus, conversation string, from bus.From) (seen []bus.Message, err error) {
	t.Helper()
	from.Ended = true
	for m, err := range b.Conversation(conversation).Attach(within(t, 20*time.Second), from) {
		if err != nil {
			return seen, err
		}
		seen = append(seen, m)
	}
	return seen, nil
}

func TestAttachNamesWhatHasExpired(t *testing.T) {
	b := inProcess(t)
	conversation, quiet := id(), id()
	send(t, b, conversation, "zero")
	send(t, b, conversation, "one")
	send(t, b, quiet, "alone")
	seen, err := attached(t, b, quiet, bus.From{})
	if err != nil || len(seen) != 1 {
		t.Fatalf("%v, %v", seen, err)
	}
	last := seen[0].Cursor(0)
	expire(t, b)
	send(t, b, conversation, "two")

	var gone *bus.ExpiredError
	if _, err = attached(t, b, conversation, bus.From{}); !errors.As(err, &gone) || !errors.Is(err, bus.ErrCursorExpired) {
		t.Fatalf("from the beginning: %v", err)
	}
	for _, word := range []string{"cursor_expired", "beginning", gone.Resume.String(), "parley show " + conversation} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %q", err, word)
		}
	}
	for name, from := range map[string]bus.From{"from the cursor that it names": {After: gone.Resume}, "with what is left": {Left: true}, "since now": {Since: time.Now()},
		"with what is left after a cursor": {After: bus.Cursor{Sequence: 2, Index: bus.Whole}, Left: true}} {
		if seen, err := attached(t, b, conversation, from); err != nil || len(seen) != 1 && name != "since now" {
			t.Errorf("%s: %d messages, %v", name, len(seen), err)
		}
	}
	if seen, err := attached(t, b, quiet, bus.From{After: last}); err != nil || len(seen) > 0 {
		t.Errorf("after the last message of a conversation: %v, %v", seen, err)
	}
	if _, err := attached(t, b, conversation, bus.From{After: bus.Cursor{Sequence: 1, Index: bus.Whole}}); !errors.Is(err, bus.ErrCursorExpired) {
		t.Errorf("after an expired message: %v", err)
	}
}

// TestACursorOfAnotherLogIsRefused: a stream that was deleted and created again
// starts its sequences at 1, so that an old cursor is in range.
func TestACursorOfAnotherLogIsRefused(t *testing.T) {
	b := inProcess(t)
	conversation := id()
	for range 3 {
		send(t, b, conversation, "before")
	}
	seen, err := attached(t, b, conversation, bus.From{})
	if err != nil {
		t.Fatal(err)
	}
	cursor, err := bus.ParseCursor(seen[0].Cursor(0).String())
	if err != nil || cursor.Epoch == "" {
		t.Fatalf("cursor %v, %v", cursor, err)
	}
	if seen, err := attached(t, b, conversation, bus.From{After: cursor}); err != nil || len(seen) != 2 {
		t.Fatalf("%d messages after the first, %v", len(seen), err)
	}
	_, js := b.Raw()
	if err := js.DeleteStream(t.Context(), topology.ConvStream(0)); err != nil {
		t.Fatal(err)
	}
	for _, cfg := range (topology.Plan{}).Streams() {
		if cfg.Name == topology.ConvStream(0) {
			if _, err := js.CreateStream(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 3 {
		send(t, b, conversation, "after")
	}
	var gone *bus.ExpiredError
	if _, err := attached(t, b, conversation, bus.From{After: cursor}); !errors.As(err, &gone) || !gone.OtherLog {
		t.Errorf("%v", err)
	}
	if seen, err := attached(t, b, conversation, bus.From{After: cursor, Left: true}); err != nil || len(seen) != 3 {
		t.Errorf("with what is left: %d messages, %v", len(seen), err)
	}
}

// TestAnExpiredLaneIsAnEmptyLane: the writer of a lane's last message continues when
// that has expired; a writer with an older one, or a later writer, is fenced.
func TestAnExpiredLaneIsAnEmptyLane(t *testing.T) {
	for _, channel := range []events.Channel{events.ChannelTurn, events.ChannelCall, events.ChannelGen} {
		t.Run(string(channel), func(t *testing.T) {
			b := inProcess(t)
			lane := topology.At(b.Shards(), id(), channel)
			if channel == events.ChannelCall {
				lane = topology.OfCall(b.Shards(), lane.Conversation, channel, id())
			}
			appended := func(after uint64) (uint64, error) {
				return b.Lane(lane).Append(within(t, 20*time.Second), after, []byte(`{"type":"Nonsense","id":"`+id()+`"}`))
			}
			old, err := appended(0)
			if err != nil {
				t.Fatal(err)
			}
			last, err := appended(old)
			if err != nil {
				t.Fatal(err)
			}
			expire(t, b)
			if channel != events.ChannelGen { // which HISTORY has no copy of
				if _, err := appended(old); !errors.Is(err, bus.ErrFenced) {
					t.Errorf("a writer that knows the message before the last got %v", err)
				}
			}
			next, err := appended(last)
			if err != nil {
				t.Fatalf("the writer of the last message: %v", err)
			}
			for _, position := range []uint64{0, old, last} {
				if _, err := appended(position); !errors.Is(err, bus.ErrFenced) {
					t.Errorf("a writer that follows %d, where %d is the last, got %v", position, next, err)
				}
			}
		})
	}
}

// TestADeletedMessageFencesAnAttempt: a message of the gen lane that was deleted by
// hand lies within the log, so the lane has not expired.
func TestADeletedMessageFencesAnAttempt(t *testing.T) {
	b := inProcess(t)
	send(t, b, id(), "before")
	lane := topology.At(b.Shards(), id(), events.ChannelGen)
	last, err := b.Lane(lane).Append(t.Context(), 0, []byte(`{"type":"Nonsense"}`))
	if err != nil {
		t.Fatal(err)
	}
	_, js := b.Raw()
	s, err := js.Stream(t.Context(), topology.ConvStream(0))
	if err == nil {
		err = s.DeleteMsg(t.Context(), last)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Lane(lane).Append(within(t, 20*time.Second), last, []byte(`{"type":"Nonsense"}`)); !errors.Is(err, bus.ErrFenced) {
		t.Errorf("its writer got %v", err)
	}
}

// inState writes an input and a Decision in a state, and returns the Decision's
// sequence.
func inState(t *testing.T, b *bus.Bus, conversation string, state events.State) uint64 {
	t.Helper()
	send(t, b, conversation, "hello")
	frame, err := events.AppendFrame(nil, &events.Decision{Events: []events.Line{}, State: state})
	if err != nil {
		t.Fatal(err)
	}
	seq, err := b.Lane(topology.At(b.Shards(), conversation, events.ChannelTurn)).Append(t.Context(), 0, frame)
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

// TestAttachNamesTokensThatHaveExpired: HISTORY has no copies of tokens. They may have
// been streamed behind a fact while a generation is open, before it or after.
func TestAttachNamesTokensThatHaveExpired(t *testing.T) {
	for name, c := range map[string]struct {
		state events.State
		index int
		gone  bool
	}{
		"behind the last fact, a generation is open":          {events.State{Phase: events.PhaseGenerating, Turn: id(), Generation: id()}, bus.Whole, true},
		"behind an event of the last fact, the same":          {events.State{Phase: events.PhaseGenerating, Turn: id(), Generation: id()}, 0, true},
		"behind the last fact of a conversation that is idle": {events.State{Phase: events.PhaseIdle}, bus.Whole, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := inProcess(t)
			conversation := id()
			at := inState(t, b, conversation, c.state)
			if c.gone {
				write(t, b, conversation, 0, []int{0}, []int{1})
			} else {
				write(t, b, id(), 0, []int{0}, []int{1})
			}
			expire(t, b)
			after := bus.Cursor{Sequence: at, Index: c.index}
			for _, then := range []string{"nothing", "another fact"} {
				if seen, err := attached(t, b, conversation, bus.From{After: after}); errors.Is(err, bus.ErrCursorExpired) != c.gone || err != nil && !c.gone {
					t.Errorf("then %s: %d messages, %v", then, len(seen), err)
				}
				if !c.gone {
					break // with a later fact the error is allowed: somebody may have written in between
				}
				send(t, b, conversation, "later")
			}
		})
	}
}

// TestAttachNamesWhatExpiresUnderASlowReader: the log expires while the consumer
// handles the first of several batches.
func TestAttachNamesWhatExpiresUnderASlowReader(t *testing.T) {
	b := inProcess(t)
	conversation := id()
	inState(t, b, conversation, events.State{Phase: events.PhaseGenerating, Turn: id(), Generation: id()})
	const tokens = 1500
	frames := make([][]int, tokens)
	for i := range frames {
		frames[i] = []int{i}
	}
	at := write(t, b, conversation, 0, frames...)
	_, js := b.Raw()
	s, err := js.Stream(t.Context(), topology.ConvStream(0))
	if err != nil {
		t.Fatal(err)
	}
	var last uint64
	for m, err := range b.Conversation(conversation).Attach(within(t, 20*time.Second), bus.From{Ended: true}) {
		if err != nil {
			var gone *bus.ExpiredError
			if !errors.As(err, &gone) || gone.After.Sequence != last || gone.Resume.Sequence != at[tokens-2] {
				t.Errorf("after %d: %v", last, err)
			}
			return
		}
		if m.Sequence != last+1 {
			t.Fatalf("message %d follows %d", m.Sequence, last)
		}
		if last = m.Sequence; last == 1 {
			if err := s.Purge(t.Context(), jetstream.WithPurgeSequence(at[tokens-1])); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Errorf("it ended at %d", last)
}

// logReaders read a log to its end: as its owner does, and a conversation.
func logReaders() map[string]func(ctx context.Context, b *bus.Bus, conversation string, fn func(bus.Message) error) error {
	return map[string]func(ctx context.Context, b *bus.Bus, conversation string, fn func(bus.Message) error) error{
		"Follow": func(ctx context.Context, b *bus.Bus, _ string, fn func(bus.Message) error) error {
			done := errors.New("caught up")
			err := b.Shard(0).Follow(ctx, 0, fn, func() error { return done })
			if errors.Is(err, done) {
				err = nil
			}
			return err
		},
		"Conversation.Read": func(ctx context.Context, b *bus.Bus, conversation string, fn func(bus.Message) error) error {
			return b.Conversation(conversation).Read(ctx, 0, fn)
		},
	}
}

// TestWhatExpiresWhileALogIsReadIsNotSkipped lets the log expire further while a reader
// is busy with what had expired before it began.
func TestWhatExpiresWhileALogIsReadIsNotSkipped(t *testing.T) {
	const all = 9
	for name, read := range logReaders() {
		for _, first := range []uint64{6, all, all + 1} {
			t.Run(fmt.Sprintf("%s, up to %d", name, first), func(t *testing.T) {
				t.Parallel()
				b := inProcess(t)
				conversation := id()
				for range all {
					send(t, b, conversation, "hello")
				}
				copied(t, b, all)
				expireBefore(t, b, 3)
				var got []uint64
				err := read(within(t, time.Minute), b, conversation, func(m bus.Message) error {
					if got = append(got, m.Sequence); len(got) == 1 {
						expireBefore(t, b, first)
					}
					return nil
				})
				if want := []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9}; err != nil || !slices.Equal(got, want) {
					t.Errorf("read %v, %v", got, err)
				}
			})
		}
	}
}

// expireBefore removes what the log holds before a sequence.
func expireBefore(t *testing.T, b *bus.Bus, first uint64) {
	t.Helper()
	_, js := b.Raw()
	s, err := js.Stream(t.Context(), topology.ConvStream(0))
	if err == nil {
		err = s.Purge(t.Context(), jetstream.WithPurgeSequence(first))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestWhatABoundOnBytesRemovesIsNotSkipped: a log with a bound on its bytes may lose what
// was stored a moment ago, while a reader handles the first of several batches.
func TestWhatABoundOnBytesRemovesIsNotSkipped(t *testing.T) {
	const all, first = 1100, 1090
	for name, read := range logReaders() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := inProcess(t)
			_, js := b.Raw()
			s, err := js.Stream(t.Context(), topology.ConvStream(0))
			if err != nil {
				t.Fatal(err)
			}
			cfg := s.CachedInfo().Config
			cfg.MaxBytes = 64 << 20
			if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			conversation := id()
			for range all {
				send(t, b, conversation, "hello")
			}
			copied(t, b, all)
			var got []uint64
			err = read(within(t, time.Minute), b, conversation, func(m bus.Message) error {
				if got = append(got, m.Sequence); len(got) == 1 {
					expireBefore(t, b, first) // as the server does when the bound is reached
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			for i, seq := range got {
				if seq != uint64(i)+1 {
					t.Fatalf("message %d is the %dth", seq, i+1)
				}
			}
			if len(got) != all {
				t.Errorf("read %d messages of %d", len(got), all)
			}
		})
	}
}
