package orchestrator

import (
	"encoding/json"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// TestATimerOfASuspendedOwnerIsThatOfTheLastDecision: an owner decides, is suspended, and
// another decides after it. The timer that the first sets when it resumes is that of
// the last Decision, whether its own was earlier, later or none.
func TestATimerOfASuspendedOwnerIsThatOfTheLastDecision(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	server, err := broker.Start(broker.Config{Dir: t.TempDir(), Port: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Stop() }()
	b, err := bus.Connect(t.Context(), bus.Config{}.InProcess(server.InProcess()), &topology.Plan{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	s := newShard(&Orchestrator{Bus: b, Log: slog.New(slog.DiscardHandler), Held: new(atomic.Int64)}, 0, nil)
	hour := time.Now().Add(time.Hour).UnixMilli()
	paused := func(at int64) events.State {
		if at == 0 {
			return events.State{Phase: events.PhaseIdle}
		}
		return events.State{Phase: events.PhasePaused, Calls: []events.CallState{{Call: "c", Waits: events.WaitTime, DueMS: at}}}
	}
	for name, c := range map[string]struct{ own, last int64 }{
		"and would fire later":      {hour + 5000, hour},
		"and would fire sooner":     {hour, hour + 5000},
		"and would stop it":         {0, hour},
		"and would set one forever": {hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			id, err := uuid.NewV7()
			if err != nil {
				t.Fatal(err)
			}
			conv := &conversation{id: id.String(), state: &accumulator.Conversation{ID: id.String()}}
			decide := func(after uint64, state events.State) uint64 {
				frame, err := events.AppendFrame(nil, &events.Decision{Events: []events.Line{{Event: &events.TurnEnded{Turn: "t"}}}, State: state, Owner: "o"})
				if err != nil {
					t.Fatal(err)
				}
				seq, err := b.Lane(addressOf(s, conv.id)).Append(t.Context(), after, frame)
				if err != nil {
					t.Fatal(err)
				}
				return seq
			}
			conv.state.TurnLane = decide(0, paused(c.own))
			decide(conv.state.TurnLane, paused(c.last)) // the other owner
			if err := s.setTimer(t.Context(), conv, c.own); err != nil {
				t.Fatal(err)
			}
			if got := timerOf(t, b, conv.id); got != c.last {
				t.Errorf("the timer fires at %d, want %d", got, c.last)
			}
		})
	}
}

// timerOf returns when a conversation's timer fires, in Unix milliseconds; 0 when it
// has none.
func timerOf(t *testing.T, b *bus.Bus, conversation string) int64 {
	t.Helper()
	_, js := b.Raw()
	timers, err := js.Stream(t.Context(), topology.StreamTimers)
	if err != nil {
		t.Fatal(err)
	}
	m, err := timers.GetLastMsgForSubject(t.Context(), topology.Timer(b.Shards(), conversation))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0
	}
	var fires struct {
		AtMS int64 `json:"at_ms"`
	}
	if err == nil {
		err = json.Unmarshal(m.Data, &fires)
	}
	if err != nil {
		t.Fatal(err)
	}
	return fires.AtMS
}
