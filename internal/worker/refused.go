package worker

import (
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/transcript"
)

// reduce returns the request with which to call the model again after it refused the
// history, and reports whether there is one. It stays the same attempt, as nothing of
// an answer was published; the log says what is left out.
func (g *generation) reduce(provider string, req llm.Request, refusal *events.Error) (llm.Request, bool, error) {
	if g.content {
		return req, false, nil
	}
	next, ok := transcript.Reduce(provider, req, refusal, g.reduced)
	if !ok {
		return req, false, nil
	}
	g.reduced++
	g.w.Log.Info("provider refused the history, asking again", "provider", provider, "model", req.Model, "generation", g.job.Generation,
		"omit", next.Omit, "demand", next.Demand, "error", refusal)
	if next.Omit == req.Omit {
		return next, true, nil
	}
	e := &events.HistoryReduced{Generation: g.job.Generation, Omitted: next.Omit, Error: redactFailure(g.w.Secrets, refusal)}
	return next, true, g.append(e)
}
