package scripted

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

// answer is one step while it is played to a consumer.
type answer struct {
	writer *llm.Writer
	step   *step
	whole  bool // no pieces
	pace   time.Duration
	chunk  int // words in a piece
	limit  int // chunks before the end; negative means all

	pieces          []piece
	output, thought int64 // words, of which reasoning
}

// piece is one action of the answer. Pieces with content are its chunks: they
// are paced and counted.
type piece struct {
	words bool
	yield func() bool
}

// prepare executes the templates and splits their output into pieces.
func (a *answer) prepare(t *turn) error {
	w := a.writer
	for _, part := range []struct {
		phrase   *phrase
		literal  string
		yield    func(text string) bool
		thinking bool
	}{
		{a.step.reasoning, "", func(s string) bool { return w.Reasoning("reasoning", s, false, nil) }, true},
		{a.step.text, a.step.literal, func(s string) bool { return w.Text("text", s) }, false},
		{a.step.refusal, "", func(s string) bool { return w.Refusal("refusal", s) }, false},
	} {
		text, err := part.phrase.expand(t)
		if err != nil {
			return err
		}
		text = cmp.Or(text, part.literal)
		n := int64(len(strings.Fields(text)))
		a.output += n
		if part.thinking {
			a.thought += n
		}
		for _, s := range a.split(text) {
			a.pieces = append(a.pieces, piece{true, func() bool { return part.yield(s) }})
		}
	}
	for i := range a.step.Calls {
		c := &a.step.Calls[i]
		args, err := c.text(t)
		if err != nil {
			return err
		}
		a.output += int64(1 + len(strings.Fields(args)))
		key := fmt.Sprint("call", i)
		id := cmp.Or(c.ID, fmt.Sprintf("scripted_%d_%d", t.Step, i+1))
		a.pieces = append(a.pieces, piece{false, func() bool { return w.CallStart(key, id, c.Tool, false) }})
		for _, s := range a.splitArguments(args) {
			a.pieces = append(a.pieces, piece{true, func() bool { return w.CallDelta(key, s) }})
		}
		a.pieces = append(a.pieces, piece{false, func() bool { return w.CallEnd(key) }})
	}
	return nil
}

// play yields the pieces up to the limit. It reports whether it got that far:
// not if ctx is done or the consumer has stopped.
func (a *answer) play(ctx context.Context) bool {
	if !wait(ctx, time.Duration(a.step.Delay)*time.Millisecond) {
		return false
	}
	written := 0
	for _, p := range a.pieces {
		if a.limit >= 0 && written >= a.limit {
			return true
		}
		if p.words {
			pace := a.pace
			if a.whole {
				pace = 0
			}
			if !wait(ctx, pace) {
				return false
			}
			written++
		}
		if !p.yield() {
			return false
		}
	}
	return true
}

// wait waits and reports false if ctx is done.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// split splits a text into pieces of some words each without losing characters.
func (a *answer) split(text string) []string {
	if a.whole || text == "" {
		return []string{text}[:min(1, len(text))]
	}
	var pieces []string
	start, words, inWord := 0, 0, false
	for i, r := range text {
		space := unicode.IsSpace(r)
		if !space && !inWord {
			if words > 0 && words%a.chunk == 0 {
				pieces = append(pieces, text[start:i])
				start = i
			}
			words++
		}
		inWord = !space
	}
	return append(pieces, text[start:])
}

// splitArguments splits the arguments of a call, which have few spaces.
func (a *answer) splitArguments(text string) []string {
	if a.whole {
		return []string{text}[:min(1, len(text))]
	}
	var pieces []string
	runes := []rune(text)
	for size := 8 * a.chunk; len(runes) > 0; {
		n := min(size, len(runes))
		pieces = append(pieces, string(runes[:n]))
		runes = runes[n:]
	}
	return pieces
}

// usage returns the usage of the script, or the number of words as tokens.
func (a *answer) usage(req llm.Request) *events.Usage {
	if a.step.NoUsage {
		return nil
	}
	if u := a.step.Usage; u != nil {
		return &events.Usage{InputTokens: u.Input, OutputTokens: u.Output, ReasoningTokens: u.Reasoning}
	}
	in := words(req)
	total := in + a.output
	u := &events.Usage{InputTokens: &in, OutputTokens: &a.output, TotalTokens: &total}
	if a.thought > 0 {
		u.ReasoningTokens = &a.thought
	}
	return u
}
