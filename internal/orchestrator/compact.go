package orchestrator

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/parleybus/parley/internal/events"
)

// A history is compacted when it exceeds nearWindow of the model's window, to
// afterCompaction of it: the answer needs space, and each compaction loses the
// provider's cache of the prompt.
const (
	nearWindow      = 0.8
	afterCompaction = 0.5
)

// smallestWindow is the smallest window, in tokens, that Settings may name.
const smallestWindow = 512

// window returns the tokens that the model asked last takes; 0 when nobody knows.
func (d *decision) window() int64 { return cmp.Or(d.env.Settings.Compaction.Window, d.c.Window) }

// estimate returns the tokens of the next request's history, as far as they are known.
func (d *decision) estimate() int64 {
	return d.transcript.Estimate() + events.EstimateTokens(d.transcript.Weigh(d.joining()))
}

// compactNear compacts a history that nears the window of the model that is asked next,
// before the request.
func (d *decision) compactNear(window int64) {
	window = cmp.Or(d.env.Settings.Compaction.Window, window)
	if window == 0 || d.env.Settings.Compaction.Mode == events.CompactionOff {
		return
	}
	tokens := d.estimate()
	if float64(tokens) > nearWindow*float64(window) {
		d.compact(events.CompactedWindow, window, tokens-int64(afterCompaction*float64(window)))
	}
}

// joining returns the messages that this decision takes into the turn.
func (d *decision) joining() []string {
	var ids []string
	for _, e := range d.out {
		switch e := e.(type) {
		case *events.TurnStarted:
			ids = append(ids, e.Inputs...)
		case *events.InputAnswered:
			if e.Answer == events.AnswerAccepted && e.Turn == d.c.Turn && !slices.Contains(ids, e.Input) {
				ids = append(ids, e.Input)
			}
		}
	}
	return ids
}

// compactRefused compacts a history that the provider refused for its length, and
// reports whether it did. window is the one that the refusal names; 0 without one.
func (d *decision) compactRefused(window int64) bool {
	if d.env.Settings.Compaction.Mode == events.CompactionOff {
		return false
	}
	tokens := d.transcript.Estimate()
	// The estimate was too low: at least half of it goes.
	less := tokens / 2
	if most := cmp.Or(window, d.window()); most > 0 {
		less = max(less, tokens-int64(afterCompaction*float64(most)))
	}
	return d.compact(events.CompactedRefused, window, less)
}

// compactAsked answers a Compact.
func (d *decision) compactAsked(input string) {
	c := d.transcript.Compact(d.c.Turn, d.transcript.Sent()/2)
	if c == nil {
		d.answer(input, events.AnswerAccepted, d.c.Turn, "there is nothing to leave out: only the last turn is sent, or the results before it are short")
		return
	}
	d.answer(input, events.AnswerAccepted, d.c.Turn, "")
	c.Reason, c.Window = events.CompactedAsked, d.window()
	d.emit(c)
}

// compact leaves out so many tokens of the history, or as many as it can.
func (d *decision) compact(reason events.CompactionReason, window, tokens int64) bool {
	c := d.transcript.Compact(d.c.Turn, d.transcript.Sent()-events.TokenBytes(tokens))
	if c == nil {
		return false
	}
	c.Reason, c.Window = reason, window
	d.emit(c)
	return true
}

func checkCompaction(c events.Compaction) error {
	switch c.Mode {
	case "", events.CompactionAuto, events.CompactionOff:
	default:
		return fmt.Errorf("compaction mode %q is neither auto nor off", c.Mode)
	}
	if c.Window != 0 && c.Window < smallestWindow {
		return fmt.Errorf("a compaction window of %d tokens is below %d: leave it out where it is not known", c.Window, smallestWindow)
	}
	return nil
}
