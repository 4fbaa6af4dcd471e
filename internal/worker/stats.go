package worker

import (
	"sync/atomic"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/jobs"
)

// Stats counts what a worker did since it started. A nil Stats counts nothing.
type Stats struct {
	Generations, GenerationsFailed, Events, TokensIn, TokensOut atomic.Int64
	Calls, CallsFailed                                          atomic.Int64

	Jobs jobs.Metrics // set before the worker runs
}

// jobs returns what counts jobs.
func (s *Stats) jobs() jobs.Metrics {
	if s == nil {
		return jobs.Metrics{}
	}
	return s.Jobs
}

func (s *Stats) generation(end *events.GenerationEnded, chunks int) {
	if s == nil {
		return
	}
	s.Generations.Add(1)
	s.Events.Add(int64(chunks + 1))
	if end.Error != nil {
		s.GenerationsFailed.Add(1)
	}
	if u := end.Usage; u != nil {
		if u.InputTokens != nil {
			s.TokensIn.Add(*u.InputTokens)
		}
		if u.OutputTokens != nil {
			s.TokensOut.Add(*u.OutputTokens)
		}
	}
}

func (s *Stats) call(r *events.ToolResult) {
	if s == nil {
		return
	}
	s.Calls.Add(1)
	if r.Status != events.StatusOK {
		s.CallsFailed.Add(1)
	}
}
