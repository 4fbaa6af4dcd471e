package accumulator_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/events"
)

// TestSpent: what was cancelled, cut and superseded is estimated where its provider
// reported nothing; what was refused costs nothing, and a whole answer what it says.
func TestSpent(t *testing.T) {
	n := func(n int64) *int64 { return &n }
	failed := func(class events.ErrorClass) *events.GenerationEnded {
		return &events.GenerationEnded{Finish: events.FinishError, Error: &events.Error{Class: class, Message: "no"}}
	}
	start := &events.GenerationStarted{EstimatedInputTokens: 100}
	text := &events.TextChunk{Text: "twelve bytes"}
	early := failed(events.ErrCut)
	early.Usage = &events.Usage{InputTokens: n(90), OutputTokens: n(1), CacheReadInputTokens: n(7)}
	whole := &events.GenerationEnded{Finish: events.FinishStop, Terminated: true, Usage: &events.Usage{InputTokens: n(90), OutputTokens: n(2)}}
	for name, c := range map[string]struct {
		attempts [][]events.Stamped
		want     *events.Usage
		lost     int
	}{
		"no event":                        {nil, nil, 0},
		"cancelled before the first word": {[][]events.Stamped{{start}}, &events.Usage{InputTokens: n(100), Estimated: true}, 0},
		"cancelled in the text":           {[][]events.Stamped{{start, text}}, &events.Usage{InputTokens: n(100), OutputTokens: n(3), Estimated: true}, 0},
		"silent":                          {[][]events.Stamped{{start, failed(events.ErrIdle)}}, &events.Usage{InputTokens: n(100), Estimated: true}, 0},
		"refused":                         {[][]events.Stamped{{start, failed(events.ErrRateLimited)}}, nil, 0},
		"failed in the text":              {[][]events.Stamped{{start, text, failed(events.ErrNetwork)}}, &events.Usage{InputTokens: n(100), OutputTokens: n(3), Estimated: true}, 0},
		"cut, with the usage of its beginning": {[][]events.Stamped{{start, text, early}},
			&events.Usage{InputTokens: n(90), OutputTokens: n(3), CacheReadInputTokens: n(7), Estimated: true}, 0},
		"whole":                {[][]events.Stamped{{start, text, whole}}, whole.Usage, 0},
		"whole after one lost": {[][]events.Stamped{{start, text}, {start, text, whole}}, &events.Usage{InputTokens: n(190), OutputTokens: n(5), Estimated: true}, 1},
		"whole after one that was handed back": {[][]events.Stamped{{start, &events.GenerationReleased{}}, {start, text, whole}},
			&events.Usage{InputTokens: n(190), OutputTokens: n(2), Estimated: true}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var g accumulator.Generation
			for a, attempt := range c.attempts {
				for i, e := range attempt {
					switch copied := e.(type) {
					case *events.GenerationStarted:
						again := *copied
						e = &again
					case *events.TextChunk:
						again := *copied
						e = &again
					case *events.GenerationEnded:
						again := *copied
						e = &again
					}
					e.Stamp(string(rune('a'+a)), i)
					g.Apply(e)
				}
			}
			if diff := cmp.Diff(c.want, g.Spent()); diff != "" || g.Lost() != c.lost {
				t.Errorf("%d attempts were lost, want %d; usage (-want +got)\n%s", g.Lost(), c.lost, diff)
			}
		})
	}
}
