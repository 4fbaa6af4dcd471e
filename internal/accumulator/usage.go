package accumulator

import "github.com/parleybus/parley/internal/events"

// Spent returns what the generation has cost so far, over all its attempts; nil if
// that is nothing or unknown. Providers report usage at the end of an answer and bill
// what was cancelled, cut or superseded before it: Spent estimates the part of such
// attempts that was not reported, and the usage says so.
func (g *Generation) Spent() *events.Usage {
	if g == nil {
		return nil
	}
	return g.superseded.Add(g.attemptUsage())
}

// Lost returns the number of superseded attempts that were not handed back: each may
// have called the provider once.
func (g *Generation) Lost() int {
	if g == nil {
		return 0
	}
	return g.lost
}

// attemptUsage returns the usage of the attempt that counts.
func (g *Generation) attemptUsage() *events.Usage {
	var reported *events.Usage
	if g.Ended != nil {
		reported = g.Ended.Usage
	}
	if g.Started == nil || g.Ended != nil && (g.Ended.Error == nil || !g.billed(g.Ended.Error.Class)) {
		return reported
	}
	var estimate, out events.Usage
	if reported != nil {
		out = *reported
	}
	if n := g.Started.EstimatedInputTokens; n > 0 {
		estimate.InputTokens = &n
	}
	if n := g.written(); n > 0 {
		estimate.OutputTokens = &n
	}
	if out.TotalTokens != nil && out.InputTokens == nil && out.OutputTokens == nil {
		return reported
	}
	if out.InputTokens == nil && estimate.InputTokens != nil {
		out.InputTokens, out.Estimated = estimate.InputTokens, true
	}
	// A count from the beginning of an answer (Anthropic's message_start) is too low
	// when its end is missing.
	if n := estimate.OutputTokens; n != nil && (out.OutputTokens == nil || *out.OutputTokens < *n && !g.terminated()) {
		out.OutputTokens, out.Estimated = n, true
	}
	if out == (events.Usage{}) {
		return nil
	}
	return &out
}

// billed reports whether an attempt that failed this way has probably been billed: it
// has content, or the provider took the request and did not refuse it.
func (g *Generation) billed(class events.ErrorClass) bool {
	switch class {
	case events.ErrCut, events.ErrIdle, events.ErrCancelled:
		return true
	}
	return !g.Empty()
}

func (g *Generation) terminated() bool { return g.Ended != nil && g.Ended.Terminated }

// written estimates the tokens of the answer so far.
func (g *Generation) written() int64 {
	n := 0
	for i := range g.parts {
		n += len(g.parts[i].text)
	}
	return events.EstimateTokens(int64(n))
}
