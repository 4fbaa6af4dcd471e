package worker

import (
	"context"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/jobs"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/transcript"
	"github.com/parleybus/parley/internal/media"
)

// media fetches the images and files of a request that are stored by reference, the
// newest first, up to what is sent to a model at once. What cannot be had is no error
// of the turn: the model reads in its place that it is missing. An error is for what
// may be had later.
func (w *LLM) media(ctx context.Context, req llm.Request) (map[string]llm.Media, error) {
	var all map[string]llm.Media
	var bytes int64
	for i := len(req.Messages) - 1; i >= 0; i-- {
		for j := len(req.Messages[i].Parts) - 1; j >= 0; j-- {
			for _, o := range objectsOf(req.Messages[i].Parts[j]) {
				if _, known := all[o.Name]; known {
					continue
				}
				if all == nil {
					all = map[string]llm.Media{}
				}
				if bytes+o.Size > media.PerRequest || len(all) >= media.MostSent {
					all[o.Name] = llm.Media{Absent: "the conversation has more than is sent at once, and newer ones were sent"}
					continue
				}
				data, err := w.Bus.Objects().Get(ctx, o)
				switch {
				case err == nil:
					all[o.Name] = llm.Media{Data: data}
					bytes += o.Size
				case ctx.Err() != nil || bus.Unfetched(err):
					return nil, err
				default:
					w.Log.Warn("an image or file of a conversation cannot be read", "object", o.Name, "error", err)
					all[o.Name] = llm.Media{Absent: "its content could not be read"}
				}
			}
		}
	}
	return all, nil
}

// interrupted ends an attempt whose request could not be made: the turn was cancelled,
// the worker stops, or the object store cannot be read now, and the job is for later.
func (g *generation) interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return g.end(ctx, &events.GenerationEnded{Finish: events.FinishError, Error: &events.Error{Class: events.ErrCancelled, Message: "the generation was cancelled"}})
	}
	if err := g.append(&events.GenerationReleased{Generation: g.job.Generation, Error: err.Error()}); err != nil {
		return err
	}
	return jobs.RetryAfter(err, fencedBackoff)
}

// objectsOf returns the references to the images and files of a part.
func objectsOf(p events.Part) []*events.Object {
	if p.Kind == events.PartImage || p.Kind == events.PartFile {
		if p.Object == nil {
			return nil
		}
		return []*events.Object{p.Object}
	}
	var all []*events.Object
	for _, a := range p.Attachments {
		if transcript.Sendable(a) {
			all = append(all, a.Object)
		}
	}
	return all
}
