package worker

import (
	"context"
	"encoding/json"
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

// ReadResult is the name of the tool with which a model reads on in a result that
// was too long.
const ReadResult = "read_result"

// maxPiece is how much of a result one call returns, in bytes.
const maxPiece = 64 << 10

// resultReader is the tool read_result. It reads results of its own conversation
// only.
type resultReader struct{ bus *bus.Bus }

// NewResultReader returns the tool read_result.
func NewResultReader(b *bus.Bus) tool.Tool { return resultReader{b} }

// Spec implements [tool.Tool].
func (resultReader) Spec() events.ToolSpec {
	return events.ToolSpec{
		Name:        ReadResult,
		Description: "Reads a piece of a tool's result that was too long to be given whole. The result's beginning says which object and offset to ask for.",
		Schema: json.RawMessage(`{
			"type": "object",
			"properties": {
				"object": {"type": "string", "minLength": 1, "maxLength": 200, "description": "name of the object, as the result says"},
				"offset": {"type": "integer", "minimum": 0, "description": "where to begin, in bytes"},
				"limit": {"type": "integer", "minimum": 1, "maximum": 65536, "description": "how many bytes at most; 16384 when left out"}
			},
			"required": ["object", "offset"],
			"additionalProperties": false
		}`),
		Effect: events.EffectPure,
	}
}

// Run implements [tool.Tool].
func (r resultReader) Run(ctx context.Context, in tool.Input) (tool.Result, error) {
	args := struct {
		Object string `json:"object"`
		Offset int64  `json:"offset"`
		Limit  int64  `json:"limit"`
	}{Limit: previewBytes}
	if err := in.Decode(&args); err != nil {
		return tool.Result{}, err
	}
	if !strings.HasPrefix(args.Object, in.Conversation+"/") {
		return tool.Result{}, tool.Fail("%.200q is no result of this conversation", args.Object)
	}
	piece, size, err := r.bus.Objects().Piece(ctx, args.Object, args.Offset, min(args.Limit, maxPiece))
	if err != nil {
		return tool.Result{}, tool.Fail("%v", err)
	}
	text := strings.ToValidUTF8(string(piece), "")
	if next := args.Offset + int64(len(piece)); next < size {
		text += fmt.Sprintf("\n\n[%d of %d bytes so far; continue at offset %d.]", next, size, next)
	}
	return tool.Result{Content: text}, nil
}
