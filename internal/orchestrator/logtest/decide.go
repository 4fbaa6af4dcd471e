package logtest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/ceilings"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/orchestrator"
	"github.com/parleybus/parley/internal/policy"
	"github.com/parleybus/parley/internal/tool"
)

// faultPrefixes returns the beginnings of the error with which the orchestrator ends a turn
// that cannot continue: the current one, and the one in the recorded logs.
func faultPrefixes() []string {
	return []string{"the orchestrator cannot continue this turn: ", "the orchestrator cannot go on with this turn: "}
}

// Decision is the Decision of a message; nil when it holds none.
func (l *Log) Decision(i int) (*events.Decision, error) {
	f, err := l.Messages[i].Folded()
	if err != nil || f.Channel != events.ChannelTurn || len(f.Lines) != 1 {
		return nil, err
	}
	d, _ := f.Lines[0].Event.(*events.Decision)
	return d, nil
}

// Before folds what the owner knew when it made the Decision at i: the messages
// up to the sequence known, and its own Decisions.
func (l *Log) Before(i int, known uint64) (*accumulator.Conversation, error) {
	c := &accumulator.Conversation{ID: l.Conversation, Transcript: accumulator.NewTranscript()}
	for j := range l.Messages[:i] {
		m, err := l.Messages[j].Folded()
		if err != nil {
			return nil, err
		}
		if m.Sequence <= known || m.Channel == events.ChannelTurn {
			c.Apply(m)
		}
	}
	return c, nil
}

// Again makes the Decision at i again from what the owner knew, and returns its
// frame. What the log does not hold is taken from the Decision itself: the time,
// what hooks answered, which complete calls were considered, what was purged, and the
// error of a fault.
func (l *Log) Again(i int, known uint64) ([]byte, error) {
	return l.againAt(i, known, l.Messages[i].Time)
}

// againAt is [Log.Again] with the time at which a Decision was made that does not
// say it.
func (l *Log) againAt(i int, known uint64, now time.Time) ([]byte, error) {
	made, err := l.Decision(i)
	if err != nil {
		return nil, err
	}
	c, err := l.Before(i, known)
	if err != nil {
		return nil, err
	}
	env := l.env(made)
	env.Settings = c.Transcript.Settings
	if env.Complete, err = l.complete(i, made); err != nil {
		return nil, err
	}
	if at := timeOf(made); !at.IsZero() {
		now = at
	}
	d, _, _ := orchestrator.Decide(c, env, now)
	if d == nil {
		return nil, nil
	}
	d.Owner = made.Owner
	return events.AppendFrame(nil, d)
}

// FindKnown sets Known of the Decision at i: the last sequence, not before that of
// the Decision before, from which the same bytes are decided. A Decision that does
// not say when it was made was made between the message before it and its own: on a
// busy machine something falls due in between, so both times are tried.
func (l *Log) FindKnown(i int) error {
	want, err := l.Messages[i].Frame()
	if err != nil {
		return err
	}
	var least uint64
	for _, m := range l.Messages[:i] {
		least = max(least, m.Known)
	}
	var nearest []byte
	for j := i; j >= 0; j-- {
		var known uint64
		if j > 0 {
			known = l.Messages[j-1].Sequence
		}
		if known < least {
			break
		}
		for _, now := range []time.Time{l.Messages[i].Time, l.Messages[max(i-1, 0)].Time} {
			got, err := l.againAt(i, known, now)
			if err != nil {
				return err
			}
			if bytes.Equal(got, want) {
				l.Messages[i].Known = known
				return nil
			}
			if nearest == nil {
				nearest = got
			}
		}
	}
	return fmt.Errorf("log %s: the Decision at %d does not follow from what precedes it\nthe log has %s\ndecided is  %s", l.Name, l.Messages[i].Sequence, want, nearest)
}

func (l *Log) env(made *events.Decision) orchestrator.Env {
	var v tool.Validator
	recorded := ceilings.Ceilings{ReminderMS: 1} // the logs have short reminders
	env := orchestrator.Env{Check: v.Validate, Judge: &policy.Judge{Ceilings: recorded}, Route: l.Route, Limits: l.Limits, Policy: l.Policy, Prices: l.Prices, Hooks: l.Hooks,
		Tools: map[string]events.ToolSpec{}, Ceilings: recorded}
	for _, spec := range l.Tools {
		env.Tools[spec.Name] = spec
	}
	env.Known = env.Tools
	for _, line := range made.Events {
		switch e := line.Event.(type) {
		case *events.HookAnswered:
			env.HookAnswers = append(env.HookAnswers, e)
		case *events.ConversationDeleted:
			env.Purged = e
		case *events.TurnEnded:
			if e.Error == nil {
				continue
			}
			for _, prefix := range faultPrefixes() {
				if why, is := strings.CutPrefix(e.Error.Message, prefix); is {
					env.Fault = errors.New(why)
				}
			}
		}
	}
	return env
}

// complete returns the blocks of the calls that the Decision at i requests before their
// answer is complete.
func (l *Log) complete(i int, made *events.Decision) ([]int, error) {
	early := map[string]bool{}
	for _, line := range made.Events {
		if e, is := line.Event.(*events.ToolCallRequested); is && e.GenerationAttempt != "" {
			early[e.Call] = true
		}
	}
	var blocks []int
	for j := range l.Messages[:i] {
		if len(early) == 0 {
			break
		}
		m, err := l.Messages[j].Folded()
		if err != nil {
			return nil, err
		}
		for _, line := range m.Lines {
			if e, is := line.Event.(*events.ToolCallEnd); is && early[e.Call] {
				blocks = append(blocks, e.Block)
			}
		}
	}
	return blocks, nil
}

// timeOf is when a Decision was made, in whole milliseconds; zero when it does not
// say.
func timeOf(d *events.Decision) time.Time {
	for _, line := range d.Events {
		var ms int64
		switch e := line.Event.(type) {
		case *events.TurnStarted:
			ms = e.AtMS
		case *events.Paused:
			ms = e.AtMS
		case *events.Resumed:
			ms = e.AtMS
		case *events.DeletionStarted:
			ms = e.AtMS
		case *events.ConversationDeleted:
			ms = e.AtMS
		case *events.GenerationRequested:
			if id, err := uuid.Parse(e.Generation); err == nil {
				sec, nsec := id.Time().UnixTime()
				ms = sec*1000 + nsec/1e6
			}
		}
		if ms != 0 {
			return time.UnixMilli(ms)
		}
	}
	return time.Time{}
}
