package worker

import (
	"context"
	"fmt"
	"strings"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/topology"
)

// Bounds of results, in bytes.
const (
	// inlineBytes is how long a result may be before it goes to the object store
	// with a preview in its place.
	inlineBytes = 256 << 10
	// previewBytes is how much of such a result the model reads.
	previewBytes = 16 << 10
	// resultBytes is how long the result of a tool may be that does not say.
	resultBytes = 64 << 20
)

// check bounds what a tool gave, holds it to the tool's own schema, and puts the
// rest of it into the result.
func (w *Tool) check(ctx context.Context, spec events.ToolSpec, job *events.ToolJob, got tool.Result, r *events.ToolResult) error {
	most := int64(resultBytes)
	if spec.ResultBytes > 0 {
		most = spec.ResultBytes
	}
	size := int64(max(len(got.Content), len(got.Structured))) // one is the other as text
	for _, a := range got.Attachments {
		size += int64(len(a.Data))
	}
	if size > most {
		return tool.End(events.StatusTooLarge, "the result of %s has %d bytes, at most %d are taken: ask it for less", spec.Name, size, most)
	}
	r.Content = strings.ToValidUTF8(got.Content, "\uFFFD")
	if len(got.Structured) > 0 || len(spec.Output) > 0 {
		if err := w.schemas.Result(spec, got.Structured); err != nil {
			return tool.Fail("%s gave a result that does not fit its own schema: %v", spec.Name, err)
		}
		r.Structured = got.Structured
	}
	for _, a := range got.Attachments {
		object, err := w.Bus.Put(ctx, job.Conversation, a.Data)
		if err != nil {
			return fmt.Errorf("store attachment %q: %w", a.Name, err)
		}
		r.Attachments = append(r.Attachments, events.Attachment{Name: a.Name, MIME: a.MIME, Object: object})
	}
	return nil
}

// write writes a result; one that is too long by reference, with its beginning
// and a word on how to read the rest. A result counts only from an attempt that
// has started: one that did not yet gives its start, which goes before, in the
// same frame.
func (w *Tool) write(ctx context.Context, a topology.Address, at uint64, r *events.ToolResult, start ...events.Event) error {
	if len(r.Content) > inlineBytes {
		object, err := w.Bus.Put(ctx, a.Conversation, []byte(r.Content))
		if err != nil {
			return err
		}
		preview := bus.Preview(r.Content, previewBytes)
		r.Content = fmt.Sprintf("%s\n\n[This is the beginning: %d of %d bytes. Call %s with object %q and offset %d to read on.]",
			preview, len(preview), object.Size, ReadResult, object.Name, len(preview))
		r.Object = object
	}
	if len(r.Structured) > inlineBytes {
		r.Structured = nil // it is in the content too, or too large to be of use
	}
	_, err := w.append(ctx, a, at, append(start, r)...)
	if err == nil {
		w.Stats.call(r)
	}
	return err
}
