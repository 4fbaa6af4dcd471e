package bus_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// logs is a server whose log of the first shard can be replaced by an older copy.
type logs struct {
	*testing.T
	dir, backup string
	port        int // -1: none
	server      *broker.Broker
	bus         *bus.Bus
}

func newLogs(t *testing.T) *logs {
	return newLogsOn(t, -1)
}

func newLogsOn(t *testing.T, port int) *logs {
	l := &logs{T: t, dir: t.TempDir(), backup: filepath.Join(t.TempDir(), "conv"), port: port}
	l.start()
	t.Cleanup(func() { l.stop() })
	return l
}

func (l *logs) start() {
	l.Helper()
	var err error
	if l.server, err = broker.Start(broker.Config{Dir: l.dir, Port: l.port}); err != nil {
		l.Fatal(err)
	}
	if l.bus, err = bus.Connect(l.Context(), bus.Config{}.InProcess(l.server.InProcess()), &topology.Plan{}); err != nil {
		l.Fatal(err)
	}
}

func (l *logs) stop() {
	l.Helper()
	if l.server == nil {
		return
	}
	l.bus.Close()
	if err := l.server.Stop(); err != nil {
		l.Error(err)
	}
	l.server = nil
}

func (l *logs) conv() string {
	return filepath.Join(l.dir, "jetstream", "$G", "streams", topology.ConvStream(0))
}

// save copies the log.
func (l *logs) save() {
	l.Helper()
	l.stop()
	if err := os.CopyFS(l.backup, os.DirFS(l.conv())); err != nil {
		l.Fatal(err)
	}
	l.start()
}

// replace puts the copy in the place of the log when HISTORY has all facts.
func (l *logs) replace() {
	l.Helper()
	l.copied()
	l.stop()
	if err := errors.Join(os.RemoveAll(l.conv()), os.CopyFS(l.conv(), os.DirFS(l.backup))); err != nil {
		l.Fatal(err)
	}
	l.start()
}

// copied blocks until HISTORY has all facts, but for those that it does not copy.
func (l *logs) copied() {
	l.Helper()
	for copied := false; !copied; {
		behind, err := l.bus.Deployment().HistoryBehind(l.Context())
		if err != nil {
			l.Fatal(err)
		}
		copied = behind[0].Copied >= behind[0].Fact
	}
}

// send publishes n messages, each of another conversation, and returns the sequence of the last.
func (l *logs) send(n int) (last uint64) {
	l.Helper()
	for range n {
		input := id()
		var err error
		if last, err = l.bus.Conversation(id()).Publish(l.Context(), input, &events.UserMessage{ID: input, Text: "hello"}); err != nil {
			l.Fatal(err)
		}
	}
	return last
}

// append appends events to a lane and returns its position.
func (l *logs) append(a topology.Address, after uint64, es ...events.Event) uint64 {
	l.Helper()
	frame, err := events.AppendFrame(nil, es...)
	if err != nil {
		l.Fatal(err)
	}
	seq, err := l.bus.Lane(a).Append(l.Context(), after, frame)
	if err != nil {
		l.Fatal(err)
	}
	return seq
}

// follow reads the log as an owner does, and writes a checkpoint.
func (l *logs) follow(after, checkpoint uint64) {
	l.Helper()
	ended := errors.New("read to the end")
	if err := l.bus.Shard(0).Follow(l.Context(), after, func(bus.Message) error { return nil }, func() error {
		return errors.Join(l.bus.Shard(0).SetCheckpoint(l.Context(), checkpoint), ended)
	}); !errors.Is(err, ended) {
		l.Fatal(err)
	}
}

// restore takes the shard, and returns the ids of the inputs behind a sequence.
func (l *logs) restore(want, behind uint64) (inputs []string) {
	l.Helper()
	after, err := l.bus.Shard(0).Restore(l.Context())
	if err != nil || after != want {
		l.Errorf("the owner begins after %d, want %d: %v", after, want, err)
	}
	if err := l.bus.Shard(0).Read(l.Context(), behind, "", func(m bus.Message) error {
		if m.Channel == events.ChannelIn {
			inputs = append(inputs, m.ID)
		}
		return nil
	}); err != nil {
		l.Fatal(err)
	}
	return inputs
}

func (l *logs) end() uint64 {
	l.Helper()
	end, _, err := l.bus.Shard(0).End(l.Context())
	if err != nil {
		l.Fatal(err)
	}
	return end
}

// TestALogThatGrewPastItsLostEndIsFound: HISTORY has other facts than the log, or the log
// has another message where the owner's checkpoint says one was read, or both.
func TestALogThatGrewPastItsLostEndIsFound(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		marked, facts bool
		grown         int
	}{
		"as long as before":                        {false, true, 6},
		"longer":                                   {false, true, 20},
		"longer, and the owner had read it":        {true, true, 20},
		"the owner had read what was streamed":     {true, false, 20},
		"shorter, and the owner had read it":       {true, true, 2},
		"longer, by more than is compared at once": {true, true, 300},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLogs(t)
			kept := l.send(5)
			l.follow(0, kept)
			l.save()
			lost := kept
			if c.facts {
				lost = l.send(6)
			} else {
				lost = l.append(topology.At(1, id(), events.ChannelGen), 0, &events.GenerationStarted{Generation: id()})
			}
			if c.marked {
				l.follow(kept, kept)
			}
			l.replace()
			last := l.send(c.grown)
			if c.grown > 256 {
				l.copied()
			}
			want := kept
			if !c.facts || c.grown > 256 {
				want = 0 // what the checkpoint counts as ended may be open
			}
			again := l.restore(want, max(lost, last))
			if n := min(c.grown, int(lost-kept)); len(again) != n {
				t.Errorf("%d inputs are published again, want %d: %v", len(again), n, again)
			}
			end := l.end()
			if l.restore(want, end); l.end() > end+uint64(len(again)) {
				t.Errorf("the log was brought forward again, from %d to %d", end, l.end())
			}
			l.follow(want, l.end())
			end = l.end()
			if more := l.restore(end, end); len(more) > 0 {
				t.Errorf("an owner that comes later publishes %v again", more)
			}
		})
	}
}

// TestALogThatIsWholeIsLeftAlone: conversations that were deleted, and what has expired,
// are no evidence.
func TestALogThatIsWholeIsLeftAlone(t *testing.T) {
	t.Parallel()
	l := newLogs(t)
	kept := l.send(30)
	l.follow(0, 3)
	_, js := l.bus.Raw()
	s, err := js.Stream(l.Context(), topology.ConvStream(0))
	if err != nil {
		t.Fatal(err)
	}
	for _, gone := range []uint64{kept, kept - 4, kept - 5} {
		if err := s.DeleteMsg(l.Context(), gone); err != nil {
			t.Fatal(err)
		}
	}
	last := l.send(5)
	if again := l.restore(3, last); len(again) > 0 || l.end() != last {
		t.Errorf("%v are published again, the log ends at %d, want %d", again, l.end(), last)
	}
}

// TestCallsAndAnswersOfAGap: what a worker wrote of a call while the log had lost its end
// counts once, past the gap; an answer begins again.
func TestCallsAndAnswersOfAGap(t *testing.T) {
	t.Parallel()
	l := newLogs(t)
	l.save()
	lost := l.send(9)
	l.replace()
	conversation, call, other := id(), id(), id()
	lane, gen := topology.OfCall(1, conversation, events.ChannelCall, call), topology.At(1, conversation, events.ChannelGen)
	at := l.append(lane, 0, &events.ToolStarted{Call: call, Attempt: "w"})
	l.append(gen, 0, &events.GenerationStarted{Generation: id()})
	l.append(topology.OfCall(1, conversation, events.ChannelCall, other), 0, &events.ToolStarted{Call: other, Attempt: "v"}, &events.ToolResult{Call: other, Attempt: "v"})
	l.send(12)
	l.append(lane, at, &events.ToolResult{Call: call, Attempt: "w", Status: events.StatusOK})
	for range 2 {
		l.restore(0, 0)
	}
	var got []string
	if err := l.bus.Shard(0).Read(l.Context(), lost, "", func(m bus.Message) error {
		for _, line := range m.Lines {
			if m.Channel != events.ChannelIn {
				got = append(got, line.Event.Type())
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	// The result of the first comes again, behind its start.
	if want := []string{"ToolResult", "ToolStarted", "ToolResult", "ToolStarted", "ToolResult"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if last, err := l.bus.Lane(gen).Last(context.Background()); err != nil || last.Sequence != 0 {
		t.Errorf("the lane of the answer: %+v, %v", last, err)
	}
}

// TestAResultInAGapThatHistoryHasIsNotPublishedAgain: HISTORY copies what is written into
// a gap behind the last fact that was lost.
func TestAResultInAGapThatHistoryHasIsNotPublishedAgain(t *testing.T) {
	t.Parallel()
	l := newLogs(t)
	conversation, call := id(), id()
	lane, gen := topology.OfCall(1, conversation, events.ChannelCall, call), topology.At(1, conversation, events.ChannelGen)
	l.send(2)
	l.save()
	fact := l.append(lane, 0, &events.ToolStarted{Call: call, Attempt: "w"})
	mark := l.append(gen, 0, &events.GenerationStarted{Generation: id()})
	for range 6 {
		mark = l.append(gen, mark, &events.TextChunk{Text: "x"})
	}
	l.follow(0, 0)
	l.replace()
	if l.send(1); l.end() != fact {
		t.Fatalf("the log ends at %d, want %d", l.end(), fact)
	}
	l.append(lane, fact, &events.ToolResult{Call: call, Attempt: "w", Status: events.StatusOK})
	l.copied()
	l.restore(0, mark)
	if l.end() <= mark {
		t.Fatalf("the log was not brought forward from %d to %d", l.end(), mark)
	}
	var got []string
	if err := l.bus.Conversation(conversation).Facts(t.Context(), l.end(), func(m bus.Message) error {
		for _, line := range m.Lines {
			got = append(got, line.Event.Type())
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"ToolStarted", "ToolResult"}; !slices.Equal(got, want) {
		t.Errorf("the call has %v, want %v", got, want)
	}
}
