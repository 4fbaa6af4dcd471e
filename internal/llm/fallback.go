package llm

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/parleybus/parley/internal/events"
)

// Fallback wraps p for models with restricted tool support. For a model that
// cannot call tools, a request with tools returns an error of class unsupported
// that says what to do. A model that cannot call tools while streaming is
// called without streaming, also if that becomes known only by its refusal to
// stream.
func Fallback(p Provider) Provider { return &fallback{Provider: p} }

type fallback struct {
	Provider
	whole sync.Map // models that refused to stream tool calls: they are not asked again
}

// Stream implements [Provider].
func (f *fallback) Stream(ctx context.Context, req Request) Stream {
	if len(req.Tools) == 0 {
		return f.Provider.Stream(ctx, req)
	}
	can := f.Capabilities(req.Model)
	if !can.Tools {
		return f.refuse(req.Model)
	}
	_, refused := f.whole.Load(req.Model)
	if req.Whole = req.Whole || refused || !can.StreamTools; req.Whole {
		return f.Provider.Stream(ctx, req)
	}
	return func(yield func(events.Event, error) bool) {
		first := true
		for e, err := range f.Provider.Stream(ctx, req) {
			if first && cannotStream(e) {
				f.whole.Store(req.Model, true)
				if req.MayRepeat() {
					req.Whole = true
					f.Provider.Stream(ctx, req)(yield)
					return
				}
			}
			first = false
			if !yield(e, err) {
				return
			}
		}
	}
}

func (f *fallback) refuse(model string) Stream {
	return func(yield func(events.Event, error) bool) {
		NewWriter(yield).End(events.GenerationEnded{Error: &events.Error{
			Class: events.ErrUnsupported,
			Message: fmt.Sprintf("the model %s/%s cannot call tools: choose a model that can, or ask without tools "+
				`(tools ["-"] in Settings, --tools none on the command line)`, f.Name(), model),
		}})
	}
}

// cannotStream reports whether an answer refuses to stream.
func cannotStream(e events.Event) bool {
	end, ok := e.(*events.GenerationEnded)
	return ok && end.Error != nil && end.Error.Class == events.ErrUnsupported &&
		strings.Contains(strings.ToLower(end.Error.Message), "stream")
}
