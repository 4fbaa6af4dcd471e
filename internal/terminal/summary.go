package terminal

import (
	"fmt"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/events"
)

// rateSpan is the minimum duration of an answer for a rate of tokens per
// second: a shorter one has no meaningful rate.
const rateSpan = 100 * time.Millisecond

// Summary holds the totals of a turn. Durations are differences between times
// of the log, so a replay at any speed gives the same. Unknown values are zero
// or nil, never estimates.
type Summary struct {
	Turn    string
	Outcome events.Outcome // empty while the turn runs
	Reason  string
	Steps   int
	Calls   int
	// Edited counts the calls that ran with arguments that a person edited,
	// Answered the calls whose result a person gave.
	Edited, Answered int
	Usage            *events.Usage
	CostUSD          float64 // by the deployment's price table
	// FirstToken is the time from the turn's start to the first piece of text,
	// reasoning or a call.
	FirstToken time.Duration
	Duration   time.Duration
	// Rate is the output tokens per second, from the first piece of each
	// generation to its end.
	Rate float64
}

// tally collects a Summary.
type tally struct {
	s       Summary
	started time.Time
	// Of the running attempt.
	first time.Time
	// Of the ended generations.
	counted map[string]bool
	written int64
	writing time.Duration
}

func (t *tally) stamped(e events.Stamped, at time.Time) {
	switch e := e.(type) {
	case *events.GenerationStarted:
		t.first = time.Time{}
		t.s.Steps = max(t.s.Steps, e.Step)
	case *events.TextChunk, *events.ReasoningChunk, *events.ToolCallStart:
		if !t.first.IsZero() {
			return
		}
		t.first = at
		if t.s.FirstToken == 0 && !t.started.IsZero() {
			t.s.FirstToken = max(0, at.Sub(t.started))
		}
	case *events.GenerationEnded:
		t.usage(e.Generation, e.Usage)
		if e.Usage != nil && e.Usage.OutputTokens != nil && !t.first.IsZero() {
			t.written += *e.Usage.OutputTokens
			t.writing += max(0, at.Sub(t.first))
		}
	}
}

// usage adds the usage of a generation once: its GenerationEnded and its
// AssistantMessage both report it.
func (t *tally) usage(generation string, u *events.Usage) {
	if t.counted[generation] || u == nil {
		return
	}
	if t.counted == nil {
		t.counted = map[string]bool{}
	}
	t.counted[generation] = true
	t.s.Usage = t.s.Usage.Add(u)
}

func (t *tally) decided(e events.Event, at time.Time) {
	switch e := e.(type) {
	case *events.TurnStarted:
		*t = tally{s: Summary{Turn: e.Turn}, started: at}
	case *events.AssistantMessage:
		t.s.Steps = max(t.s.Steps, e.Step)
		t.usage(e.Generation, e.Usage)
		for _, p := range e.Message.Parts {
			if p.Kind == events.PartCall {
				t.s.Calls++
			}
		}
	case *events.ToolCallRequested:
		if len(e.Arguments) > 0 {
			t.s.Edited++
		}
	case *events.ToolCallAnswered:
		if e.By != events.ByParley {
			t.s.Answered++
		}
	case *events.TurnEnded:
		if e.Usage != nil {
			t.s.Usage = e.Usage
		}
		t.s.CostUSD = e.CostUSD
		t.s.Turn, t.s.Outcome, t.s.Reason = e.Turn, e.Outcome, e.Reason
		t.s.Steps = max(t.s.Steps, e.Steps)
		if !t.started.IsZero() {
			t.s.Duration = max(0, at.Sub(t.started))
		}
	}
}

func (t *tally) summary() Summary {
	s := t.s
	if t.writing >= rateSpan {
		s.Rate = float64(t.written) / t.writing.Seconds()
	}
	return s
}

// Line returns the last line of a turn: the summary, and the command that shows
// the conversation again. It is wrapped between its parts if p is narrow. The
// conversation's id is never cut, so that it can be copied.
func (s Summary) Line(conversation string, p Profile) string {
	var pieces []string
	if s.Outcome != "" && s.Outcome != events.OutcomeCompleted {
		pieces = append(pieces, p.line(string(s.Outcome)))
	}
	if s.Steps > 0 {
		pieces = append(pieces, count(int64(s.Steps), "step"))
	}
	if s.Edited > 0 {
		pieces = append(pieces, count(int64(s.Edited), "call")+" edited")
	}
	if s.Answered > 0 {
		pieces = append(pieces, count(int64(s.Answered), "call")+" answered")
	}
	if n, known := written(s.Usage); known {
		about := ""
		if s.Usage.Estimated {
			about = "about "
		}
		pieces = append(pieces, about+count(n, "token"))
	}
	if s.CostUSD > 0 {
		pieces = append(pieces, cost(s.CostUSD))
	}
	switch {
	case s.FirstToken <= 0:
	case s.FirstToken < 100*time.Millisecond:
		pieces = append(pieces, "first token "+took(s.FirstToken))
	default:
		pieces = append(pieces, fmt.Sprintf("first token %.2f s", s.FirstToken.Seconds()))
	}
	if s.Rate > 0 {
		pieces = append(pieces, fmt.Sprintf("%.0f tokens/s", s.Rate))
	}
	if conversation != "" {
		pieces = append(pieces, "parley replay "+p.line(conversation))
	}
	return p.flow(pieces)
}

// written returns the output tokens, or the total if a provider reports no
// others.
func written(u *events.Usage) (int64, bool) {
	switch {
	case u == nil:
		return 0, false
	case u.OutputTokens != nil:
		return *u.OutputTokens, true
	case u.TotalTokens != nil:
		return *u.TotalTokens, true
	}
	return 0, false
}

// flow joins pieces by dots into dim lines that fit the width.
func (p Profile) flow(pieces []string) string {
	lines := fill(pieces, " "+p.marks().dot+" ", p.Width)
	for i, l := range lines {
		lines[i] = p.paint(dim, l)
	}
	return strings.Join(lines, "\n")
}
