package worker

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/parleybus/parley/internal/ceilings"
	"github.com/parleybus/parley/internal/events"
)

// tally counts an answer as it streams and compares it with the job's ceilings.
type tally struct {
	most      ceilings.Ceilings
	answer    ceilings.Answer
	blocks    map[tallied]bool
	arguments map[int]int64 // bytes by block
	open      map[int]bool  // calls without an end
}

// answerRate is how many bytes of an answer a worker takes in a second, in addition to
// answerBurst at its beginning, and endlessRate how many behind the first usualAnswer
// bytes: far more than any model writes. A provider that sends faster must not take the
// processors from other conversations.
const (
	answerBurst = 64 << 10
	answerRate  = 8 << 20
	usualAnswer = 5 << 20 / 2
	endlessRate = 1 << 20
)

// pause returns how long the worker does not read on, so that the answer keeps to its
// rates.
func (t *tally) pause(elapsed time.Duration) time.Duration {
	usual := min(t.answer.Bytes, usualAnswer) - answerBurst
	endless := max(t.answer.Bytes-usualAnswer, 0)
	due := float64(usual)/answerRate + float64(endless)/endlessRate
	return time.Duration(due*float64(time.Second)) - elapsed
}

// tallied identifies a content block: there is one of each kind and number.
type tallied struct{ kind, number int }

func newTally(c events.AnswerCeilings) *tally {
	usual := ceilings.Defaults()
	usual.AnswerBytes = cmp.Or(c.AnswerBytes, usual.AnswerBytes)
	usual.AnswerCalls = cmp.Or(c.AnswerCalls, usual.AnswerCalls)
	usual.ArgumentBytes = cmp.Or(c.ArgumentBytes, usual.ArgumentBytes)
	return &tally{most: usual, blocks: map[tallied]bool{}, arguments: map[int]int64{}, open: map[int]bool{}}
}

// add counts an event and returns why the answer must not have it; nil when it may.
func (t *tally) add(e events.Event) *events.Error {
	t.answer.Bytes += events.AnswerSize(e)
	switch e := e.(type) {
	case *events.TextChunk:
		kind := 0
		if e.Refusal {
			kind = 1
		}
		t.block(kind, e.Block)
	case *events.ReasoningChunk:
		t.block(2, e.Block)
	case *events.ToolCallStart:
		t.block(3, e.Block)
		t.answer.Calls++
	case *events.ToolCallDelta:
		t.arguments[e.Block] += int64(len(e.Arguments))
		t.answer.ArgumentBytes = max(t.answer.ArgumentBytes, t.arguments[e.Block])
	}
	if over := t.most.Exceeded(t.answer); over != nil {
		return &events.Error{Class: events.ErrCeiling, Code: over.Code, Message: over.Text}
	}
	switch e := e.(type) {
	case *events.ToolCallStart:
		t.open[e.Block] = true
	case *events.ToolCallEnd:
		delete(t.open, e.Block)
	}
	return nil
}

func (t *tally) block(kind, number int) {
	if b := (tallied{kind, number}); !t.blocks[b] {
		t.blocks[b] = true
		t.answer.Bytes += events.BlockSize
	}
}

// ends returns the ends of the calls that have none, for an answer that was stopped.
func (t *tally) ends() []*events.ToolCallEnd {
	var all []*events.ToolCallEnd
	for _, block := range slices.Sorted(maps.Keys(t.open)) {
		all = append(all, &events.ToolCallEnd{Block: block, Invalid: "the answer was stopped at a ceiling before the call was complete"})
	}
	return all
}
