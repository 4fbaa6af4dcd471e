package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
)

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
