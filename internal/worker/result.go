package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
)

// Bounds of results, in bytes.
const (
	// inlineBytes is how long a result may be before it goes to the object store
	// with a preview in its place.
	inlineBytes = 256 << 10
	// previewBytes is how much of such a result the model reads.
	previewBytes = 16 << 10
	// resultBytes bounds the result of a tool that names no bound.
	resultBytes = 64 << 20
)

// check bounds what a tool returned, validates it by the tool's own schema, and
// fills the result.
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
		object, err := w.store(ctx, job.Conversation, a.Data)
		if err != nil {
			return fmt.Errorf("store attachment %q: %w", a.Name, err)
		}
		r.Attachments = append(r.Attachments, events.Attachment{Name: a.Name, MIME: a.MIME, Object: object})
	}
	return nil
}

// store stores a part of a result. It retries until ctx ends: if a result were
// lost, the call would run again.
func (w *Tool) store(ctx context.Context, conversation string, data []byte) (*events.Object, error) {
	for {
		object, err := w.Bus.Objects().Put(ctx, conversation, data)
		if !errors.Is(err, bus.ErrUnavailable) {
			return object, err
		}
		w.Log.Warn("a result cannot be stored now, trying again", "conversation", conversation, "error", err)
		if sleep(ctx, time.Second) != nil {
			return nil, err
		}
	}
}

// write writes a result. One that is too long goes to the object store; the model
// gets its beginning and how to read on.
func (w *Tool) write(ctx context.Context, try *run, r *events.ToolResult) error {
	if len(r.Content) > inlineBytes {
		object, err := w.store(ctx, try.job.Conversation, []byte(r.Content))
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
	_, err := try.append(ctx, r)
	if err == nil {
		w.Stats.call(r)
	}
	return err
}
